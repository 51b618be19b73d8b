"""From a trained run to a SavedModel for TensorFlow Serving.

`export.py`, here, writes a version's folder, in this order: `signatures.py` (what the model answers to, built on
`picture_files.py`, which reads untrusted files, and `inside.py`, which draws feature maps), `saved_model.py` (the graph
as TensorFlow Serving wants it), `metadata.py`, `examples.py` and `warm_up.py` (what travels beside it). `versions.py`
knows the folder of versions.
"""
