"""What the layers of a network of one tower are made with: a name, tower a's device, a type, initial weights."""

from dataclasses import dataclass
from typing import Any

import keras

from alexnet_tf.networks.layers import Cast
from alexnet_tf.networks.network import DTYPES
from alexnet_tf.program.seeds import own_seed
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.towers import Towers


@dataclass(frozen=True)
class OneTower:
    """Gives arguments to layers of `networks.layers`."""

    towers: Towers
    seed: int
    """Of the initial weights; every layer draws its own."""
    precision: Precision

    def named(self, name: str) -> dict[str, Any]:
        """The name, the device and the type of a layer."""
        return {"name": name, "device": self.towers.a, "dtype": DTYPES[self.precision]}

    def he_normal(self, name: str) -> dict[str, Any]:
        """The same, and N(0, 2 / inputs of a unit): He, Zhang, Ren and Sun, 2015 (arXiv 1502.01852), section 2.2."""
        return self._start(name, 2.0, "fan_in", "untruncated_normal")

    def glorot_uniform(self, name: str) -> dict[str, Any]:
        """The same, and U(+-sqrt(6 / (inputs + outputs of a unit))): Glorot and Bengio, 2010, equation 16."""
        return self._start(name, 1.0, "fan_avg", "uniform")

    def caffe_xavier(self, name: str) -> dict[str, Any]:
        """The same, and U(+-sqrt(3 / inputs of a unit)), which is what Caffe calls xavier (filler.hpp)."""
        return self._start(name, 1.0, "fan_in", "uniform")

    def normal(self, name: str, stddev: float) -> dict[str, Any]:
        """The same, and N(0, stddev^2)."""
        initializer = keras.initializers.RandomNormal(0.0, stddev, seed=own_seed(self.seed, name))
        return {**self.named(name), "kernel_initializer": initializer}

    def _start(self, name: str, scale: float, mode: str, distribution: str) -> dict[str, Any]:
        initializer = keras.initializers.VarianceScaling(scale, mode, distribution, seed=own_seed(self.seed, name))
        return {**self.named(name), "kernel_initializer": initializer}

    def logits(self, name: str = "logits") -> Cast:
        """The layer behind the last one, from which logits come in float32."""
        mixed = DTYPES[self.precision]
        return Cast(name=name, device=self.towers.a, dtype=mixed and "float32")
