"""One exported network in several engines: TensorFlow, ONNX Runtime, OpenCV DNN, PyTorch; each takes prepared views.

Those that are installed take part; a line names each that is missing.
"""

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from alexnet_tf.serving.versions import MODEL_FILE

Engine = Callable[[np.ndarray], np.ndarray]
"""float32 (N, 224, 224, 3) to probabilities (N, classes)."""


def engines_of(version: Path, batch_size: int) -> tuple[dict[str, Engine], list[str]]:
    """The engines by name, TensorFlow first, and a line for each that is missing."""
    model = tf.saved_model.load(str(version))
    network = model.signatures["network"]
    found: dict[str, Engine] = {"TensorFlow": lambda views: network(views=tf.constant(views))["probabilities"].numpy()}
    missing = []
    onnx = functools.cache(lambda: _onnx(network, batch_size))  # converting takes half a minute
    makers: dict[str, Callable[[], Engine]] = {
        "ONNX Runtime": lambda: _onnx_runtime(onnx()),
        "OpenCV DNN": lambda: _opencv(onnx()),
        "PyTorch": lambda: _torch(model, version),
    }
    for name, make in makers.items():
        try:
            found[name] = make()
        except ImportError as fault:
            missing.append(f"{name} takes no part: {fault}")
    return found, missing


def _onnx(network: Any, batch_size: int) -> bytes:
    """The network as ONNX for one batch size: OpenCV settles all shapes as it reads the model."""
    import tf2onnx

    (views,) = [spec for spec in network.structured_input_signature[1].values()]
    spec = tf.TensorSpec((batch_size, *views.shape[1:]), views.dtype, name="views")
    function = tf.function(lambda views: network(views=views)["probabilities"], input_signature=[spec])
    model, _ = tf2onnx.convert.from_function(function, [spec], opset=18)
    return model.SerializeToString()


def _onnx_runtime(model: bytes) -> Engine:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda views: session.run(None, {"views": views})[0]


def _opencv(model: bytes) -> Engine:
    import cv2

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model)
        file.flush()
        net = cv2.dnn.readNetFromONNX(file.name)

    def run(views: np.ndarray) -> np.ndarray:
        net.setInput(views)
        return net.forward()

    return run


def _torch(model: Any, version: Path) -> Engine:
    import torch

    from tests.alexnet_tf.networks import torch_alexnet  # the network written a second time, for the tests

    preset = json.loads((version / MODEL_FILE).read_text(encoding="utf-8"))["nets"][0]["preset"]
    variants = {"paper": torch_alexnet.PAPER, "2012-code": torch_alexnet.PROGRAM}
    if preset not in variants:
        raise ImportError(f"no such network of preset {preset}")
    weights = {}
    for name, variable in model.weights.items():
        value = variable.numpy()
        if value.ndim == 4:  # in PyTorch's own layout, seen through TensorFlow's
            weights[name] = torch.from_numpy(value.transpose(3, 2, 0, 1).copy()).permute(2, 3, 1, 0)
        elif name.endswith("/transposed_kernel"):
            weights[name.replace("transposed_", "")] = torch.from_numpy(value).T
        else:
            weights[name] = torch.from_numpy(value)

    def run(views: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return torch.softmax(torch_alexnet.logits(views, weights, variants[preset]), dim=1).numpy()

    return run
