"""Inception v1, which is GoogLeNet, an output shape on every line. Szegedy et al., 2014 (arXiv 1409.4842).

Table 1 and figure 3; N is the batch. A module looks through 1x1, 3x3 and 5x5 convolutions and a pooling, with 1x1
convolutions that make few maps of many, and puts the results side by side. What the paper leaves open is from Caffe's
bvlc_googlenet (train_val.prototxt): the constants of LRN, in the two places of figure 3, initial weights and biases.
Poolings of 3x3 with a stride of 2 reach over the lower and the right edge.
"""

from functools import partial
from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks.dropout import InvertedDropout
from alexnet_tf.networks.layers import (
    AveragePooling2D,
    Cast,
    Concatenate,
    Conv2D,
    Dense,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
    ZeroPadding2D,
)
from alexnet_tf.networks.network import AuxiliaryOutput, Network, Stage
from alexnet_tf.networks.one_tower import OneTower
from alexnet_tf.networks.response_normalization import LocalResponseNormalization
from alexnet_tf.settings.later_networks import INCEPTION_PARTS, InceptionSettings
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.towers import Towers

LRN = (2, 1.0, 1e-4 / 5, 0.75)
"""Radius, k, alpha on the plain sum of squares, beta; Caffe's local_size 5, k 1, alpha 1e-4 over local_size, beta."""
BIAS = 0.2
"""Initial biases; the three classifiers have 0."""


class Inception(Network):
    """6,998,552 parameters at 1000 classes without the auxiliary outputs, all on tower a's device."""

    def __init__(
        self, network: InceptionSettings, num_classes: int, towers: Towers, seed: int = 0,
        precision: Precision = "float32",
    ) -> None:  # fmt: skip
        super().__init__(network, num_classes, towers, name="inception")
        self.plan = network
        parts, widths = OneTower(towers, seed, precision), network.widths
        named = parts.named
        self.cast1 = Cast(**named("conv1_cast"))
        self.pad1 = ZeroPadding2D(3, **named("conv1_pad"))
        self.conv1 = convolution("conv1_7x7_s2", widths.conv1, 7, parts, strides=2, padding="valid")
        self.pool1 = MaxPooling2D(3, 2, padding="same", **named("pool1_3x3_s2"))
        self.norm1 = LocalResponseNormalization(*LRN, False, **named("pool1_norm1"))
        self.conv2_reduce = convolution("conv2_3x3_reduce", widths.conv2_reduce, 1, parts)
        self.conv2 = convolution("conv2_3x3", widths.conv2, 3, parts)
        self.norm2 = LocalResponseNormalization(*LRN, False, **named("conv2_norm2"))
        self.pool2 = MaxPooling2D(3, 2, padding="same", **named("pool2_3x3_s2"))
        self.blocks = [
            InceptionModule(f"inception_{module}", getattr(widths, f"inception_{module}"), parts)
            for module in network.modules
        ]
        self.pools = [self._pool_before(number, parts) for number in range(len(self.blocks))]
        self.side_outputs = {
            name: SideOutput(name, network, num_classes, parts)
            for name in map(network.side_of, network.modules)
            if name
        }
        self.pool5 = GlobalAveragePooling2D(**named("pool5_7x7_s1"))
        self.dropout = InvertedDropout(network.dropout_rate, **named("pool5_drop_7x7_s1"))
        self.classifier = Dense(num_classes, **parts.caffe_xavier("loss3_classifier"))
        self.logits = parts.logits()

    def _pool_before(self, number: int, parts: OneTower) -> MaxPooling2D | None:
        """Table 1 has poolings between modules 3 and 4, and between 4 and 5."""
        modules = self.plan.modules
        size = modules[number][0]
        if number == 0 or modules[number - 1][0] == size:
            return None
        return MaxPooling2D(3, 2, padding="same", **parts.named(f"pool{int(size) - 1}_3x3_s2"))

    def stages(self) -> dict[str, Stage]:
        """Conv2, pooled, and every module; the last one averaged over all places."""
        first, *others = self.settings.feature_layers
        modules = {name: partial(self.through_module, number) for number, name in enumerate(others)}
        return {first: self.to_conv2, **modules}

    def auxiliary_outputs(self) -> dict[str, AuxiliaryOutput]:
        """Behind 4a and 4d (section 5), with a weight of 0.3."""
        settings = self.plan
        behind = dict(zip(settings.modules, settings.feature_layers[1:], strict=True))
        return {
            name: AuxiliaryOutput(layer, settings.side_weight, self.side_outputs[name].logits_of)
            for module, layer in behind.items()
            if (name := settings.side_of(module))
        }

    def to_conv2(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Images to conv2, normalized and pooled."""
        training = dropout_seed is not None
        y = self.conv1(self.pad1(self.cast1(x[0])))  # (N, 230, 230, 3) -> (N, 112, 112, 64)
        y = self.norm1(self.pool1(y), training=training)  # (N, 56, 56, 64)
        y = self.conv2(self.conv2_reduce(y), training=training)  # (N, 56, 56, 64) -> (N, 56, 56, 192)
        return [self.pool2(self.norm2(y, training=training))]  # (N, 28, 28, 192)

    def through_module(self, number: int, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """(N, 28, 28, 256) behind 3a, (N, 14, 14, 512) behind 4a, (N, 7, 7, 832) behind 5a, (N, 1024) at last."""
        pool = self.pools[number]
        y = self.blocks[number].forward(x[0] if pool is None else pool(x[0]), dropout_seed is not None)
        return [self.pool5(y) if number == len(self.blocks) - 1 else y]

    def last_stage(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Dropout, and the last layer."""
        return self.logits(self.classifier(self.dropout(x[0], seed=dropout_seed)))  # (N, num_classes)


class InceptionModule(keras.layers.Layer):
    """Figure 2b: four ways through, side by side."""

    def __init__(self, name: str, widths: tuple[int, ...], parts: OneTower) -> None:
        super().__init__(name=name, autocast=False)
        counts = dict(zip(INCEPTION_PARTS, widths, strict=True))

        def conv(part: str, size: int) -> Conv2D:
            return convolution(f"{name}_{part}", counts[part], size, parts)

        self.conv1x1 = conv("1x1", 1)
        self.reduce3x3, self.conv3x3 = conv("3x3_reduce", 1), conv("3x3", 3)
        self.reduce5x5, self.conv5x5 = conv("5x5_reduce", 1), conv("5x5", 5)
        self.pool = MaxPooling2D(3, 1, padding="same", **parts.named(f"{name}_pool"))
        self.projection = conv("pool_proj", 1)
        self.output_maps = Concatenate(**parts.named(f"{name}_output"))

    def forward(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """(N, H, W, maps before) -> (N, H, W, maps of all four)."""
        ways = [
            self.conv1x1(x),
            self.conv3x3(self.reduce3x3(x), training=training),
            self.conv5x5(self.reduce5x5(x), training=training),
            self.projection(self.pool(x)),
        ]
        return self.output_maps(ways)


class SideOutput(keras.layers.Layer):
    """An auxiliary output (section 5): pooling, 1x1, a fully connected layer, dropout, logits."""

    def __init__(self, name: str, network: InceptionSettings, num_classes: int, parts: OneTower) -> None:
        super().__init__(name=name, autocast=False)
        self.pool = AveragePooling2D(5, 3, **parts.named(f"{name}_ave_pool"))
        self.conv = convolution(f"{name}_conv", network.widths.side_conv, 1, parts)
        self.flatten = Flatten(**parts.named(f"{name}_flatten"))
        self.fc = Dense(
            network.widths.side_fc, activation="relu", bias_initializer=keras.initializers.Constant(BIAS),
            **parts.caffe_xavier(f"{name}_fc"),
        )  # fmt: skip
        self.dropout = InvertedDropout(network.side_dropout_rate, **parts.named(f"{name}_drop_fc"))
        self.classifier = Dense(num_classes, **parts.caffe_xavier(f"{name}_classifier"))
        self.logits = parts.logits(f"{name}_logits")

    def logits_of(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """A module's outputs (N, 14, 14, maps) to logits."""
        y = self.flatten(self.conv(self.pool(x[0])))  # (N, 4, 4, 128) -> (N, 2048)
        y = self.dropout(self.fc(y), seed=dropout_seed)  # (N, 1024)
        return self.logits(self.classifier(y))  # (N, num_classes)


def convolution(name: str, maps: int, size: int, parts: OneTower, padding: str = "same", **options: Any) -> Conv2D:
    """With ReLU: section 4, "All the convolutions, including those inside the Inception modules"."""
    return Conv2D(
        maps, size, padding=padding, activation="relu", bias_initializer=keras.initializers.Constant(BIAS), **options,
        **parts.caffe_xavier(name),
    )  # fmt: skip
