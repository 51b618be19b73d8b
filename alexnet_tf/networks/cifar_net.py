"""The small net of CIFAR-10 that AlexNet's authors used, an output shape on every line. N is the batch.

Three convolutions, each pooled, and one fully connected layer: `layers-18pct.cfg` of the 2012 program and, before that,
of cuda-convnet. The paper names no sizes for the "four-layer" net of its Figure 1. It points to cuda-convnet's files,
and this is the one of them with four layers, so we take it for that net. The nets of section 3.3, with 13 and 11 %
error, are larger ones with locally connected layers. Where we leave the file:

- Its normalization stays inside each map. Here it is across maps, as section 3.3 has it, with the constants of
  cuda-convnet's net of 11 % (`layers-conv-local-11pct.cfg`, quoted by TensorFlow's CIFAR-10 tutorial).
- Pictures are 24x24 pixels cut out of 32x32, as for the nets of 13 and 11 %. The net of 18 % sees whole pictures.
- The last layer decays as the convolutions do, with 0.004 in place of 1.
"""

import tensorflow as tf

from alexnet_tf.networks.layers import Activation, AveragePooling2D, Cast, Conv2D, Dense, Flatten, MaxPooling2D
from alexnet_tf.networks.network import Network, Stage
from alexnet_tf.networks.one_tower import OneTower
from alexnet_tf.networks.response_normalization import LocalResponseNormalization
from alexnet_tf.settings.presets import CifarNetSettings
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.towers import Towers


class CifarNet(Network):
    """Three convolutions and a fully connected layer: 85,098 parameters at ten classes, all on tower a's device."""

    def __init__(
        self, network: CifarNetSettings, num_classes: int, towers: Towers, seed: int = 0,
        precision: Precision = "float32",
    ) -> None:  # fmt: skip
        super().__init__(network, num_classes, towers, name="cifar_net")
        parts, activation = OneTower(towers, seed, precision), network.activation
        named = parts.named
        self.normalized = network.normalization == "response"

        def conv(name: str, maps: int, activation: str | None) -> Conv2D:
            stddev = network.weight_stddev_conv1 if name == "conv1" else network.weight_stddev
            return Conv2D(maps, 5, padding="same", activation=activation, **parts.normal(name, stddev))

        def response_norm(name: str) -> LocalResponseNormalization:
            return LocalResponseNormalization(
                network.lrn_depth_radius, network.lrn_bias, network.lrn_alpha, network.lrn_beta, **named(name)
            )

        # Of an even number of pixels "same" reaches beyond the last one only, as the 2012 program's pooling does.
        self.cast1 = Cast(**named("cast1"))
        self.conv1 = conv("conv1", 32, None)
        self.pool1 = MaxPooling2D(3, 2, padding="same", **named("pool1"))
        self.activation1 = Activation(activation, **named("activation1"))
        self.norm1 = response_norm("norm1")
        self.conv2 = conv("conv2", 32, activation)
        self.pool2 = AveragePooling2D(3, 2, padding="same", **named("pool2"))
        self.norm2 = response_norm("norm2")
        self.conv3 = conv("conv3", 64, activation)
        self.pool3 = AveragePooling2D(3, 2, padding="same", **named("pool3"))
        self.flatten3 = Flatten(**named("flatten3"))
        self.fc4 = Dense(num_classes, **parts.normal("fc4", network.weight_stddev))
        self.logits = parts.logits()

    def stages(self) -> dict[str, Stage]:
        """The three convolutions, each pooled."""
        return {"conv1": self.block1, "conv2": self.block2, "conv3": self.block3}

    def block1(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Conv1, pooled and, by the setting, normalized."""
        training = dropout_seed is not None
        y = self.conv1(self.cast1(x[0]), training=training)  # (N, 24, 24, 3) -> (N, 24, 24, 32)
        y = self.activation1(self.pool1(y))  # (N, 12, 12, 32)
        return [self.norm1(y, training=training) if self.normalized else y]

    def block2(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Conv2, pooled and, by the setting, normalized."""
        training = dropout_seed is not None
        y = self.pool2(self.conv2(x[0], training=training))  # (N, 12, 12, 32) -> (N, 6, 6, 32)
        return [self.norm2(y, training=training) if self.normalized else y]

    def block3(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Conv3, pooled."""
        y = self.pool3(self.conv3(x[0], training=dropout_seed is not None))  # (N, 6, 6, 64) -> (N, 3, 3, 64)
        return [self.flatten3(y)]  # (N, 576)

    def last_stage(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Conv3's outputs to logits."""
        return self.logits(self.fc4(x[0]))  # (N, num_classes)
