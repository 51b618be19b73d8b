"""The exported network in engines that share no code with TensorFlow."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.alexnet_tf.serving.conftest import Exported

BLOTS = np.random.default_rng(0).uniform(-120, 120, (4, 5, 6, 3))
VIEWS = tf.image.resize(BLOTS, (224, 224), "bicubic").numpy()
"""Four smooth pictures, less their mean."""


def network_of(exported: Exported) -> tuple[tf.types.experimental.GenericFunction, np.ndarray]:
    """The signature as a function of its own, and what TensorFlow makes of VIEWS."""
    network = exported.signature("network")
    spec = tf.TensorSpec((None, 224, 224, 3), tf.float32, name="views")
    function = tf.function(lambda views: network(views=views)["probabilities"], input_signature=[spec])
    expected = function(tf.constant(VIEWS)).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01  # the views are told apart
    return function, expected


def test_onnx_runtime_finds_the_same_probabilities(exported: Exported, tmp_path: Path) -> None:
    tf2onnx = pytest.importorskip("tf2onnx", reason="NO PEER ENGINE: tf2onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="NO PEER ENGINE: onnxruntime is not installed")
    function, expected = network_of(exported)
    model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=18)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"views": VIEWS})
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_openvino_finds_the_same_probabilities(exported: Exported) -> None:
    openvino = pytest.importorskip("openvino", reason="NO SECOND PEER ENGINE: openvino is not installed")
    function, expected = network_of(exported)
    model = openvino.convert_model(function.get_concrete_function())
    # Its own choice would be bfloat16 where the processor has it.
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (found,) = compiled([VIEWS]).values()
    np.testing.assert_allclose(found, expected, atol=1e-4)
