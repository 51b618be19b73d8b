"""The two response normalizations of 2012, which Keras does not have, with their formulas and gradients."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks.layers import Placed
from alexnet_tf.networks.own_gradient import OwnGradient, with_gradient
from alexnet_tf.towers import on_cpu


class LocalResponseNormalization(Placed, keras.layers.Layer):
    """Response normalization across the channels that it is given.

    y[c] = x[c] / (bias + alpha * sum of x[j]^2 over |j - c| <= depth_radius) ^ beta

    (N, H, W, C) -> (N, H, W, C). Paper section 3.3 with depth_radius = n // 2 and an undivided sum; the 2012 program
    and Caffe divide alpha by n, so it is passed in divided. With `relu` x is max(input, 0): the ReLU before costs
    nothing in here, and two passes over memory as a layer of its own.
    """

    def __init__(
        self, depth_radius: int, bias: float, alpha: float, beta: float, relu: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta
        self.relu = relu

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        with tf.device(self.device):
            # TensorFlow's own operation, but for training on a CPU: there it takes three times as long as the compiled
            # formula, keeps nothing for its gradient, and knows no other type than float32.
            if inputs.dtype == tf.float32 and not (training and on_cpu(self.device)):
                x = tf.nn.relu(inputs) if self.relu else inputs
                return tf.nn.local_response_normalization(x, self.depth_radius, self.bias, self.alpha, self.beta)
            window = _Window((-1,), self.depth_radius, self.alpha)
            return _compiled_normalization(inputs, window, self.bias, self.beta, self.device, self.relu)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("depth_radius", "bias", "alpha", "beta", "relu")}
        return {**super().get_config(), **own}


class SpatialResponseNormalization(Placed, keras.layers.Layer):
    """Response normalization inside each feature map, over a square window; zero beyond the edge.

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

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        radius = self.size // 2
        with tf.device(self.device):
            if training and on_cpu(self.device):
                window = _Window((1, 2), radius, self.scale / self.size**2)
                return _compiled_normalization(inputs, window, 1.0, self.beta, self.device)
            margin = [radius, radius]
            squares = tf.pad(tf.square(inputs), [[0, 0], margin, margin, [0, 0]])
            mean = tf.nn.avg_pool2d(squares, self.size, 1, "VALID")  # holds the division by size^2
            return inputs * _power(tf.math.rsqrt(1.0 + self.scale * mean), 2.0 * self.beta)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("size", "scale", "beta")}
        return {**super().get_config(), **own}


@dataclass(frozen=True)
class _Window:
    """`factor` times the sum over `radius` neighbors on either side along each of `axes`; beyond the edge is zero.

    Linear and symmetric: as j counts for c, c counts for j.
    """

    axes: tuple[int, ...]
    radius: int
    factor: float

    def pad(self, x: tf.Tensor) -> tf.Tensor:
        """`x` with `radius` zeros on either side along each axis."""
        return tf.pad(x, self._along(x.shape.rank, [self.radius, self.radius], [0, 0]))

    def inside(self, padded: tf.Tensor) -> tf.Tensor:
        """What was padded, without the padding."""
        return padded[tuple(self._along(padded.shape.rank, slice(self.radius, -self.radius), slice(None)))]

    def sum(self, padded: tf.Tensor, each: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """The sums over each(x), from what `pad` gives; of the size before padding.

        `each` is applied to one neighbor at a time: of the whole, XLA would first write it all to memory.
        """
        for axis in self.axes:
            before, size = (slice(None),) * (axis % padded.shape.rank), padded.shape[axis] - 2 * self.radius
            neighbors = (padded[(*before, slice(k, k + size))] for k in range(2 * self.radius + 1))
            padded = tf.add_n([each(neighbor) for neighbor in neighbors])
            each = tf.identity  # along the next axis, of sums
        return self.factor * padded

    def _along(self, rank: int, value: Any, other: Any) -> list[Any]:
        """One entry for each axis of a tensor: `value` for the axes of the window, `other` for the rest."""
        own = [axis % rank for axis in self.axes]
        return [value if axis in own else other for axis in range(rank)]


def _compiled_normalization(
    x: tf.Tensor, window: _Window, bias: float, beta: float, device: str | None, relu: bool = False
) -> tf.Tensor:
    """Computes y = x * s^-beta with s = bias + window(x^2), and its gradient by the formula.

    dx = dy * s^-beta - 2 * beta * x * window(dy * y / s)

    With `relu`, of max(x, 0); its gradient then is 0 wherever x is not above 0.

    On a CPU passes over memory are what this costs, so XLA makes two passes of each direction. It is handed this and
    nothing else: it would put a whole step on one device.
    """
    pad, forward, _, _ = _passes(window, bias, beta, relu)
    padded = pad(x)
    y, root = forward(padded)
    return with_gradient(y, [x], [padded, y, root], _NormalizationGradient(window, bias, beta, relu, device))


@dataclass(frozen=True)
class _NormalizationGradient(OwnGradient):
    """The gradient of `_compiled_normalization`."""

    window: _Window
    bias: float
    beta: float
    relu: bool
    device: str | None

    def __call__(self, upstream: tf.Tensor, *saved: tf.Tensor) -> tuple[tf.Tensor]:
        padded, y, root = saved
        _, _, pad_products, backward = _passes(self.window, self.bias, self.beta, self.relu)
        with tf.device(self.device):  # a gradient function is called outside the layer's own scope
            return (backward(padded, root, upstream, pad_products(y, root, upstream)),)


@functools.cache
def _passes(window: _Window, bias: float, beta: float, relu: bool) -> tuple[Callable[..., Any], ...]:
    """The passes of `_compiled_normalization`; whatever goes in or out has the type of x, root is s^-1/2.

    Padding is a pass of its own: XLA does not vectorize a loop that may reach beyond an edge.
    """

    def pad(x: tf.Tensor) -> tf.Tensor:
        return window.pad(tf.nn.relu(x) if relu else x)

    def forward(padded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        root = tf.math.rsqrt(bias + window.sum(padded, lambda x: tf.square(_at_least_float32(x))))
        y = _at_least_float32(window.inside(padded)) * _power(root, 2.0 * beta)
        return tf.cast(y, padded.dtype), tf.cast(root, padded.dtype)

    def pad_products(y: tf.Tensor, root: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
        products = _at_least_float32(dy) * _at_least_float32(y) * tf.square(_at_least_float32(root))
        return window.pad(tf.cast(products, y.dtype))

    def backward(padded: tf.Tensor, root: tf.Tensor, dy: tf.Tensor, products: tf.Tensor) -> tf.Tensor:
        x = _at_least_float32(window.inside(padded))
        through_window = (2.0 * beta) * x * window.sum(products, _at_least_float32)
        dx = _at_least_float32(dy) * _power(_at_least_float32(root), 2.0 * beta) - through_window
        return tf.cast(tf.where(x > 0, dx, 0.0) if relu else dx, dy.dtype)

    compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
    return tuple(compiled(one_pass) for one_pass in (pad, forward, pad_products, backward))


def _at_least_float32(x: tf.Tensor) -> tf.Tensor:
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def _power(root: tf.Tensor, exponent: float) -> tf.Tensor:
    """root^exponent; 3/2 by a square root, for tf.pow costs as much as a convolution on a CPU."""
    return root * tf.sqrt(root) if exponent == 1.5 else tf.pow(root, exponent)
