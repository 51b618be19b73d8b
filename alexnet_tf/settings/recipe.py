"""What a preset is made of: what the settings know of its network, its augmentation and its training recipe.

The presets themselves are in presets.py. A config may override single fields of `Augmentation` and `Recipe`, and of
`NetworkSettings` those that a network names as its `choices`.
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Precision = Literal["float32", "bfloat16"]
OptimizerName = Literal["paper", "sgdw"]
"""The rules in `training.optimizers.OPTIMIZERS`."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """What the settings know about every network. A new kind of network gets a subclass, with fields of its own."""

    network_class: str
    """Which class builds it, as "module:Class"; it is imported when it is needed."""
    image_size: int
    """Side of the square crop that the network sees, in pixels."""
    stored_size: int = 256  # paper section 2
    """Side of the square pictures in the records, in pixels."""
    channels: int = 3
    """Channels of a picture: 3 for red, green and blue, 1 for gray; the same in the records."""

    auxiliary_layers: ClassVar[tuple[str, ...]] = ()
    """Those layers, beside the last, that give logits: the last layers of auxiliary outputs."""
    choices: ClassVar[tuple[str, ...]] = ()
    """Fields that a config may set in its section `model`."""

    @property
    def layers(self) -> tuple[str, ...]:
        """What train.freeze, train.rate_multipliers and train.layer_drops may name: the layers that can be trained.

        In the order in which a picture meets them. The last one depends on the number of classes.
        """
        return ()

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """Those layers after which the network can be split, in the same order.

        An export calls the outputs of the last one the features of a picture.
        """
        return ()

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what the network sees."""
        return self.image_size, self.image_size, self.channels

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture in the records."""
        return self.stored_size, self.stored_size, self.channels


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a training picture is cropped, mirrored and colored. Pixels stay on the 0-255 scale."""

    max_offset: int
    """Largest crop offset, inclusive, in each direction: a 224 crop of 256 has 33 positions, the paper uses 32."""
    images_per_draw: int = 1
    """How many consecutive images share one crop offset and one mirroring."""
    mean: Literal["per-offset", "center", "color"]
    """Subtract the part of the mean image under the crop, its center at every offset, or its mean color everywhere."""
    noise: Literal["eigenvalue", "standard-deviation", "none"] = "none"
    """What multiplies a_i ~ N(0, 0.1) along the i-th eigenvector: the eigenvalue on the 0-1 scale, or its root."""
    noise_divisor: float = 1.0
    """The noisy picture is divided by this in training."""
    noise_until_epoch: int | None = None
    """Epochs count from 1; the noise is off from this epoch on. None: never off."""
    noise_stddev: float = 0.1  # paper section 4.1
    crop: Literal["random", "center"] = "random"
    """"center" shows the network the same crop of a picture in every epoch, never mirrored."""
    color_divisors: tuple[float, ...] = (1.0, 1.0, 1.0)
    """R, G and B, or gray, are divided by these at the very end, in training and at test time."""
    crop_size: int = 224  # paper section 4.1; the network's image_size
    mirror: bool = True  # paper section 4.1
    """Whether pictures are mirrored, in training and in the ten views; without, there are five views."""
    padding: int = 0
    """Rows and columns of zeros around the picture less its mean, on each side, from which a training crop is cut."""


@dataclass(frozen=True)
class Recipe:
    """What the optimizer and the training loop need to know."""

    bias_rate_factor: float
    """The biases' learning rate, divided by that of the weights."""
    drop_bias_rate: bool
    """Whether the schedule lowers the biases' rate too."""
    decay_biases: bool
    schedule: Literal["plateau", "epochs"]
    drop_epochs: tuple[int, ...]
    """With schedule "epochs": the rate is divided at the start of these epochs, which count from 1."""
    epochs: int = 90
    learning_rate: float = 0.01  # paper section 5
    momentum: float = 0.9  # paper section 5
    weight_decay: float = 0.0005  # paper section 5
    drop_factor: float = 0.1  # paper section 5: divided by 10 ...
    max_drops: int = 3  # ... three times
    layer_drops: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """For single layers: from an epoch on, a factor on the rate that replaces the common drops; 0 freezes."""
    rate_multipliers: Mapping[str, float] = field(default_factory=dict)
    """For single layers: a factor on the rate in all epochs."""
    freeze: tuple[str, ...] = ()
    """Layers that are not updated. Where they reach from the first to a feature layer, these run as at test time."""
    optimizer: OptimizerName = "paper"
    """The paper's rule, with the decay inside the momentum, or decoupled weight decay. See `training.optimizers`."""
    precision: Precision = "float32"
    """What training computes in, its validation too. Weights, velocities, logits and the update stay float32."""


def is_bias(name: str) -> bool:
    """Whether a variable is a layer's bias; the beta of a BatchNormalization is one, too."""
    return name.rpartition("/")[2] in ("bias", "beta")


@dataclass(frozen=True)
class Preset:
    """One complete recipe."""

    network: NetworkSettings
    augment: Augmentation
    train: Recipe

    def decided(self, section: str) -> dict[str, Any]:
        """What the preset decides of a config's section, field by field, as JSON has it; a config may override it."""
        if section == "model":
            return _as_json(self.network, self.network.choices)
        if section not in ("augment", "train"):
            return {}
        part: Augmentation | Recipe = getattr(self, section)
        return _as_json(part, part.__dataclass_fields__)

    @property
    def frozen_part(self) -> str | None:
        """The last of the network's feature layers up to which all its layers are frozen; None: not even the first."""
        layers = self.network.layers[:-1]
        frozen = list(itertools.takewhile(lambda layer: layer in self.train.freeze, layers))
        return next((layer for layer in reversed(self.network.feature_layers) if layer in frozen), None)


def _as_json(part: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: json.loads(json.dumps(getattr(part, name), default=dict)) for name in names}
