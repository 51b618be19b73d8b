"""The layers of one tower: each keeps its variables and its operations on one device.

Standard Keras layers get their device from the `Placed` mixin; the two response normalizations and the 2012 dropout,
which Keras does not have, are written here with their formulas.
"""

import zlib
from collections.abc import Callable
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

    These are the only places where activations cross from device to device: before conv3, fc6, fc7 and fc8, and, of
    the outermost channels only, before a normalization across the towers.
    """


class Channels(Placed, keras.layers.Layer):
    """The channels from `start` to before `stop`, as a slice counts, on one device: (..., C) -> (..., some of C)."""

    def __init__(self, start: int | None, stop: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.stop = stop

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        with tf.device(self.device):
            return inputs[..., self.start : self.stop]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start, "stop": self.stop}


class LocalResponseNormalization(Placed, keras.layers.Layer):
    """Response normalization across the channels that it is given.

    y[c] = x[c] / (bias + alpha * sum of x[j]^2 over |j - c| <= depth_radius) ^ beta

    (N, H, W, C) -> (N, H, W, C). Paper section 3.3 with depth_radius = n // 2 and an undivided sum; the 2012 program
    and Caffe divide alpha by n, so it is passed in divided.
    """

    def __init__(self, depth_radius: int, bias: float, alpha: float, beta: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        with tf.device(self.device):
            if not training and inputs.dtype == tf.float32:  # the operation's only type on every device
                return tf.nn.local_response_normalization(inputs, self.depth_radius, self.bias, self.alpha, self.beta)
            # The same function with each sum over neighboring channels as a product with a banded matrix. TensorFlow's
            # own operation keeps nothing for its gradient: with it a training step on a CPU takes 8 % longer.
            channels = int(inputs.shape[-1])
            index = np.arange(channels)
            band = self.alpha * (np.abs(index[:, None] - index) <= self.depth_radius)  # (C, C)

            def sum_over_window(x: tf.Tensor, factor: float, offset: float) -> tf.Tensor:
                sums = tf.matmul(tf.reshape(x, (-1, channels)), tf.constant(factor * band, x.dtype))
                if offset:  # as a bias, which TensorFlow adds within the product
                    sums = tf.nn.bias_add(sums, tf.fill((channels,), tf.constant(offset, x.dtype)))
                return tf.reshape(sums, tf.shape(x))

            return _response_normalization(inputs, sum_over_window, self.bias, self.beta, self.device)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("depth_radius", "bias", "alpha", "beta")}
        return {**super().get_config(), **own}


class SpatialResponseNormalization(Placed, keras.layers.Layer):
    """Response normalization inside each map, over a square window; beyond the edge counts as zero.

    y = x / (1 + scale / size^2 * sum of x^2 over the size x size window) ^ beta

    (N, H, W, C) -> (N, H, W, C). 2012 program, after the second LRN: size 5, scale 0.001, beta 0.75. Not in the paper.
    """

    def __init__(self, size: int = 5, scale: float = 0.001, beta: float = 0.75, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if size % 2 == 0:
            raise ValueError(f"size must be odd, so that the window has a middle, got {size}")
        self.size = size
        self.scale = scale
        self.beta = beta

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        margin = [self.size // 2, self.size // 2]

        def sum_over_window(x: tf.Tensor, factor: float, offset: float) -> tf.Tensor:
            padded = tf.pad(x, [[0, 0], margin, margin, [0, 0]])
            mean = tf.nn.avg_pool2d(padded, self.size, 1, "VALID")  # holds the division by size^2
            return (factor * self.scale) * mean + offset if offset else (factor * self.scale) * mean

        with tf.device(self.device):
            return _response_normalization(inputs, sum_over_window, 1.0, self.beta, self.device)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("size", "scale", "beta")}
        return {**super().get_config(), **own}


def _response_normalization(
    x: tf.Tensor,
    sum_over_window: Callable[[tf.Tensor, float, float], tf.Tensor],
    bias: float,
    beta: float,
    device: str | None,
) -> tf.Tensor:
    """Computes y = x * s^-beta with s = bias + window(x^2), and its gradient by the formula.

    dx = dy * s^-beta - 2 * beta * x * window(dy * x * s^(-beta - 1))

    sum_over_window(x, factor, offset) is factor * window(x) + offset; the window is linear and symmetric (j counts for
    c as c counts for j), so it serves both ways. On a CPU this gradient takes half the time of TensorFlow's own for
    LRN; its cost is passes over memory, so s and its power are kept and constants are folded into the windows.
    """

    @tf.custom_gradient
    def normalize(x: tf.Tensor) -> Any:
        s = sum_over_window(tf.square(x), 1.0, bias)
        factor = _negative_power(s, beta)

        def gradient(dy: tf.Tensor) -> tf.Tensor:
            with tf.device(device):  # a gradient function is called outside the layer's own scope
                slope = dy * factor
                return slope - x * sum_over_window(slope * x / s, 2.0 * beta, 0.0)

        return x * factor, gradient

    return normalize(x)


def _negative_power(s: tf.Tensor, beta: float) -> tf.Tensor:
    """Computes s^-beta; by two roots where they do, for tf.pow costs as much as a convolution on a CPU."""
    if beta == 0.75:
        root = tf.math.rsqrt(s)
        return root * tf.sqrt(root)
    return tf.pow(s, -beta)


def dropout_layer(scaled: str, rate: float, **kwargs: Any) -> "Dropout2012":
    """The layer for presets.Network.dropout: "scaled at test" or "scaled in training"."""
    return (InvertedDropout if scaled == "scaled in training" else Dropout2012)(rate, **kwargs)


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


class InvertedDropout(Dropout2012):
    """Dropout as in Caffe and PyTorch: what the mask leaves is divided by (1 - rate), and nothing is done at test."""

    def call(self, inputs: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        if seed is None:
            return inputs
        with tf.device(self.device):
            return super().call(inputs, seed) / (1.0 - self.rate)
