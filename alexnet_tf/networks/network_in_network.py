"""Network in Network for CIFAR-10, an output shape on every line. Lin, Chen and Yan, 2013 (arXiv 1312.4400).

Three blocks of a convolution and two 1x1 convolutions each ("cccp", cascaded cross-channel parametric pooling, section
3.2), with ReLU behind every layer; in place of fully connected layers the last one has a map for each class, whose
average is the class's logit (section 3.3). Sizes are those of its authors' program, github.com/mavenlin/cuda-convnet,
NIN/cifar-10_def; N is the batch.
"""

from typing import Any

import tensorflow as tf

from alexnet_tf.networks.dropout import InvertedDropout
from alexnet_tf.networks.layers import Cast, Conv2D, GlobalAveragePooling2D, MaxPooling2D
from alexnet_tf.networks.network import Network, Stage
from alexnet_tf.networks.one_tower import OneTower
from alexnet_tf.settings.later_networks import NetworkInNetworkSettings
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.towers import Towers


class NetworkInNetwork(Network):
    """966,986 parameters at ten classes, all on tower a's device."""

    def __init__(
        self, network: NetworkInNetworkSettings, num_classes: int, towers: Towers, seed: int = 0,
        precision: Precision = "float32",
    ) -> None:  # fmt: skip
        super().__init__(network, num_classes, towers, name="network_in_network")
        parts, widths = OneTower(towers, seed, precision), network.widths

        def conv(name: str, size: int, **options: Any) -> Conv2D:
            maps = getattr(widths, name, num_classes)
            start = parts.normal(name, network.weight_stddev)
            return Conv2D(maps, size, padding="same", activation="relu", **options, **start)

        self.cast1 = Cast(**parts.named("cast1"))
        self.conv1, self.cccp1, self.cccp2 = conv("conv1", 5), conv("cccp1", 1), conv("cccp2", 1)
        self.pool1 = MaxPooling2D(3, 2, padding="same", **parts.named("pool1"))  # zeros at the bottom and the right
        self.dropout1 = InvertedDropout(network.dropout_rate, **parts.named("dropout1"))
        self.conv2, self.cccp3, self.cccp4 = conv("conv2", 5), conv("cccp3", 1), conv("cccp4", 1)
        self.pool2 = MaxPooling2D(3, 2, padding="same", **parts.named("pool2"))
        self.dropout2 = InvertedDropout(network.dropout_rate, **parts.named("dropout2"))
        self.conv3, self.cccp5, self.cccp6 = conv("conv3", 3), conv("cccp5", 1), conv("cccp6", 1)
        self.average = GlobalAveragePooling2D(**parts.named("poolg"))
        self.logits = parts.logits()

    def stages(self) -> dict[str, Stage]:
        """The first two blocks, each pooled, and the third without its last layer."""
        return {"cccp2": self.to_cccp2, "cccp4": self.to_cccp4, "cccp5": self.to_cccp5}

    def to_cccp2(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Images (N, 32, 32, 3) to the first block, pooled."""
        y = self.conv1(self.cast1(x[0]), training=dropout_seed is not None)  # (N, 32, 32, 192)
        return [self.pool1(self.cccp2(self.cccp1(y)))]  # (N, 32, 32, 160) -> (N, 32, 32, 96) -> (N, 16, 16, 96)

    def to_cccp4(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Dropout, and the second block, pooled."""
        y = self.dropout1(x[0], seed=dropout_seed)
        y = self.conv2(y, training=dropout_seed is not None)  # (N, 16, 16, 192)
        return [self.pool2(self.cccp4(self.cccp3(y)))]  # (N, 16, 16, 192) -> (N, 8, 8, 192)

    def to_cccp5(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Dropout, and the third block but its last layer."""
        y = self.dropout2(x[0], seed=dropout_seed)
        return [self.cccp5(self.conv3(y, training=dropout_seed is not None))]  # (N, 8, 8, 192)

    def last_stage(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """A map for each class, and its average."""
        return self.logits(self.average(self.cccp6(x[0])))  # (N, 8, 8, num_classes) -> (N, num_classes)
