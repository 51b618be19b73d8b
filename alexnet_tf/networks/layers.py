"""The layers of one tower: each keeps its variables and its operations on one device.

Standard Keras layers get their device from the `Placed` mixin. The layers that Keras does not have are in
response_normalization.py and dropout.py.
"""

from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks import dense_product, winograd
from alexnet_tf.networks.keras_versions import tensorflow_variable
from alexnet_tf.towers import on_cpu

PRECISE = (tf.float32, tf.float64)
"""Types that the gradients written here are for; bfloat16 is left to TensorFlow."""


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
        """Whether calls ignore what they are told of training and seeds, while `keras_network` lays layers out."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.told_by_keras:
            kwargs = {name: value for name, value in kwargs.items() if name not in ("training", "seed")}
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    @property
    def config_name(self) -> str:
        """The layer's name in a config, without its tower: "conv1" for conv1_a and conv1_b."""
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

    Training on a CPU takes `winograd.convolve` where that is faster, with the same result but for rounding, unless
    `filtered` is False; and one product where the kernel is as large as the picture, as in LeNet-5's C5.
    """

    filtered = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training and on_cpu(self.device):
            if self._sees_all_at_once(inputs):
                return self._product(inputs)
            if self.filtered and self._can_be_filtered(inputs):
                return self._filter(inputs)
        return super().call(inputs)

    def _sees_all_at_once(self, inputs: tf.Tensor) -> bool:
        """Whether the kernel has one place in the picture, and nothing beyond its edges."""
        one_place = self.padding == "valid" and self.groups == 1 and self.dilation_rate == (1, 1)
        return one_place and tuple(inputs.shape[1:3]) == self.kernel_size and inputs.dtype in PRECISE

    def _product(self, inputs: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C), H and W those of the kernel, to (N, 1, 1, F)."""
        with tf.device(self.device):
            kernel = tf.reshape(tf.convert_to_tensor(self.kernel), (-1, self.filters))
            y = dense_product.multiply(tf.reshape(inputs, (-1, kernel.shape[0])), kernel, self.device)
            return self.activation(y + self.bias if self.use_bias else y)[:, None, None]

    def _can_be_filtered(self, inputs: tf.Tensor) -> bool:
        """Whether to filter: not in bfloat16, which is too imprecise, nor with few channels, where it is no faster."""
        stride_1 = self.strides == (1, 1) and self.dilation_rate == (1, 1) and self.padding == "same"
        precise = inputs.dtype in PRECISE
        known = self.use_bias and self.groups == 1 and self.kernel_size[0] in winograd.TILE_ROWS
        return stride_1 and precise and known and min(inputs.shape[-1], self.filters) >= winograd.FEWEST_CHANNELS

    def _filter(self, inputs: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) to (N, H, W, F)."""
        with tf.device(self.device):
            kernel, bias = (tf.convert_to_tensor(weights) for weights in (self.kernel, self.bias))
            relu = self.activation is keras.activations.relu
            y = winograd.convolve(inputs, kernel, bias, relu, self.device)
            return y if relu else self.activation(y)


class Dense(Placed, keras.layers.Dense):
    """keras.layers.Dense on one device; training on a CPU takes `dense_product.multiply`, whose gradient is faster."""

    transposed_kernel: tf.Variable | None = None

    def transpose_kernel(self) -> tf.Variable:
        """Replaces the kernel by a transposed copy, (units, inputs), and returns that; not for training.

        For one picture, where all the time goes into reading the weights, a CPU computes kernel times picture faster
        than picture times kernel, and for a batch it is no slower.
        """
        self.transposed_kernel = tf.Variable(tf.transpose(tensorflow_variable(self.kernel)))
        return self.transposed_kernel

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        with tf.device(self.device):
            if self.transposed_kernel is not None:
                products = tf.transpose(tf.matmul(self.transposed_kernel, inputs, transpose_b=True))
            elif training and on_cpu(self.device) and inputs.dtype in PRECISE:
                products = dense_product.multiply(inputs, tf.convert_to_tensor(self.kernel), self.device)
            else:
                return keras.layers.Dense.call(self, inputs)
            return self.activation(products + self.bias)


class MaxPooling2D(Placed, keras.layers.MaxPooling2D):
    """keras.layers.MaxPooling2D on one device."""


class AveragePooling2D(Placed, keras.layers.AveragePooling2D):
    """keras.layers.AveragePooling2D on one device."""


class GlobalAveragePooling2D(Placed, keras.layers.GlobalAveragePooling2D):
    """keras.layers.GlobalAveragePooling2D on one device: (N, H, W, C) -> (N, C)."""


class BatchNormalization(Placed, keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization on one device; call it with `training`.

    Several workers normalize each by its own pictures, and average the moving averages after every step.

    Training takes TensorFlow's one operation for it, which passes over memory less often than Keras 3 does. The moving
    variance is of what that gives: N / (N - 1) times that of N places (Ioffe and Szegedy, 2015, algorithm 2).
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        with tf.device(self.device):
            if not (training and self.trainable and inputs.shape.rank == 4 and inputs.dtype != tf.float64):
                return keras.layers.BatchNormalization.call(self, inputs, training=training)
            gamma, beta = (tf.cast(tf.convert_to_tensor(part), tf.float32) for part in (self.gamma, self.beta))
            nothing = tf.zeros((0,))
            normalized = tf.raw_ops.FusedBatchNormV3(
                x=inputs, scale=gamma, offset=beta, mean=nothing, variance=nothing, epsilon=self.epsilon
            )
            for moving, of_batch in (
                (self.moving_mean, normalized.batch_mean),
                (self.moving_variance, normalized.batch_variance),
            ):
                moving.assign(self.momentum * tf.convert_to_tensor(moving) + (1 - self.momentum) * of_batch)
            return normalized.y


class ReLU(Placed, keras.layers.ReLU):
    """keras.layers.ReLU on one device."""


class Activation(Placed, keras.layers.Activation):
    """keras.layers.Activation on one device."""


class Add(Placed, keras.layers.Add):
    """keras.layers.Add on one device."""


class ZeroPadding2D(Placed, keras.layers.ZeroPadding2D):
    """keras.layers.ZeroPadding2D on one device."""


class Flatten(Placed, keras.layers.Flatten):
    """keras.layers.Flatten on one device."""


class BothTowers(Placed, keras.layers.Concatenate):
    """Joins tower a's and tower b's activations along the channels on one device.

    These are the only places where activations cross from device to device: before conv3, fc6, fc7 and fc8, and, of
    the outermost channels only, before a normalization across the towers.
    """


class Concatenate(Placed, keras.layers.Concatenate):
    """keras.layers.Concatenate on one device: maps side by side."""


class Cast(Placed, keras.layers.Layer):
    """Casts to the type that the layer computes in, on one device; Keras' own casts know no device."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False})

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        with tf.device(self.device):
            return tf.cast(inputs, self.compute_dtype)


class Channels(Placed, keras.layers.Layer):
    """The slice of channels from `start` to before `stop`, on one device: (..., C) -> (..., some of C)."""

    def __init__(self, start: int | None, stop: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.stop = stop

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        with tf.device(self.device):
            return inputs[..., self.start : self.stop]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start, "stop": self.stop}
