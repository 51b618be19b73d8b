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
    """Configuration D of table 1; see networks.vgg. Layers are named as keras.applications names them."""

    blocks: tuple[int, ...] = (2, 2, 3, 3, 3)  # 16 layers with weights
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


@dataclass(frozen=True)
class InceptionWidths:
    """Kernels of the layers before the modules; of each module's, in the order of table 1; of an auxiliary output's.

    A module has 1x1, 1x1 before 3x3, 3x3, 1x1 before 5x5, 5x5, and 1x1 behind the pooling.
    """

    conv1: int = 64
    conv2_reduce: int = 64
    conv2: int = 192
    inception_3a: tuple[int, ...] = (64, 96, 128, 16, 32, 32)
    inception_3b: tuple[int, ...] = (128, 128, 192, 32, 96, 64)
    inception_4a: tuple[int, ...] = (192, 96, 208, 16, 48, 64)
    inception_4b: tuple[int, ...] = (160, 112, 224, 24, 64, 64)
    inception_4c: tuple[int, ...] = (128, 128, 256, 24, 64, 64)
    inception_4d: tuple[int, ...] = (112, 144, 288, 32, 64, 64)
    inception_4e: tuple[int, ...] = (256, 160, 320, 32, 128, 128)
    inception_5a: tuple[int, ...] = (256, 160, 320, 32, 128, 128)
    inception_5b: tuple[int, ...] = (384, 192, 384, 48, 128, 128)
    side_conv: int = 128  # section 5
    side_fc: int = 1024  # section 5


INCEPTION_PARTS = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
"""The convolutions of a module, as the GoogLeNet of Caffe's model zoo calls them."""


@dataclass(frozen=True, kw_only=True)
class InceptionSettings(NetworkSettings):
    """GoogLeNet, which is Inception v1; see networks.inception. Layers are named as in Caffe's model zoo, with _ for /.

    The features of a module's last layer are the module's outputs, those of the very last one averaged over all places.
    """

    modules: tuple[str, ...] = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    sides: tuple[str, ...] = ("4a", "4d")  # section 5
    """The modules behind which there is an auxiliary output."""
    side_weight: float = 0.3  # section 5
    dropout_rate: float = 0.4  # section 5
    side_dropout_rate: float = 0.7  # section 5
    image_size: Literal[96, 128, 224] = 224  # section 5
    stored_size: Literal[96, 128, 256] = 256
    network_class: str = "alexnet_tf.networks.inception:Inception"
    widths: InceptionWidths = InceptionWidths()

    choices: ClassVar[tuple[str, ...]] = ("image_size", "stored_size")

    auxiliary_layers: ClassVar[tuple[str, ...]] = ("loss1_classifier", "loss2_classifier")

    @property
    def layers(self) -> tuple[str, ...]:
        """An auxiliary output's layers stand behind those of its module."""
        return (
            "conv1_7x7_s2", "conv2_3x3_reduce", "conv2_3x3", *itertools.chain(*map(self._layers_of, self.modules)),
            "loss3_classifier",
        )  # fmt: skip

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """Conv2, and the last layer of each module."""
        return ("conv2_3x3", *(f"inception_{module}_{INCEPTION_PARTS[-1]}" for module in self.modules))

    def side_of(self, module: str) -> str | None:
        """The name of the auxiliary output behind a module: loss1 or loss2."""
        return f"loss{self.sides.index(module) + 1}" if module in self.sides else None

    def _layers_of(self, module: str) -> tuple[str, ...]:
        own = tuple(f"inception_{module}_{part}" for part in INCEPTION_PARTS)
        side = self.side_of(module)
        return (*own, f"{side}_conv", f"{side}_fc", f"{side}_classifier") if side else own


LATER_PRESETS = {
    "vgg16": Preset(
        network=VGGSettings(),
        augment=Augmentation(
            max_offset=32,  # section 3.1: a random 224 crop, here at its training scale S = 256
            mean="color",  # section 2.1: "subtracting the mean RGB value"
            noise="eigenvalue",  # section 3.1: "random RGB colour shift (Krizhevsky et al., 2012)"
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
            mean="per-offset",
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
            epochs=260,  # README of its program: 200, 30 at a tenth of the rate, 30 at a hundredth
            learning_rate=0.1,  # epsW 1 times the loss's coefficient 0.1
            weight_decay=1e-4,  # wc 1e-5 times epsW 1, over the rate
            rate_multipliers={"cccp6": 0.1},  # epsW 0.1, epsB 0.2
        ),
    ),
    "inception-v1": Preset(
        network=InceptionSettings(),
        augment=Augmentation(
            max_offset=32,  # section 6: patches of 8 to 100 % of the picture's area and of any shape
            mean="color",  # section 5: "RGB color channels with mean subtraction"
            noise="none",  # section 6: photometric distortions of Andrew Howard
        ),
        train=Recipe(
            bias_rate_factor=2.0,  # Caffe's bvlc_googlenet: lr_mult
            drop_bias_rate=True,
            decay_biases=False,  # decay_mult
            schedule="epochs",
            drop_epochs=tuple(range(9, 250, 8)),  # section 6: by 4 % every 8 epochs
            drop_factor=0.96,
            epochs=250,  # bvlc_googlenet's solver.prototxt: 10,000,000 steps of 32 images
            learning_rate=0.01,  # the same
            weight_decay=2e-4,  # the same
        ),
    ),
}
