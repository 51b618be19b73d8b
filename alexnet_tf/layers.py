"""The layers of one tower: each keeps its variables and its operations on one device.

Standard Keras layers get their device from the `Placed` mixin; the two response normalizations and the 2012 dropout,
which Keras does not have, are written here with their formulas.
"""

import zlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class Placed:
    """Mixin for a Keras layer whose variables and operations live on `device`; None leaves them unplaced.

    A device scope around a Keras layer's *call* does not reach its operations, so the scope is opened inside `build`
    (variables) and `call` (operations).
    """

    def __init__(self, *args: Any, device: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device = device

    def build(self, input_shape: Any) -> None:
        with tf.device(self.device):
            super().build(input_shape)  # type: ignore[misc]

    def call(self, inputs: Any) -> tf.Tensor:
        with tf.device(self.device):
            return super().call(inputs)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "device": self.device}  # type: ignore[misc]


class Conv2D(Placed, keras.layers.Conv2D):
    """keras.layers.Conv2D on one device."""


class Dense(Placed, keras.layers.Dense):
    """keras.layers.Dense on one device."""


class MaxPooling2D(Placed, keras.layers.MaxPooling2D):
    """keras.layers.MaxPooling2D on one device."""


class ReLU(Placed, keras.layers.ReLU):
    """keras.layers.ReLU on one device."""


class ZeroPadding2D(Placed, keras.layers.ZeroPadding2D):
    """keras.layers.ZeroPadding2D on one device."""


class Flatten(Placed, keras.layers.Flatten):
    """keras.layers.Flatten on one device."""


class BothTowers(Placed, keras.layers.Concatenate):
    """Joins tower a's and tower b's activations along the channels on one device.

    These are the only places where activations cross from device to device: before conv3, fc6, fc7 and fc8.
    """


class LocalResponseNormalization(Placed, keras.layers.Layer):
    """Response normalization across the channels of one tower.

    y[c] = x[c] / (bias + alpha * sum of x[j]^2 over |j - c| <= depth_radius) ^ beta

    (N, H, W, C) -> (N, H, W, C). Paper section 3.3 with depth_radius = n // 2 and an undivided sum; the 2012 program
    divides alpha by n, so it is passed in divided.
    """

    def __init__(self, depth_radius: int, bias: float, alpha: float, beta: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        with tf.device(self.device):
            return local_response_normalization(
                inputs, self.depth_radius, self.bias, self.alpha, self.beta, device=self.device
            )

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("depth_radius", "bias", "alpha", "beta")}
        return {**super().get_config(), **own}


def local_response_normalization(
    x: tf.Tensor, depth_radius: int, bias: float, alpha: float, beta: float, device: str | None = None
) -> tf.Tensor:
    """tf.nn.local_response_normalization with a faster gradient.

    The gradient is that of the formula, with each sum over neighboring channels as a product with a banded (C, C)
    matrix: on a CPU twice as fast as TensorFlow's own.

    dx = dy * s^-beta - 2 * alpha * beta * x * band(dy * y / s),  s = bias + alpha * band(x^2)
    """
    channels = int(x.shape[-1])
    index = np.arange(channels)
    band = (np.abs(index[:, None] - index[None, :]) <= depth_radius).astype(np.float32)

    @tf.custom_gradient
    def normalize(x: tf.Tensor) -> Any:
        y = tf.nn.local_response_normalization(x, depth_radius, bias, alpha, beta)

        def gradient(dy: tf.Tensor) -> tf.Tensor:
            with tf.device(device):  # a gradient function is called outside the layer's own scope
                scaled_band = tf.constant(band * alpha, x.dtype)
                s = _sum_channels(tf.square(x), scaled_band) + bias
                spread = _sum_channels(dy * y / s, scaled_band)
                return dy * tf.pow(s, -beta) - (2 * beta) * x * spread

        return y, gradient

    return normalize(x)


def _sum_channels(x: tf.Tensor, band: tf.Tensor) -> tf.Tensor:
    """(..., C) times (C, C), as one matrix product."""
    return tf.reshape(tf.matmul(tf.reshape(x, (-1, x.shape[-1])), band), tf.shape(x))


class SpatialResponseNormalization(Placed, keras.layers.Layer):
    """Response normalization inside each map, over a square window; beyond the edge counts as zero.

    y = x / (1 + scale / size^2 * sum of x^2 over the size x size window) ^ beta

    (N, H, W, C) -> (N, H, W, C). 2012 program, after the second LRN: size 5, scale 0.001, beta 0.75. Not in the paper.
    """

    def __init__(self, size: int = 5, scale: float = 0.001, beta: float = 0.75, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.scale = scale
        self.beta = beta

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        with tf.device(self.device):
            margin = [self.size // 2, (self.size - 1) // 2]
            padded = tf.pad(tf.square(inputs), [[0, 0], margin, margin, [0, 0]])
            mean_square = tf.nn.avg_pool2d(padded, self.size, 1, "VALID")
            return inputs * tf.pow(1.0 + self.scale * mean_square, -self.beta)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("size", "scale", "beta")}
        return {**super().get_config(), **own}


class Dropout2012(Placed, keras.layers.Layer):
    """Dropout as in 2012: a plain 0/1 mask in training, outputs times (1 - rate) at test (paper section 4.2).

    Keras' own dropout scales up in training instead: equal in expectation, but with other gradients at the
    paper's initialization. The mask is a function of the seed and the layer's name alone, so a resumed run draws what
    the undisturbed run would have drawn.

    Args of call: inputs of any shape; seed, int32 (2,), or None at test.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, inputs: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        with tf.device(self.device):
            if seed is None:
                return inputs * (1.0 - self.rate)
            own_seed = tf.random.experimental.stateless_fold_in(seed, zlib.crc32(self.name.encode()) % 2**31)
            draw = tf.random.stateless_uniform(tf.shape(inputs), own_seed)
            return tf.where(draw >= self.rate, inputs, 0.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}
