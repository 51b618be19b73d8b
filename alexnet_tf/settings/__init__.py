"""What a run is asked to do: presets, configs, workers. No TensorFlow here."""
