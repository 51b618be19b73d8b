"""VGG-16 and its relatives, an output shape on every line. Simonyan and Zisserman, 2014 (arXiv 1409.1556).

Shapes are those of configuration D, the 16 layers. N is the batch. Initial weights are Glorot and Bengio's, with which,
as section 3.1 says in a note, no part has to be trained beforehand. The paper's own are those of a trained net of 11
layers, and normal ones with a variance of 0.01.
"""

from functools import partial

import tensorflow as tf

from alexnet_tf.networks.dropout import InvertedDropout
from alexnet_tf.networks.layers import Cast, Conv2D, Dense, Flatten, MaxPooling2D
from alexnet_tf.networks.network import Network, Stage
from alexnet_tf.networks.one_tower import OneTower
from alexnet_tf.settings.later_networks import VGGSettings
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.towers import Towers


class VGG(Network):
    """VGG-16: 138,357,544 parameters at 1000 classes, all on tower a's device."""

    def __init__(
        self, network: VGGSettings, num_classes: int, towers: Towers, seed: int = 0, precision: Precision = "float32"
    ) -> None:
        super().__init__(network, num_classes, towers, name="vgg")
        parts, widths = OneTower(towers, seed, precision), network.widths
        named, start = parts.named, parts.glorot_uniform
        self.cast1 = Cast(**named("block1_cast"))
        self.convs = [
            [
                Conv2D(getattr(widths, f"block{block}"), 3, padding="same", activation="relu", **start(name))
                for name in names
            ]
            for block, names in enumerate(network.convolutions, start=1)
        ]
        self.pools = [MaxPooling2D(2, 2, **named(f"block{block}_pool")) for block in range(1, len(self.convs) + 1)]
        self.flatten = Flatten(**named("flatten"))
        self.fc1 = Dense(widths.fc1, activation="relu", **start("fc1"))
        self.dropout1 = InvertedDropout(network.dropout_rate, **named("fc1_dropout"))
        self.fc2 = Dense(widths.fc2, activation="relu", **start("fc2"))
        self.dropout2 = InvertedDropout(network.dropout_rate, **named("fc2_dropout"))
        self.predictions = Dense(num_classes, **start("predictions"))
        self.logits = parts.logits()

    def stages(self) -> dict[str, Stage]:
        """The five blocks, each pooled, the last one flattened; fc1 and fc2."""
        *blocks, fc1, fc2 = self.settings.feature_layers
        convolutions = {name: partial(self.through_block, number) for number, name in enumerate(blocks)}
        return {**convolutions, fc1: self.to_fc1, fc2: self.to_fc2}

    def through_block(self, number: int, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """(N, 112, 112, 64), (N, 56, 56, 128), (N, 28, 28, 256), (N, 14, 14, 512), (N, 7, 7, 512) -> (N, 25088)."""
        y = x[0] if number else self.cast1(x[0])
        for conv in self.convs[number]:
            y = conv(y, training=dropout_seed is not None)
        y = self.pools[number](y)
        return [self.flatten(y) if number == len(self.convs) - 1 else y]

    def to_fc1(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Block 5 to fc1."""
        return [self.fc1(x[0], training=dropout_seed is not None)]  # (N, 4096)

    def to_fc2(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Dropout and fc2."""
        return [self.fc2(self.dropout1(x[0], seed=dropout_seed), training=dropout_seed is not None)]  # (N, 4096)

    def last_stage(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Dropout, and the last layer."""
        y = self.predictions(self.dropout2(x[0], seed=dropout_seed), training=dropout_seed is not None)
        return self.logits(y)  # (N, num_classes)
