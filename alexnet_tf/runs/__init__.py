"""What a run's folder holds: classes, metrics, and checkpoints that are bound to what they were trained with."""
