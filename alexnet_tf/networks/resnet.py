"""Residual nets, and the plain nets beside them. He, Zhang, Ren and Sun, 2015 (arXiv 1512.03385).

`ResNet` is section 4.1, for ImageNet; `CifarResNet` is section 4.2. Which blocks they are made of, and how wide, is in
`settings.residual_networks`. N is the batch; shapes are those of ResNet-50 and of the widths as published.

The stride of a block of three convolutions is in its first, as in the paper and in keras.applications; torchvision has
it in the 3x3. Convolutions have no biases: batch normalization would take them away again.
"""

from functools import partial
from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks.layers import (
    Add,
    BatchNormalization,
    Cast,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    MaxPooling2D,
    Placed,
    ReLU,
    ZeroPadding2D,
)
from alexnet_tf.networks.network import Network, Stage
from alexnet_tf.networks.one_tower import OneTower
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.settings.residual_networks import AnyResNetSettings, BlockPlan, CifarResNetSettings, ResNetSettings
from alexnet_tf.towers import Towers

EPSILON = 1.001e-5
"""Added to the variance: that of keras.applications. The authors' nets for Caffe have 1e-5, its default, and TensorFlow
takes no less than this on a GPU. The paper says nothing."""
MOMENTUM = 0.9
"""Of the moving averages: fb.resnet.torch, where 0.1 is the new value's share. The paper says nothing, and in the nets
that its authors published they stand still."""


class AnyResNet(Network):
    """What both families have in common: a subclass gives the `stem`."""

    def __init__(
        self, network: AnyResNetSettings, num_classes: int, towers: Towers, seed: int, precision: Precision
    ) -> None:
        super().__init__(network, num_classes, towers, name="resnet")
        self.parts = OneTower(towers, seed, precision)
        named = self.parts.named
        self.cast1 = Cast(**named("conv1_cast"))
        self.blocks = [[Block(plan, self.parts) for plan in stage] for stage in network.stages]
        self.avg_pool = GlobalAveragePooling2D(**named("avg_pool"))
        self.predictions = Dense(num_classes, **self.parts.he_normal("predictions"))
        self.logits = self.parts.logits()

    def stages(self) -> dict[str, Stage]:
        """Conv2 to conv5; the first takes the stem with it, the last averages its maps."""
        return {name: partial(self.through, number) for number, name in enumerate(self.settings.feature_layers)}

    def through(self, number: int, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """One stage: (N, 56, 56, 256), (N, 28, 28, 512), (N, 14, 14, 1024), and (N, 7, 7, 2048) -> (N, 2048)."""
        training = dropout_seed is not None
        y = self.stem(self.cast1(x[0]), training) if number == 0 else x[0]
        for block in self.blocks[number]:
            y = block.forward(y, training)
        return [self.avg_pool(y) if number == len(self.blocks) - 1 else y]

    def stem(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """Images to what the first block takes."""
        raise NotImplementedError

    def last_stage(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """The averages to logits."""
        return self.logits(self.predictions(x[0]))  # (N, num_classes)


class ResNet(AnyResNet):
    """Table 1: with 50 layers 25,557,032 parameters at 1000 classes and 53,120 moving averages, with 34 21,797,672."""

    def __init__(
        self, network: ResNetSettings, num_classes: int, towers: Towers, seed: int = 0, precision: Precision = "float32"
    ) -> None:
        super().__init__(network, num_classes, towers, seed, precision)
        named = self.parts.named
        self.pad1 = ZeroPadding2D(3, **named("conv1_pad"))
        self.conv1 = Conv2D(network.widths.conv1, 7, strides=2, use_bias=False, **self.parts.he_normal("conv1_conv"))
        self.bn1 = batch_normalization("conv1_bn", self.parts)
        self.relu1 = ReLU(**named("conv1_relu"))
        self.pool1_pad = ZeroPadding2D(1, **named("pool1_pad"))  # behind ReLU zeros are no larger than any pixel
        self.pool1 = MaxPooling2D(3, 2, **named("pool1_pool"))

    def stem(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """Conv1, pooled."""
        x = self.conv1(self.pad1(x))  # (N, 230, 230, 3) -> (N, 112, 112, 64)
        x = self.relu1(self.bn1(x, training=training))
        return self.pool1(self.pool1_pad(x))  # (N, 114, 114, 64) -> (N, 56, 56, 64)


class CifarResNet(AnyResNet):
    """Section 4.2: 0.27 million parameters with 20 layers, 0.85 million with 56 (table 6)."""

    def __init__(
        self, network: CifarResNetSettings, num_classes: int, towers: Towers, seed: int = 0,
        precision: Precision = "float32",
    ) -> None:  # fmt: skip
        super().__init__(network, num_classes, towers, seed, precision)
        self.conv1 = Conv2D(
            network.widths.conv1, 3, padding="same", use_bias=False, **self.parts.he_normal("conv1_conv")
        )
        self.bn1 = batch_normalization("conv1_bn", self.parts)
        self.relu1 = ReLU(**self.parts.named("conv1_relu"))

    def stem(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """Conv1."""
        return self.relu1(self.bn1(self.conv1(x), training=training))  # (N, 32, 32, 16)


class Block(keras.layers.Layer):
    """Convolutions, and a shortcut around them (figure 2, figure 5)."""

    def __init__(self, plan: BlockPlan, parts: OneTower) -> None:
        super().__init__(name=plan.name, autocast=False)
        self.plan = plan
        self.pads: list[Placed | None] = []
        self.convs, self.norms, self.relus = [], [], []
        for number, (count, size) in enumerate(plan.kernels, start=1):
            name, stride = f"{plan.name}_{number}", plan.stride if number == 1 else 1
            # Padding "same" with a stride of 2 would put its zeros at the bottom and the right alone.
            padded = stride > 1 and size > 1
            self.pads.append(ZeroPadding2D(size // 2, **parts.named(f"{name}_pad")) if padded else None)
            self.convs.append(
                Conv2D(
                    count, size, strides=stride, padding="valid" if padded else "same", use_bias=False,
                    **parts.he_normal(f"{name}_conv"),
                )
            )  # fmt: skip
            self.norms.append(batch_normalization(f"{name}_bn", parts))
            self.relus.append(ReLU(**parts.named(f"{name}_relu")))
        self._make_shortcut(parts)

    def _make_shortcut(self, parts: OneTower) -> None:
        plan, name = self.plan, f"{self.plan.name}_0"
        maps = plan.kernels[-1][0]
        if plan.shortcut == "projection":
            self.projection = Conv2D(maps, 1, strides=plan.stride, use_bias=False, **parts.he_normal(f"{name}_conv"))
            self.projection_norm = batch_normalization(f"{name}_bn", parts)
        if plan.shortcut == "zeros":
            self.zeros = ZeroMaps(maps, plan.stride, **parts.named(f"{name}_zeros"))
        if plan.shortcut != "none":
            self.add = Add(**parts.named(f"{plan.name}_add"))

    def forward(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """(N, H, W, maps before) -> (N, H / stride, W / stride, maps)."""
        y = x
        for number, conv in enumerate(self.convs):
            pad, last = self.pads[number], number == len(self.convs) - 1
            y = self.norms[number](conv(y if pad is None else pad(y)), training=training)
            if last and self.plan.shortcut != "none":
                y = self.add([self.shortcut(x, training), y])
            y = self.relus[number](y)
        return y

    def shortcut(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """What is added."""
        if self.plan.shortcut == "projection":
            return self.projection_norm(self.projection(x), training=training)
        return self.zeros(x) if self.plan.shortcut == "zeros" else x


class ZeroMaps(Placed, keras.layers.Layer):
    """Every stride-th pixel, and maps of zeros behind those there are (section 4.1, option A).

    (N, H, W, C) -> (N, H / stride, W / stride, maps).
    """

    def __init__(self, maps: int, stride: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.maps = maps
        self.stride = stride

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The outputs of the layer."""
        with tf.device(self.device):
            seen = inputs[:, :: self.stride, :: self.stride]
            return tf.pad(seen, [[0, 0], [0, 0], [0, 0], [0, self.maps - inputs.shape[-1]]])


def batch_normalization(name: str, parts: OneTower) -> BatchNormalization:
    """Section 3.4: right after each convolution and before activation."""
    return BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, **parts.named(name))
