"""A model server for one machine: TensorFlow Serving's REST and gRPC interfaces where it cannot run itself.

A request's way: `rest.py` or `rpc.py` -> `tensors.py` (arrays out of messages) -> `batching.py` -> `served_model.py`.
"""
