"""The layers of one tower: each keeps its variables and its operations on one device.

Standard Keras layers get their device from the `Placed` mixin; the two response normalizations and the 2012 dropout,
which Keras does not have, are written here with their formulas.
"""

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks import winograd
from alexnet_tf.networks.keras_versions import tensorflow_variable
from alexnet_tf.networks.own_gradient import OwnGradient, with_gradient
from alexnet_tf.towers import on_cpu


class Placed:
    """Mixin for a Keras layer whose variables and operations live on `device`; None leaves them unplaced.

    A device scope around a Keras layer's *call* does not reach its operations, so the scope is opened inside `build`
    (variables) and `call` (operations).

    Args:
      device: as tf.device takes it.
      tower: whose device that is, "a" or "b".
      name: by which its variables are saved. A layer with variables needs one of its own: Keras' numbers differ from
        process to process.
    """

    def __init__(
        self, *args: Any, device: str | None = None, tower: str = "a", name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, name=name, **kwargs)  # type: ignore[call-arg]
        self.device = device
        self.tower = tower
        self.is_named = name is not None
        self.told_by_keras = False
        """Whether calls pass over what they are told of training and seeds, while `keras_network` lays layers out."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.told_by_keras:
            kwargs = {name: value for name, value in kwargs.items() if name not in ("training", "seed")}
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    @property
    def config_name(self) -> str:
        """As a config calls the layer, whichever its tower: "conv1" of conv1_a and conv1_b."""
        return self.name.removesuffix(f"_{self.tower}")  # type: ignore[attr-defined]

    def build(self, input_shape: Any) -> None:
        with tf.device(self.device):
            super().build(input_shape)  # type: ignore[misc]

    def call(self, inputs: Any) -> tf.Tensor:
        with tf.device(self.device):
            return super().call(inputs)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "device": self.device, "tower": self.tower}  # type: ignore[misc]


class Conv2D(Placed, keras.layers.Conv2D):
    """keras.layers.Conv2D on one device.

    Training on a CPU takes `winograd.convolve` where that is faster, with the same result but for rounding.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not (training and on_cpu(self.device) and self._can_be_filtered(inputs)):
            return super().call(inputs)
        with tf.device(self.device):
            kernel, bias = (tf.convert_to_tensor(weights) for weights in (self.kernel, self.bias))
            relu = self.activation is keras.activations.relu
            y = winograd.convolve(inputs, kernel, bias, relu, self.device)
            return y if relu else self.activation(y)

    def _can_be_filtered(self, inputs: tf.Tensor) -> bool:
        """Not in bfloat16, whose eight bits do not bear it, and not with few channels, where it is no faster."""
        stride_1 = self.strides == (1, 1) and self.dilation_rate == (1, 1) and self.padding == "same"
        precise = inputs.dtype in (tf.float32, tf.float64)
        known = self.use_bias and self.groups == 1 and self.kernel_size[0] in winograd.TILE_ROWS
        return stride_1 and precise and known and min(inputs.shape[-1], self.filters) >= winograd.FEWEST_CHANNELS


class Dense(Placed, keras.layers.Dense):
    """keras.layers.Dense on one device."""

    transposed_kernel: tf.Variable | None = None

    def transpose_kernel(self) -> tf.Variable:
        """Goes on with a transposed copy of the kernel, (units, inputs), and returns it; not for training.

        For one picture, where all the time goes into reading the weights, a CPU finds kernel times picture sooner than
        picture times kernel, and for a batch it is no slower.
        """
        self.transposed_kernel = tf.Variable(tf.transpose(tensorflow_variable(self.kernel)))
        return self.transposed_kernel

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.transposed_kernel is None:
            return super().call(inputs)
        with tf.device(self.device):
            products = tf.matmul(self.transposed_kernel, inputs, transpose_b=True)  # (units, N)
            return self.activation(tf.transpose(products) + self.bias)


class MaxPooling2D(Placed, keras.layers.MaxPooling2D):
    """keras.layers.MaxPooling2D on one device."""


class AveragePooling2D(Placed, keras.layers.AveragePooling2D):
    """keras.layers.AveragePooling2D on one device."""


class BatchNormalization(Placed, keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization on one device; call it with `training`.

    Several workers normalize each by its own pictures, and average the moving averages after every step.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        with tf.device(self.device):
            return keras.layers.BatchNormalization.call(self, inputs, training=training)


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


class Cast(Placed, keras.layers.Layer):
    """To the type that the layer computes in, on one device; Keras' own casts know no device."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        with tf.device(self.device):
            return tf.cast(inputs, self.compute_dtype)


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
    and Caffe divide alpha by n, so it is passed in divided. With `relu` x is max(input, 0): a ReLU that has just gone
    before costs nothing in here, and by itself two passes over memory.
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
        """What was padded."""
        return padded[tuple(self._along(padded.shape.rank, slice(self.radius, -self.radius), slice(None)))]

    def sum(self, padded: tf.Tensor, each: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """From what `pad` gives to the sums over each(x), of the size that was padded.

        `each` is applied to one neighbor at a time: of the whole, XLA would first write it all to memory.
        """
        for axis in self.axes:
            before, size = (slice(None),) * (axis % padded.shape.rank), padded.shape[axis] - 2 * self.radius
            neighbors = (padded[(*before, slice(k, k + size))] for k in range(2 * self.radius + 1))
            padded = tf.add_n([each(neighbor) for neighbor in neighbors])
            each = tf.identity  # along the next axis, of sums
        return self.factor * padded

    def _along(self, rank: int, value: Any, other: Any) -> list[Any]:
        """An entry an axis of a tensor: `value` for the window's own, `other` for the rest."""
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
    """Of `_compiled_normalization`."""

    window: _Window
    bias: float
    beta: float
    relu: bool
    device: str | None

    def __call__(self, slopes: tf.Tensor, *kept: tf.Tensor) -> tuple[tf.Tensor]:
        padded, y, root = kept
        _, _, pad_slopes, backward = _passes(self.window, self.bias, self.beta, self.relu)
        with tf.device(self.device):  # a gradient function is called outside the layer's own scope
            return (backward(padded, root, slopes, pad_slopes(y, root, slopes)),)


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

    def pad_slopes(y: tf.Tensor, root: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
        slopes = _at_least_float32(dy) * _at_least_float32(y) * tf.square(_at_least_float32(root))
        return window.pad(tf.cast(slopes, y.dtype))

    def backward(padded: tf.Tensor, root: tf.Tensor, dy: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
        x = _at_least_float32(window.inside(padded))
        through_window = (2.0 * beta) * x * window.sum(slopes, _at_least_float32)
        dx = _at_least_float32(dy) * _power(_at_least_float32(root), 2.0 * beta) - through_window
        return tf.cast(tf.where(x > 0, dx, 0.0) if relu else dx, dy.dtype)

    compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
    return tuple(compiled(one_pass) for one_pass in (pad, forward, pad_slopes, backward))


def _at_least_float32(x: tf.Tensor) -> tf.Tensor:
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def _power(root: tf.Tensor, exponent: float) -> tf.Tensor:
    """root^exponent; 3/2 by a square root, for tf.pow costs as much as a convolution on a CPU."""
    return root * tf.sqrt(root) if exponent == 1.5 else tf.pow(root, exponent)


def dropout_layer(scaled: str, rate: float, **kwargs: Any) -> "Dropout2012":
    """The layer for presets.Network.dropout: "scaled at test" or "scaled in training"."""
    return (InvertedDropout if scaled == "scaled in training" else Dropout2012)(rate, **kwargs)


class Dropout2012(Placed, keras.layers.Layer):
    """Dropout as in 2012: a plain 0/1 mask in training, outputs times (1 - rate) at test (paper section 4.2).

    Keras' own dropout scales up in training instead: equal in expectation, but with other gradients at the
    paper's initialization. The mask is a function of the seed and the layer's name alone, so a resumed run draws what
    the undisturbed run would have drawn.

    Args of call: inputs of any shape; seed, int32 (2,), or None at test; training, as Keras tells it: without a seed, a
    mask that the global generator draws (`keras.utils.set_random_seed`).
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, inputs: tf.Tensor, seed: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        with tf.device(self.device):
            if seed is None and training:
                seed = drawn_seed()
            if seed is None:
                return inputs * (1.0 - self.rate)
            own_seed = tf.random.experimental.stateless_fold_in(seed, zlib.crc32(self.name.encode()) % 2**31)
            draw = tf.random.stateless_uniform(tf.shape(inputs), own_seed)
            return tf.where(draw >= self.rate, inputs, tf.zeros((), inputs.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


class InvertedDropout(Dropout2012):
    """Dropout as in Caffe and PyTorch: what the mask leaves is divided by (1 - rate), and nothing is done at test."""

    def call(self, inputs: tf.Tensor, seed: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        if seed is None and not training:
            return inputs
        with tf.device(self.device):
            return super().call(inputs, seed, training) / (1.0 - self.rate)


def drawn_seed() -> tf.Tensor:
    """A seed of dropout, int32 (2,), that the global generator draws, for calls without one."""
    return tf.random.uniform((2,), maxval=2**31 - 1, dtype=tf.int32)
