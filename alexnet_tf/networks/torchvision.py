"""torchvision's alexnet, in one tower, whose trained weights are published.

An output shape on every line; N is the batch.
"""

from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks.alexnet import AlexNet
from alexnet_tf.networks.dropout import InvertedDropout
from alexnet_tf.networks.layers import Cast, Conv2D, Dense, Flatten, MaxPooling2D, ZeroPadding2D
from alexnet_tf.networks.network import DTYPES
from alexnet_tf.program.seeds import own_seed
from alexnet_tf.settings.presets import OneTowerAlexNetSettings
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.towers import Towers


class OneTowerAlexNet(AlexNet):
    """torchvision's alexnet, after Krizhevsky 2014: 61,100,840 parameters at 1000 classes, all on tower a's device.

    torchvision averages pool5 to 6x6, which at a crop of 224 is what it has, so that layer is left out; at 128 pool5 is
    3x3, and fc6 takes that.
    """

    def __init__(
        self,
        network: OneTowerAlexNetSettings,
        num_classes: int,
        towers: Towers,
        seed: int = 0,
        precision: Precision = "float32",
    ) -> None:
        super().__init__(network, num_classes, towers)
        dtype, widths = DTYPES[precision], network.widths

        def named(name: str) -> dict[str, Any]:
            return {"name": f"{name}_a", "device": towers.a, "dtype": dtype}

        def pytorch_start(name: str, inputs: int) -> dict[str, Any]:
            kernel, bias = (
                keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5, seed=own_seed(seed, f"{name}_a/{part}"))
                for part in ("kernel", "bias")
            )
            return {"kernel_initializer": kernel, "bias_initializer": bias}

        def conv(name: str, channels: int, size: int, **options: Any) -> Conv2D:
            start = pytorch_start(name, channels * size * size)
            return Conv2D(getattr(widths, name), size, activation="relu", **options, **named(name), **start)

        def dense(name: str, inputs: int, units: int, activation: str | None = "relu") -> Dense:
            return Dense(units, activation=activation, **named(name), **pytorch_start(name, inputs))

        self.cast1 = Cast(**named("cast1"))
        self.pad1 = ZeroPadding2D(2, **named("pad1"))
        self.conv1 = conv("conv1", 3, 11, strides=4)
        self.pool1 = MaxPooling2D(3, 2, **named("pool1"))
        self.conv2 = conv("conv2", widths.conv1, 5, padding="same")
        self.pool2 = MaxPooling2D(3, 2, **named("pool2"))
        self.conv3 = conv("conv3", widths.conv2, 3, padding="same")
        self.conv4 = conv("conv4", widths.conv3, 3, padding="same")
        self.conv5 = conv("conv5", widths.conv4, 3, padding="same")
        self.pool5 = MaxPooling2D(3, 2, **named("pool5"))
        self.flatten5 = Flatten(**named("flatten5"))
        self.dropout6 = InvertedDropout(network.dropout_rate, **named("dropout6"))
        self.fc6 = dense("fc6", _side_of_pool5(network.image_size) ** 2 * widths.conv5, widths.fc6)
        self.dropout7 = InvertedDropout(network.dropout_rate, **named("dropout7"))
        self.fc7 = dense("fc7", widths.fc6, widths.fc7)
        self.fc8 = dense("fc8", widths.fc7, num_classes, activation=None)
        self.logits = Cast(device=towers.a, name="logits_a", dtype=dtype and "float32")

    def convolutions(self, images: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Images (N, 224, 224, 3) to pool5."""
        training = dropout_seed is not None
        x = self.conv1(self.pad1(self.cast1(images[0])))  # (N, 228, 228, 3) -> (N, 55, 55, 64)
        x = self.conv2(self.pool1(x), training=training)  # (N, 27, 27, 64) -> (N, 27, 27, 192)
        x = self.conv3(self.pool2(x), training=training)  # (N, 13, 13, 192) -> (N, 13, 13, 384)
        x = self.conv4(x, training=training)  # (N, 13, 13, 256)
        x = self.conv5(x, training=training)  # (N, 13, 13, 256)
        return [self.flatten5(self.pool5(x))]  # (N, 6, 6, 256) -> (N, 9216)

    def block6(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Dropout and fc6."""
        return [self.fc6(self.dropout6(x[0], seed=dropout_seed), training=dropout_seed is not None)]  # (N, 4096)

    def block7(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Dropout and fc7."""
        return [self.fc7(self.dropout7(x[0], seed=dropout_seed), training=dropout_seed is not None)]  # (N, 4096)

    def block8(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Fc8, without dropout before it."""
        return self.logits(self.fc8(x[0], training=dropout_seed is not None))  # (N, num_classes)


def _side_of_pool5(image_size: int) -> int:
    """6 for 224."""
    side = (image_size + 2 * 2 - 11) // 4 + 1  # conv1: 55
    for _ in ("pool1", "pool2", "pool5"):
        side = (side - 3) // 2 + 1  # 27, 13, 6
    return side
