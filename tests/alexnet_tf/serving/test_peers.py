"""The exported network in engines that share no code with TensorFlow."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.engines import engines_of
from tests.alexnet_tf.serving.exported_models import Exported, center_views
from tests.closeness import WHOLE_NETWORK, assert_close


def network_of(exported: Exported, data: Path) -> tuple[tf.types.experimental.GenericFunction, np.ndarray, np.ndarray]:
    """The signature as a function of its own, prepared views, and what TensorFlow makes of them."""
    network = exported.signature("network")
    spec = tf.TensorSpec((None, *exported.net.picture_shape), tf.float32, name="views")
    function = tf.function(lambda views: network(views=views)["probabilities"], input_signature=[spec])
    views = center_views(exported, data)[::3]
    expected = function(views).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01  # the views are told apart
    return function, views.numpy(), expected


def test_onnx_runtime_finds_the_same_probabilities(program: Exported, tiny_data: Path) -> None:
    tf2onnx = pytest.importorskip("tf2onnx", reason="NO PEER ENGINE: tf2onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="NO PEER ENGINE: onnxruntime is not installed")
    function, views, expected = network_of(program, tiny_data)
    model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=18)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"views": views})
    assert_close(found, expected, WHOLE_NETWORK)


def test_openvino_finds_the_same_probabilities(program: Exported, tiny_data: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="NO SECOND PEER ENGINE: openvino is not installed")
    function, views, expected = network_of(program, tiny_data)
    model = openvino.convert_model(function.get_concrete_function())
    # Its own choice would be bfloat16 where the processor has it.
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (found,) = compiled([views]).values()
    assert_close(found, expected, WHOLE_NETWORK)


def test_engines_of_the_benchmark_find_the_same_probabilities(program: Exported, tiny_data: Path) -> None:
    _, views, expected = network_of(program, tiny_data)
    engines, missing = engines_of(program.models / "1", len(views))
    for engine in engines.values():
        assert_close(engine(views), expected, WHOLE_NETWORK)
    if missing:
        pytest.skip("PEER ENGINES: " + "; ".join(missing))
