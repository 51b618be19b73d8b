"""Writes a SavedModel as TensorFlow Serving's C++ loader wants it: no Keras object, no device, method names set."""

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from alexnet_tf.serving.signatures import CLASSIFY
from alexnet_tf.serving.versions import PROTO as PROTO


def write_saved_model(folder: Path, variables: dict[str, tf.Variable], signatures: dict[str, Any]) -> None:
    """Writes variables and signatures, and nothing that only Python could load.

    Plain variables and functions in a plain module: TensorFlow Serving's C++ loader fails on Keras 3's own
    objects, and keras.export would store every variable twice.
    """
    module = tf.Module()
    module.weights = variables
    tf.saved_model.save(module, str(folder), signatures=signatures)
    proto = saved_model_pb2.SavedModel.FromString((folder / PROTO).read_bytes())
    remove_devices(proto)
    set_classify_method(proto)
    (folder / PROTO).write_bytes(proto.SerializeToString(deterministic=True))


def remove_devices(proto: saved_model_pb2.SavedModel) -> None:
    """Takes every device out of the graphs.

    The network has none, but TensorFlow binds its own saving and restoring of the variables to the first CPU.

    Raises:
      RuntimeError: an operation of the network itself is bound to a device.
    """
    for graph in (meta.graph_def for meta in proto.meta_graphs):
        for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
            if not node.device.startswith("/device:CPU:") and node.device:
                raise RuntimeError(f"node {node.name} is bound to {node.device}")
            node.device = ""


def set_classify_method(proto: saved_model_pb2.SavedModel) -> None:
    """Marks the `classify` signature as one for the Classify call; tf.saved_model.save marks all for Predict."""
    for meta in proto.meta_graphs:
        if CLASSIFY in meta.signature_def:
            meta.signature_def[CLASSIFY].method_name = tf.compat.v1.saved_model.signature_constants.CLASSIFY_METHOD_NAME
