"""The gradient of a fully connected layer in training, against the rule by hand."""

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.networks import layers
from alexnet_tf.networks.keras_versions import tensorflow_variable
from tests.closeness import ONE_LAYER, assert_close


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_those_of_a_product_and_on_the_layers_device(dtype: str) -> None:
    draw = np.random.default_rng(0)
    x, dy = (draw.standard_normal(shape).astype(dtype) for shape in ((5, 70), (5, 30)))
    layer = layers.Dense(30, name="fc", device="/device:CPU:1", dtype=dtype)
    layer.build((None, 70))
    kernel = layer.kernel.numpy().astype(np.float64)

    @tf.function(input_signature=[tf.TensorSpec(array.shape, array.dtype) for array in (x, dy)], autograph=False)
    def products(x: tf.Tensor, dy: tf.Tensor) -> list[tf.Tensor]:
        y = layer(x, training=True)
        return [y, *tf.gradients(y, [x, tensorflow_variable(layer.kernel)], dy)]

    operations = products.get_concrete_function().graph.get_operations()
    assert {op.device[-5:] for op in operations if op.type == "MatMul"} == {"CPU:1"}
    assert any(op.type == "IdentityN" for op in operations)  # which the own gradient belongs to
    y, dx, dkernel = products(x, dy)
    for found, expected in ((y, x @ kernel), (dx, dy @ kernel.T), (dkernel, x.T @ dy)):
        assert_close(found, expected, ONE_LAYER, np.dtype(dtype).type)
