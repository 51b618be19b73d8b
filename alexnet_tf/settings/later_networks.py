"""The recipes of VGG, Network in Network and Inception, each from its paper; what that leaves open has its source.

VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014 (1409.1556).
Network in Network: Lin, Chen and Yan, 2013 (1312.4400).
Inception: Szegedy et al., "Going Deeper with Convolutions", 2014 (1409.4842).

The nets for ImageNet take smaller pictures, too (`image_size` of the `stored_size`), for data that has no others. Where
a recipe's own words cannot be said in our fields, docs/FIDELITY.md says what is done instead.
"""

import itertools
from dataclasses import dataclass
from typing import ClassVar, Literal

from alexnet_tf.settings.recipe import Augmentation, NetworkSettings, Preset, Recipe


@dataclass(frozen=True)
class VGGWidths:
    """Kernels of the convolutions between two poolings, and units of the fully connected layers but the last."""

    block1: int
    block2: int
    block3: int
    block4: int
    block5: int
    fc1: int
    fc2: int


@dataclass(frozen=True, kw_only=True)
class VGGSettings(NetworkSettings):
    """Configurations A, B, D and E of table 1; see networks.vgg. Layers are named as keras.applications names them."""

    blocks: tuple[int, ...] = (2, 2, 3, 3, 3)  # D, 16 layers with weights
    """Convolutions between two poolings."""
    dropout_rate: float = 0.5  # section 3.1
    image_size: Literal[32, 64, 128, 224] = 224  # section 2.1
    stored_size: Literal[32, 64, 128, 256] = 256
    network_class: str = "alexnet_tf.networks.vgg:VGG"
    widths: VGGWidths = VGGWidths(64, 128, 256, 512, 512, 4096, 4096)  # table 1

    choices: ClassVar[tuple[str, ...]] = ("image_size", "stored_size")

    @property
    def layers(self) -> tuple[str, ...]:
        """The convolutions and the fully connected layers."""
        return (*itertools.chain.from_iterable(self.convolutions), "fc1", "fc2", "predictions")

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """The last convolution before each pooling, which counts with it, and fc1 and fc2."""
        return (*(block[-1] for block in self.convolutions), "fc1", "fc2")

    @property
    def convolutions(self) -> tuple[tuple[str, ...], ...]:
        """Those of each block by name."""
        return tuple(
            tuple(f"block{block}_conv{number}" for number in range(1, count + 1))
            for block, count in enumerate(self.blocks, start=1)
        )


@dataclass(frozen=True)
class NetworkInNetworkWidths:
    """Kernels of each layer but the last."""

    conv1: int
    cccp1: int
    cccp2: int
    conv2: int
    cccp3: int
    cccp4: int
    conv3: int
    cccp5: int


@dataclass(frozen=True, kw_only=True)
class NetworkInNetworkSettings(NetworkSettings):
    """The net for CIFAR-10; see networks.network_in_network. Layers are named as its authors' program names them."""

    dropout_rate: float = 0.5
    weight_stddev: float = 0.05  # the program's cifar-10_def: initW
    image_size: int = 32
    stored_size: int = 32
    network_class: str = "alexnet_tf.networks.network_in_network:NetworkInNetwork"
    widths: NetworkInNetworkWidths = NetworkInNetworkWidths(192, 160, 96, 192, 192, 192, 192, 192)  # cifar-10_def

    layers: ClassVar[tuple[str, ...]] = (
        "conv1", "cccp1", "cccp2", "conv2", "cccp3", "cccp4", "conv3", "cccp5", "cccp6"
    )  # fmt: skip
    feature_layers: ClassVar[tuple[str, ...]] = ("cccp2", "cccp4", "cccp5")


LATER_PRESETS = {
    "vgg16": Preset(
        network=VGGSettings(),
        augment=Augmentation(
            max_offset=32,  # section 3.1: a random 224 crop, here at its training scale S = 256
            images_per_draw=1,
            mean="color",  # section 2.1: "subtracting the mean RGB value"
            noise="eigenvalue",  # section 3.1: "random RGB colour shift (Krizhevsky et al., 2012)"
            noise_divisor=1.0,
            noise_until_epoch=None,
        ),
        train=Recipe(
            bias_rate_factor=1.0,
            drop_bias_rate=True,
            decay_biases=True,  # section 3.1: the L2 penalty, without an exception
            schedule="plateau",  # section 3.1: "decreased by a factor of 10 when the validation set accuracy stopped"
            drop_epochs=(),
            epochs=74,  # section 3.1, for 256 images a step
        ),
    ),
    "nin-cifar": Preset(  # Lin, Chen and Yan; program: github.com/mavenlin/cuda-convnet, NIN/cifar-10_def and _params
        network=NetworkInNetworkSettings(),
        augment=Augmentation(
            max_offset=8,
            images_per_draw=1,
            mean="per-offset",
            noise="none",
            noise_divisor=1.0,
            noise_until_epoch=None,
            color_divisors=(63.0, 62.1, 66.7),  # CIFAR-10's deviations, for the paper's whitening (section 4.2)
            crop_size=32,
            padding=4,  # section 4.2: "translation and horizontal flipping", without a number
        ),
        train=Recipe(
            bias_rate_factor=2.0,  # epsB of _params
            drop_bias_rate=True,
            decay_biases=False,  # its program decays weights alone
            schedule="plateau",  # section 4: lowered by 10 when accuracy stops improving ...
            drop_epochs=(),
            max_drops=2,  # ... until it is a hundredth
            epochs=230,
            learning_rate=0.1,  # epsW 1 times the loss's coefficient 0.1
            weight_decay=1e-4,  # wc 1e-5 times epsW 1, over the rate
            rate_multipliers={"cccp6": 0.1},  # epsW 0.1, epsB 0.2
        ),
    ),
}
