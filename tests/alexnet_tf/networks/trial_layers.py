"""The network of `trial_network`, an output shape on every line."""

from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks.layers import BatchNormalization, BothTowers, Cast, Conv2D, Dense, Flatten
from alexnet_tf.networks.network import DTYPES, AuxiliaryOutput, Network, Stage
from alexnet_tf.program.seeds import own_seed
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.towers import Towers
from tests.alexnet_tf.networks.trial_network import TrialSettings


class TrialNetwork(Network):
    number_of_towers = 2

    def __init__(
        self, settings: TrialSettings, num_classes: int, towers: Towers, seed: int = 0, precision: Precision = "float32"
    ) -> None:
        super().__init__(settings, num_classes, towers, name="trial")
        self.auxiliary = settings.auxiliary

        def named(name: str, tower: str) -> dict[str, Any]:
            device = {"a": towers.a, "b": towers.b}[tower]
            return {"name": f"{name}_{tower}", "tower": tower, "device": device, "dtype": DTYPES[precision]}

        def start(name: str) -> dict[str, Any]:
            return {"kernel_initializer": keras.initializers.GlorotUniform(own_seed(seed, name))}

        self.casts = [Cast(**named("cast1", tower)) for tower in "ab"]
        self.convs = [Conv2D(4, 3, strides=2, **named("conv1", tower), **start(f"conv1_{tower}")) for tower in "ab"]
        self.norms = [BatchNormalization(momentum=0.5, **named("norm1", tower)) for tower in "ab"]
        self.flats = [Flatten(**named("flatten1", tower)) for tower in "ab"]
        self.joins = [BothTowers(**named("join_fc2", tower)) for tower in "ab"]
        self.fc2 = [Dense(8, activation="relu", **named("fc2", tower), **start(f"fc2_{tower}")) for tower in "ab"]
        self.join_fc3 = BothTowers(**named("join_fc3", "a"))
        self.fc3 = Dense(num_classes, **named("fc3", "a"), **start("fc3"))
        self.side_flat = Flatten(**named("side_flatten", "a"))
        self.side = Dense(num_classes, **named("side", "a"), **start("side"))
        self.logits = [Cast(name=name, device=towers.a, dtype="float32" if DTYPES[precision] else None)
                       for name in ("logits_a", "side_logits_a")]  # fmt: skip

    def stages(self) -> dict[str, Stage]:
        return {"norm1": self.to_norm1, "fc2": self.to_fc2}

    def auxiliary_outputs(self) -> dict[str, AuxiliaryOutput]:
        return {"side": AuxiliaryOutput("norm1", 0.3, self.to_side)} if self.auxiliary == "on" else {}

    def to_norm1(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        x = [conv(cast(own)) for conv, cast, own in zip(self.convs, self.casts, x, strict=True)]  # 2 x (N, 5, 5, 4)
        return [norm(own, training=dropout_seed is not None) for norm, own in zip(self.norms, x, strict=True)]

    def to_fc2(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        x = [flat(own) for flat, own in zip(self.flats, x, strict=True)]  # 2 x (N, 100)
        return [fc2(join(x)) for fc2, join in zip(self.fc2, self.joins, strict=True)]  # (N, 200) -> 2 x (N, 8)

    def to_side(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        return self.logits[1](self.side(self.side_flat(x[0])))  # (N, 100) -> (N, num_classes)

    def last_stage(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        return self.logits[0](self.fc3(self.join_fc3(x)))  # (N, 16) -> (N, num_classes)
