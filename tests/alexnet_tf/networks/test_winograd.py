"""Minimal filtering against the sum that defines a convolution and TensorFlow's own operation."""

from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.networks import layers, winograd
from alexnet_tf.networks.winograd import TILE_ROWS
from tests.bfloat16 import skip_without_bfloat16
from tests.closeness import ONE_LAYER, WHOLE_NETWORK, assert_close

KERNEL_ROWS = pytest.mark.parametrize("kernel_rows", TILE_ROWS)
RELU = pytest.mark.parametrize("relu", [False, True])
HEIGHTS = pytest.mark.parametrize("height", [13, 27, 20, 2])  # AlexNet's; whole tiles for either kernel; part of one


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def plain(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, relu: bool) -> tf.Tensor:
    y = tf.nn.conv2d(x, kernel, 1, "SAME") + bias
    return tf.nn.relu(y) if relu else y


@KERNEL_ROWS
def test_in_fractions_a_tile_is_the_convolution_exactly(kernel_rows: int) -> None:
    draw = np.random.default_rng(0)
    sizes = TILE_ROWS[kernel_rows], kernel_rows
    x, w = (np.array([Fraction(int(number), 7) for number in draw.integers(-99, 99, size)]) for size in sizes)
    matrices = winograd.exact_matrices(kernel_rows)
    y = matrices.from_points @ ((matrices.to_points @ x) * (matrices.kernel_to_points @ w))
    assert list(y) == [sum(x[k + i] * w[i] for i in range(kernel_rows)) for k in range(len(x) + 1 - kernel_rows)]


@KERNEL_ROWS
@HEIGHTS
@RELU
def test_result_and_gradients_are_tensorflows(kernel_rows: int, height: int, relu: bool) -> None:
    inputs = [normal(2, height, 9, 4), normal(kernel_rows, 3, 4, 6, seed=1), normal(6, seed=2)]
    inputs = [tf.constant(one) for one in inputs]  # float64
    dy = normal(2, height, 9, 6, seed=3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        found, expected = winograd.convolve(*inputs, relu, None), plain(*inputs, relu)
        losses = [tf.reduce_sum(y * dy) for y in (found, expected)]
    assert_close(found, expected, WHOLE_NETWORK, np.float64)
    for one, other in zip(*(tape.gradient(loss, inputs) for loss in losses), strict=True):
        assert_close(one, other, WHOLE_NETWORK, np.float64)


@pytest.mark.parametrize(("kernel_rows", "height", "channels"), [(5, 27, 48), (3, 13, 256), (3, 13, 192)])
def test_float32_rounds_no_worse_than_a_plain_sum_may(kernel_rows: int, height: int, channels: int) -> None:
    """Whose K terms are off by the root of K half roundings, the one order of them more than the other.

    How TensorFlow's own convolution orders them differs from processor to processor, so it is no yardstick.
    """
    x = np.maximum(normal(4, height, height, channels), 0)
    inputs = [x, normal(kernel_rows, kernel_rows, channels, 64, seed=1), normal(64, seed=2)]
    exact = plain(*(tf.constant(one) for one in inputs), False).numpy()
    single = [tf.constant(one, tf.float32) for one in inputs]
    found = winograd.convolve(*single, False, None).numpy()
    terms = kernel_rows * kernel_rows * channels
    assert 0 < np.std(found - exact) / np.std(exact) < np.sqrt(terms) * np.finfo(np.float32).eps / 2


class TestLayer:
    CHANNELS = winograd.FEWEST_CHANNELS
    X = np.maximum(normal(2, 13, 13, CHANNELS), 0)

    @pytest.mark.parametrize("size", [3, 5, (3, 5)])
    @pytest.mark.parametrize("activation", [None, "relu", "tanh"])
    def test_training_gives_what_test_gives(self, size: int | tuple, activation: str | None) -> None:
        layer = layers.Conv2D(self.CHANNELS, size, padding="same", activation=activation, bias_initializer="ones")
        at_test, in_training = layer(self.X), layer(self.X, training=True)
        assert np.any(at_test != in_training)  # it went the other way
        assert_close(at_test, in_training, ONE_LAYER)

    @pytest.mark.parametrize(
        "options",
        [{"strides": 2}, {"padding": "valid"}, {"dilation_rate": 2}, {"kernel_size": 7}, {"groups": 2},
         {"use_bias": False}, {"dtype": "mixed_bfloat16"}, {"filters": winograd.FEWEST_CHANNELS - 1}],
        ids=str,
    )  # fmt: skip
    def test_what_it_does_not_suit_is_left_as_it_is(self, options: dict) -> None:
        if options.get("dtype") == "mixed_bfloat16":
            skip_without_bfloat16()
        layer = layers.Conv2D(**{"filters": self.CHANNELS, "kernel_size": 3, "padding": "same", **options})
        np.testing.assert_array_equal(layer(self.X), layer(self.X, training=True))
