"""A small network with all that the contract offers: two towers, batch normalization, an auxiliary output, a choice.

`register` makes it a preset like any other, "trial", as whoever adds a network does with an entry in the table.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Augmentation, NetworkSettings, Preset


@dataclass(frozen=True, kw_only=True)
class TrialSettings(NetworkSettings):
    network_class: str = "tests.alexnet_tf.networks.trial_layers:TrialNetwork"
    image_size: int = 12
    stored_size: int = 16
    auxiliary: Literal["on", "off"] = "on"
    """Whether a second output, behind the first layer, has a part in the loss."""

    layers: ClassVar[tuple[str, ...]] = ("conv1", "norm1", "side", "fc2", "fc3")
    feature_layers: ClassVar[tuple[str, ...]] = ("norm1", "fc2")
    auxiliary_layers: ClassVar[tuple[str, ...]] = ("side",)
    choices: ClassVar[tuple[str, ...]] = ("auxiliary",)


def register(patch: Any, presets: MutableMapping[str, Preset] = PRESETS) -> None:
    """`patch` undoes it."""
    augment = Augmentation(
        max_offset=4, images_per_draw=1, mean="color", noise="none", noise_divisor=1.0, noise_until_epoch=None,
        color_divisors=(64.0, 64.0, 64.0), crop_size=12, mirror=False,
    )  # fmt: skip
    preset = Preset(network=TrialSettings(), augment=augment, train=replace(presets["paper"].train))
    patch.setitem(presets, "trial", preset)
