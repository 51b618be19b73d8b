"""The recipes of the residual nets, and of the plain nets beside them, from their paper.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015 (arXiv 1512.03385).

The nets for ImageNet take smaller pictures, too (`image_size` of the `stored_size`), for data that has no others. Where
a recipe's own words cannot be said in our fields, docs/FIDELITY.md says what is done instead.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from alexnet_tf.settings.recipe import Augmentation, NetworkSettings, Preset, Recipe


@dataclass(frozen=True)
class ResNetWidths:
    """Kernels of the first convolution, and of the 3x3 convolutions at each size of the maps."""

    conv1: int
    conv2: int
    conv3: int
    conv4: int
    conv5: int


@dataclass(frozen=True)
class CifarResNetWidths:
    """Kernels of the first convolution, and of all the others at 32x32, 16x16 and 8x8."""

    conv1: int
    conv2: int
    conv3: int
    conv4: int


Shortcut = Literal["identity", "projection", "zeros", "none"]


@dataclass(frozen=True)
class BlockPlan:
    """A residual block: what it is made of."""

    name: str
    kernels: tuple[tuple[int, int], ...]
    """Number and side of the kernels of each convolution."""
    stride: int
    """Of the first convolution."""
    shortcut: Shortcut
    """What goes around the convolutions: nothing, the input, its projection, or the input with maps of zeros added."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Its layers by name, as keras.applications calls them: that of the shortcut has the number 0."""
        numbers = range(0 if self.shortcut == "projection" else 1, len(self.kernels) + 1)
        return tuple(f"{self.name}_{number}_{part}" for number in numbers for part in ("conv", "bn"))


@dataclass(frozen=True, kw_only=True)
class AnyResNetSettings(NetworkSettings):
    """What the two families of section 4 have in common; layers are named as keras.applications names them.

    A feature layer is the last one of a stage; its features are the stage's outputs: behind the sum and ReLU, in the
    last stage averaged over all places as well.
    """

    kind: Literal["residual", "plain"] = "residual"
    """"plain" is the same net without shortcuts; the paper has such of 18 and 34 layers, and on CIFAR-10."""
    widths: "ResNetWidths | CifarResNetWidths"

    choices: ClassVar[tuple[str, ...]] = ("kind",)

    @property
    def stages(self) -> tuple[tuple[BlockPlan, ...], ...]:
        """The blocks at each size of the maps."""
        raise NotImplementedError

    def stage(
        self, name: str, kernels: tuple[tuple[int, int], ...], count: int, stride: int, first_shortcut: Shortcut
    ) -> tuple[BlockPlan, ...]:
        """Equal blocks, but for the first, which has the stride and, where the maps change, another shortcut."""

        def block(number: int) -> BlockPlan:
            first = number == 1
            shortcut: Shortcut = "none" if self.kind == "plain" else first_shortcut if first else "identity"
            return BlockPlan(f"{name}_block{number}", kernels, stride if first else 1, shortcut)

        return tuple(map(block, range(1, count + 1)))

    @property
    def layers(self) -> tuple[str, ...]:
        """In order: a block's projection, where it has one, stands before its convolutions."""
        blocks = (layer for stage in self.stages for block in stage for layer in block.layers)
        return ("conv1_conv", "conv1_bn", *blocks, "predictions")

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """The last layer of each stage."""
        return tuple(stage[-1].layers[-1] for stage in self.stages)


@dataclass(frozen=True, kw_only=True)
class ResNetSettings(AnyResNetSettings):
    """The nets of section 4.1; see networks.resnet."""

    blocks: tuple[int, ...]
    """Blocks in each of conv2 to conv5."""
    bottleneck: bool
    """Blocks of 1x1, 3x3 and 1x1 in place of two 3x3."""
    image_size: Literal[64, 128, 224] = 224  # section 3.4
    stored_size: Literal[64, 128, 256] = 256
    network_class: str = "alexnet_tf.networks.resnet:ResNet"
    widths: ResNetWidths = ResNetWidths(64, 64, 128, 256, 512)  # table 1

    choices: ClassVar[tuple[str, ...]] = ("kind", "image_size", "stored_size")

    @property
    def stages(self) -> tuple[tuple[BlockPlan, ...], ...]:
        """Conv2 to conv5 of table 1. Option B of section 4.1: projections where there are more maps than before."""
        widths = (self.widths.conv2, self.widths.conv3, self.widths.conv4, self.widths.conv5)
        found = []
        for number, (width, count) in enumerate(zip(widths, self.blocks, strict=True), start=2):
            kernels = ((width, 1), (width, 3), (4 * width, 1)) if self.bottleneck else ((width, 3), (width, 3))
            stride = 1 if number == 2 else 2
            first: Shortcut = "projection" if stride == 2 or self.bottleneck else "identity"
            found.append(self.stage(f"conv{number}", kernels, count, stride, first))
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class CifarResNetSettings(AnyResNetSettings):
    """The nets of section 4.2, for pictures of 32x32 pixels; see networks.resnet."""

    depth: Literal[8, 20, 32, 44, 56, 110] = 20
    """Layers with weights, 6n + 2; table 6 has 20 to 110."""
    image_size: int = 32
    stored_size: int = 32
    network_class: str = "alexnet_tf.networks.resnet:CifarResNet"
    widths: CifarResNetWidths = CifarResNetWidths(16, 16, 32, 64)  # section 4.2

    choices: ClassVar[tuple[str, ...]] = ("kind", "depth")

    @property
    def stages(self) -> tuple[tuple[BlockPlan, ...], ...]:
        """Maps of 32x32, 16x16 and 8x8, in n blocks each, with shortcuts that have no weights (option A)."""
        widths = (self.widths.conv2, self.widths.conv3, self.widths.conv4)
        found = []
        for number, width in enumerate(widths, start=2):
            stride = 1 if number == 2 else 2
            first: Shortcut = "zeros" if stride == 2 else "identity"
            kernels = ((width, 3), (width, 3))
            found.append(self.stage(f"conv{number}", kernels, (self.depth - 2) // 6, stride, first))
        return tuple(found)


_RESNET_AUGMENT = Augmentation(
    max_offset=32,  # section 3.4: any 224 crop; there the shorter side is 256 to 480 at random
    mean="per-offset",  # section 3.4: "with the per-pixel mean subtracted"
    noise="eigenvalue",  # section 3.4: "the standard color augmentation in [21]", which is the AlexNet paper
)
_RESNET_TRAIN = Recipe(
    bias_rate_factor=1.0,
    drop_bias_rate=True,
    decay_biases=True,  # section 3.4 names one decay; the authors' Caffe nets have no other for biases
    schedule="plateau",  # section 3.4: "divided by 10 when the error plateaus"
    drop_epochs=(),
    epochs=120,  # section 3.4: up to 600,000 steps of 256 images
    learning_rate=0.1,  # section 3.4, for 256 images
    weight_decay=1e-4,
)

RESIDUAL_PRESETS = {
    "resnet50": Preset(
        network=ResNetSettings(blocks=(3, 4, 6, 3), bottleneck=True), augment=_RESNET_AUGMENT, train=_RESNET_TRAIN
    ),
    "resnet34": Preset(
        network=ResNetSettings(blocks=(3, 4, 6, 3), bottleneck=False), augment=_RESNET_AUGMENT, train=_RESNET_TRAIN
    ),
    "resnet-cifar": Preset(  # section 4.2
        network=CifarResNetSettings(),
        augment=Augmentation(
            max_offset=8,
            mean="per-offset",
            crop_size=32,
            padding=4,
        ),
        train=Recipe(
            bias_rate_factor=1.0,
            drop_bias_rate=True,
            decay_biases=True,
            schedule="epochs",
            drop_epochs=(83, 124),  # after 32,000 and 48,000 steps of 128 images, of 50,000
            epochs=164,  # 64,000 steps
            learning_rate=0.1,
            weight_decay=1e-4,
        ),
    ),
}
