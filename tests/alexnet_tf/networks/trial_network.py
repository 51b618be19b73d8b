"""A small network with all that the contract offers: two towers, batch normalization, an auxiliary output, a choice.

`register` makes it a preset like any other, "trial", as whoever adds a network does with an entry in two tables.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from alexnet_tf.settings.presets import PRESETS, Augmentation, NetworkSettings, Preset

CLASS = "tests.alexnet_tf.networks.trial_layers:TrialNetwork"


@dataclass(frozen=True, kw_only=True)
class TrialSettings(NetworkSettings):
    kind: str = "trial"
    image_size: int = 12
    stored_size: int = 16
    auxiliary: Literal["on", "off"] = "on"

    layers: ClassVar[tuple[str, ...]] = ("conv1", "norm1", "side", "fc2", "fc3")
    feature_layers: ClassVar[tuple[str, ...]] = ("norm1", "fc2")
    auxiliary_layers: ClassVar[tuple[str, ...]] = ("side",)
    choices: ClassVar[tuple[str, ...]] = ("auxiliary",)


def register(patch: Any, presets: MutableMapping[str, Preset] = PRESETS) -> None:
    """The settings' part; `patch` undoes it. What needs TensorFlow is `register_class`."""
    augment = Augmentation(
        max_offset=4, images_per_draw=1, mean="color", noise="none", noise_divisor=1.0, noise_until_epoch=None,
        color_divisors=(64.0, 64.0, 64.0), crop_size=12, mirror=False,
    )  # fmt: skip
    preset = Preset(network=TrialSettings(), augment=augment, train=replace(presets["paper"].train))
    patch.setitem(presets, "trial", preset)


def register_class(patch: Any) -> None:
    from alexnet_tf.networks.registry import NETWORKS

    patch.setitem(NETWORKS, "trial", CLASS)
