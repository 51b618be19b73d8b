"""The networks whose trained weights others have published: Caffe's two and torchvision's.

Caffe's are two towers like the paper's and add to model.py what is different; torchvision's is one tower. An output
shape on every line; N is the batch.
"""

from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.devices import Towers
from alexnet_tf.layers import (
    BothTowers,
    Cast,
    Channels,
    Conv2D,
    Dense,
    Flatten,
    InvertedDropout,
    MaxPooling2D,
    ZeroPadding2D,
)
from alexnet_tf.model import DTYPES, AlexNet, Tower, TwoTowerAlexNet, own_seed
from alexnet_tf.presets import Network, OneTowerNetwork, Precision


class CaffeAlexNet(TwoTowerAlexNet):
    """Caffe's bvlc_alexnet and CaffeNet: its LRN knows no groups, so the towers meet in both normalizations, too.

    CaffeNet pools first and normalizes what is left.
    """

    def _tower(self, tower: str, device: str | None, network: Network, seed: int, dtype: str | None) -> "Tower":
        return CaffeTower(tower, device, network, seed, dtype)

    def blocks12(self, images: list[tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """The two blocks; from images of (N, 227, 227, 3)."""
        a, b = self.a, self.b
        x, y = a.conv_block1(images[0]), b.conv_block1(images[1])  # 2 x (N, 55, 55, 48); CaffeNet: (N, 27, 27, 48)
        p, q = a.edge1(x), b.edge1(y)  # 2 x (N, 55, 55, 2), the channels that the other tower sees
        x, y = a.norm_block1(x, q, training), b.norm_block1(y, p, training)  # 2 x (N, 27, 27, 48)
        x = a.conv_block2(x, training)  # (N, 27, 27, 128); CaffeNet: (N, 13, 13, 128)
        y = b.conv_block2(y, training)  # the same
        p, q = a.edge2(x), b.edge2(y)  # 2 x (N, 27, 27, 2)
        return a.norm_block2(x, q, training), b.norm_block2(y, p, training)  # 2 x (N, 13, 13, 128)


class CaffeTower(Tower):
    """A tower whose blocks 1 and 2 come in two parts, for before LRN it needs the neighbor's nearest channels.

    Channels count through both towers: a's last ones are next to b's first ones.
    """

    def __init__(self, tower: str, device: str | None, network: Network, seed: int, dtype: str | None) -> None:
        super().__init__(tower, device, network, seed, dtype)
        self.is_first = tower == "a"
        self.pool_first = network.block1_order == "conv-relu-pool-lrn"

        def named(name: str) -> dict[str, Any]:
            return {"name": f"{name}_{tower}", "device": device, "dtype": dtype}

        radius = network.lrn_depth_radius
        edge = (-radius, None) if self.is_first else (None, radius)
        own = (None, -radius) if self.is_first else (radius, None)
        self.edge1 = Channels(*edge, **named("edge1"))
        self.join_norm1 = BothTowers(**named("join_norm1"))
        self.own1 = Channels(*own, **named("own1"))
        self.edge2 = Channels(*edge, **named("edge2"))
        self.join_norm2 = BothTowers(**named("join_norm2"))
        self.own2 = Channels(*own, **named("own2"))

    def conv_block1(self, images: tf.Tensor) -> tf.Tensor:
        """Conv1 and, in CaffeNet, pool1; norm1 rectifies, for ReLU and pooling may change places."""
        x = self.conv1(self.cast1(images))  # (N, 227, 227, 3) -> (N, 55, 55, 48)
        return self.pool1(x) if self.pool_first else x  # (N, 27, 27, 48) if pooled

    def norm_block1(self, x: tf.Tensor, neighbors: tf.Tensor, training: bool) -> tf.Tensor:
        """Normalization 1 and, in bvlc_alexnet, pool1."""
        x = self.join_norm1([x, neighbors] if self.is_first else [neighbors, x])  # (N, 55, 55, 50)
        x = self.own1(self.norm1(x, training=training))  # (N, 55, 55, 48)
        return x if self.pool_first else self.pool1(x)  # (N, 27, 27, 48)

    def conv_block2(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """Conv2 and, in CaffeNet, pool2; norm2 rectifies."""
        x = self.conv2(x, training=training)  # (N, 27, 27, 128)
        return self.pool2(x) if self.pool_first else x  # (N, 13, 13, 128) if pooled

    def norm_block2(self, x: tf.Tensor, neighbors: tf.Tensor, training: bool) -> tf.Tensor:
        """Normalization 2 and, in bvlc_alexnet, pool2."""
        x = self.join_norm2([x, neighbors] if self.is_first else [neighbors, x])  # (N, 27, 27, 130)
        x = self.own2(self.norm2(x, training=training))  # (N, 27, 27, 128)
        return x if self.pool_first else self.pool2(x)  # (N, 13, 13, 128)


class OneTowerAlexNet(AlexNet):
    """torchvision's alexnet, after Krizhevsky 2014: 61,100,840 parameters at 1000 classes, all on tower a's device.

    torchvision averages pool5 to 6x6, which at a crop of 224 is what it has, so that layer is left out.
    """

    number_of_towers = 1

    def __init__(
        self,
        network: OneTowerNetwork,
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
        self.fc6 = dense("fc6", 6 * 6 * widths.conv5, widths.fc6)
        self.dropout7 = InvertedDropout(network.dropout_rate, **named("dropout7"))
        self.fc7 = dense("fc7", widths.fc6, widths.fc7)
        self.fc8 = dense("fc8", widths.fc7, num_classes, activation=None)
        self.logits = Cast(device=towers.a, name="logits_a", dtype=dtype and "float32")

    def convolutions(self, images: list[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """Images (N, 224, 224, 3) to pool5."""
        x = self.conv1(self.pad1(self.cast1(images[0])))  # (N, 228, 228, 3) -> (N, 55, 55, 64)
        x = self.conv2(self.pool1(x), training=training)  # (N, 27, 27, 64) -> (N, 27, 27, 192)
        x = self.conv3(self.pool2(x), training=training)  # (N, 13, 13, 192) -> (N, 13, 13, 384)
        x = self.conv4(x, training=training)  # (N, 13, 13, 256)
        x = self.conv5(x, training=training)  # (N, 13, 13, 256)
        return [self.flatten5(self.pool5(x))]  # (N, 6, 6, 256) -> (N, 9216)

    def block6(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Dropout and fc6."""
        return [self.fc6(self.dropout6(x[0], seed=dropout_seed))]  # (N, 4096)

    def block7(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Dropout and fc7."""
        return [self.fc7(self.dropout7(x[0], seed=dropout_seed))]  # (N, 4096)

    def block8(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Fc8, without dropout before it."""
        return self.logits(self.fc8(x[0]))  # (N, num_classes)
