"""The two recipes, row by row: the paper's and the released 2012 program's (its net 145, the paper's net).

Every field is a row in which the two sources differ, or a constant that both share. "Paper" is Krizhevsky, Sutskever
and Hinton, NIPS 2012; "2012 program" is the code released in 2025 with its configuration files and logs.
A config picks a preset by name and may override single fields of its `augment` and `train` parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Network:
    """What the network itself needs to know of a recipe."""

    block1_order: Literal["conv-relu-lrn-pool", "conv-lrn-pool-relu"]
    lrn_alpha: float
    """Factor on the plain sum of squares, as tf.nn.local_response_normalization takes it (never divided by n)."""
    spatial_norm_after_block2: bool
    weight_stddev: float
    weight_stddev_conv345: float
    lrn_depth_radius: int = 2  # paper section 3.3: n = 5, so two channels to either side
    lrn_bias: float = 2.0  # paper section 3.3: k
    lrn_beta: float = 0.75  # paper section 3.3
    dropout_rate: float = 0.5  # paper section 4.2


@dataclass(frozen=True)
class Augmentation:
    """How a training picture is cropped, mirrored and coloured. Pixels stay on the 0-255 scale."""

    max_offset: int
    """Largest crop offset, inclusive, in each direction: a 224 crop of 256 has 33 positions, the paper uses 32."""
    images_per_draw: int
    """How many consecutive images share one crop offset and one mirroring."""
    mean: Literal["per-offset", "center"]
    """Subtract the part of the mean image under the crop, or its central 224x224 at every offset."""
    noise: Literal["eigenvalue", "standard-deviation", "none"]
    """What multiplies a_i ~ N(0, 0.1) along the i-th eigenvector: the eigenvalue on the 0-1 scale, or its root."""
    noise_divisor: float
    """The noisy picture is divided by this in training."""
    noise_until_epoch: int | None
    """Epochs count from 1; the noise is off from this epoch on. None: never off."""
    noise_stddev: float = 0.1  # paper section 4.1


@dataclass(frozen=True)
class Recipe:
    """What the optimizer and the loop need to know."""

    bias_rate_factor: float
    """The biases' learning rate over the weights'."""
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
    """For single layers: from an epoch on, a factor on the rate in place of that of the common drops; 0 freezes."""
    rate_multipliers: Mapping[str, float] = field(default_factory=dict)
    """For single layers: a factor on the rate in all epochs."""
    freeze: tuple[str, ...] = ()
    """Layers that are not updated."""
    optimizer: Literal["paper", "sgdw"] = "paper"
    """The paper's rule, with the decay inside the momentum, or decoupled weight decay. See `optimizer`."""


@dataclass(frozen=True)
class Preset:
    """One complete recipe."""

    network: Network
    augment: Augmentation
    train: Recipe


PRESETS = {
    "paper": Preset(
        network=Network(
            block1_order="conv-relu-lrn-pool",  # sections 3.3 and 3.5
            lrn_alpha=1e-4,  # section 3.3: the sum is not divided by n
            spatial_norm_after_block2=False,
            weight_stddev=0.01,  # section 5
            weight_stddev_conv345=0.01,
        ),
        augment=Augmentation(
            max_offset=31,  # section 4.1: "a factor of 2048" is 32 * 32 offsets and a mirroring
            images_per_draw=1,
            mean="per-offset",
            noise="eigenvalue",  # section 4.1
            noise_divisor=1.0,
            noise_until_epoch=None,
        ),
        train=Recipe(
            bias_rate_factor=1.0,
            drop_bias_rate=True,
            decay_biases=True,  # section 5 writes the rule for every w
            schedule="plateau",  # section 5: when the validation error stopped improving
            drop_epochs=(),
        ),
    ),
    "2012-code": Preset(
        network=Network(
            block1_order="conv-lrn-pool-relu",
            lrn_alpha=1e-4 / 5,  # the program divides alpha by n
            spatial_norm_after_block2=True,
            weight_stddev=0.01,
            weight_stddev_conv345=0.03,
        ),
        augment=Augmentation(
            max_offset=32,
            images_per_draw=32,
            mean="center",
            noise="standard-deviation",
            noise_divisor=1.1,
            noise_until_epoch=67,
        ),
        train=Recipe(
            bias_rate_factor=2.0,  # weights 0.01, biases 0.02
            drop_bias_rate=False,  # its log sets only the weights' rate; the biases end at 0.02 as they began
            decay_biases=False,
            schedule="epochs",
            drop_epochs=(25, 51, 79),
            layer_drops={"conv1": {67: 1e-3, 72: 0.0}},  # its log: conv1 alone goes to 1e-5 and is then frozen
            epochs=90,  # its log: stopped in epoch 91
        ),
    ),
}
