"""The recipes, row by row: the paper's and the released 2012 program's (its net 145, the paper's net), and more.

Every field is a row in which the sources differ, or a constant that the first two share. "Paper" is Krizhevsky,
Sutskever and Hinton, NIPS 2012; "2012 program" is the code released in 2025 with its configuration files and logs. The
others are those of weights that are published: "caffe" and "caffenet" are BVLC/caffe's models/bvlc_alexnet and
models/bvlc_reference_caffenet (train_val.prototxt, solver.prototxt), "owt" is torchvision's alexnet, a net of one
tower after Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014; "lenet5" is AlexNet's
forerunner, and the nets after it are in later_networks.py and residual_networks.py. A config picks a preset by name
and may override single fields of its `augment` and `train` parts, and of its network what that names as its `choices`.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from alexnet_tf.settings.later_networks import LATER_PRESETS
from alexnet_tf.settings.recipe import Augmentation, NetworkSettings, Preset, Recipe
from alexnet_tf.settings.residual_networks import RESIDUAL_PRESETS

ALEXNET_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
ALEXNET_FEATURE_LAYERS = ("conv5", "fc6", "fc7")


@dataclass(frozen=True)
class Widths:
    """Kernels of each convolution and units of each fully connected layer but fc8, in one tower."""

    conv1: int
    conv2: int
    conv3: int
    conv4: int
    conv5: int
    fc6: int
    fc7: int


@dataclass(frozen=True, kw_only=True)
class AlexNetSettings(NetworkSettings):
    """What a recipe says about an AlexNet of two towers."""

    block1_order: Literal["conv-relu-lrn-pool", "conv-lrn-pool-relu", "conv-relu-pool-lrn"]
    """The last one holds in block 2 as well, where the other two recipes do what the first one says."""
    lrn_alpha: float
    """Factor on the plain sum of squares, as tf.nn.local_response_normalization takes it (never divided by n)."""
    spatial_norm_after_block2: bool
    weight_stddev: float
    weight_stddev_conv345: float
    weight_stddev_fc67: float
    nonzero_bias: float = 1.0  # paper section 5: in conv2, conv4, conv5, fc6 and fc7
    lrn_depth_radius: int = 2  # paper section 3.3: n = 5, so two channels to either side
    lrn_bias: float = 2.0  # paper section 3.3: k
    lrn_beta: float = 0.75  # paper section 3.3
    towers: Literal["joined", "apart", "one"] = "joined"  # paper section 3.2
    """"joined": two that meet before conv3, fc6, fc7 and fc8. "apart": two that meet before fc8 only; conv2 and fc6 are
    wider, for about as many weights. "one": one with the kernels of one tower; conv5, fc6 and fc7 as wide as two."""
    pooling: Literal["overlapping", "plain"] = "overlapping"  # paper section 3.4
    """Windows of 3x3 pixels or of 2x2, two pixels apart."""
    normalization: Literal["response", "none"] = "response"  # paper section 3.3
    """"none" leaves out every response normalization of the preset."""
    activation: Literal["relu", "tanh"] = "relu"  # paper section 3.1
    """Behind every layer but the last."""
    dropout_rate: Annotated[float, Field(ge=0, lt=1)] = 0.5  # paper section 4.2
    """The share of fc6's and fc7's outputs that dropout sets to zero in training; 0: no dropout."""
    dropout: Literal["scaled at test", "scaled in training"] = "scaled at test"  # paper section 4.2
    image_size: int = 224  # paper section 3.5
    network_class: str = "alexnet_tf.networks.alexnet:TwoTowerAlexNet"
    widths: Widths = Widths(48, 128, 192, 192, 128, 2048, 2048)  # paper section 3.5

    layers: ClassVar[tuple[str, ...]] = ALEXNET_LAYERS
    feature_layers: ClassVar[tuple[str, ...]] = ALEXNET_FEATURE_LAYERS


@dataclass(frozen=True, kw_only=True)
class OriginalAlexNetSettings(AlexNetSettings):
    """The paper's and the 2012 program's networks, of which a config may choose what they are compared to.

    A picture of 128 pixels meets the same layers, which give 31x31, 15x15, 7x7 and 3x3 in place of 55x55, 27x27, 13x13
    and 6x6, so fc6 has a quarter of its weights.
    """

    image_size: Literal[128, 224] = 224  # paper section 3.5
    stored_size: Literal[144, 256] = 256  # paper section 2

    choices: ClassVar[tuple[str, ...]] = (
        "towers", "pooling", "normalization", "activation", "dropout_rate", "image_size", "stored_size"
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CaffeAlexNetSettings(AlexNetSettings):
    """Caffe's two networks, which are as their published weights need them; see networks.caffe."""

    # group: 2 in conv2, conv4 and conv5, but LRN sees all channels, across the towers
    network_class: str = "alexnet_tf.networks.caffe:CaffeAlexNet"


@dataclass(frozen=True, kw_only=True)
class OneTowerAlexNetSettings(NetworkSettings):
    """torchvision's alexnet; see networks.torchvision."""

    dropout_rate: float = 0.5
    image_size: Literal[128, 224] = 224
    stored_size: Literal[144, 256] = 256
    network_class: str = "alexnet_tf.networks.torchvision:OneTowerAlexNet"
    widths: Widths = Widths(64, 192, 384, 256, 256, 4096, 4096)

    layers: ClassVar[tuple[str, ...]] = ALEXNET_LAYERS
    feature_layers: ClassVar[tuple[str, ...]] = ALEXNET_FEATURE_LAYERS
    choices: ClassVar[tuple[str, ...]] = ("image_size", "stored_size")


@dataclass(frozen=True, kw_only=True)
class LeNet5Settings(NetworkSettings):
    """LeNet-5, and later choices for it; see networks.lenet5."""

    activation: Literal["tanh", "relu"] = "tanh"
    """"tanh" is the paper's 1.7159 tanh(2x/3)."""
    pooling: Literal["average", "max"] = "average"
    """"average" is the paper's, with a trained coefficient and bias for each map."""
    image_size: int = 26  # the network pads it to 32x32
    stored_size: int = 28
    channels: int = 1
    network_class: str = "alexnet_tf.networks.lenet5:LeNet5"

    layers: ClassVar[tuple[str, ...]] = ("c1", "s2", "c3", "s4", "c5", "f6", "output")
    feature_layers: ClassVar[tuple[str, ...]] = ("s2", "s4", "c5", "f6")
    choices: ClassVar[tuple[str, ...]] = ("activation", "pooling")


@dataclass(frozen=True, kw_only=True)
class CifarNetSettings(NetworkSettings):
    """The small net of CIFAR-10; see networks.cifar_net."""

    activation: Literal["relu", "tanh"] = "relu"
    """Behind every convolution."""
    normalization: Literal["response", "none"] = "response"
    """"response": behind the first two convolutions, across maps."""
    weight_stddev_conv1: float = 0.0001  # layers-18pct.cfg: initW
    weight_stddev: float = 0.01
    lrn_depth_radius: int = 4  # layers-conv-local-11pct.cfg: n = 9
    lrn_bias: float = 1.0
    lrn_alpha: float = 0.001 / 9
    lrn_beta: float = 0.75
    image_size: int = 24
    stored_size: int = 32
    network_class: str = "alexnet_tf.networks.cifar_net:CifarNet"

    layers: ClassVar[tuple[str, ...]] = ("conv1", "conv2", "conv3", "fc4")
    feature_layers: ClassVar[tuple[str, ...]] = ("conv1", "conv2", "conv3")
    choices: ClassVar[tuple[str, ...]] = ("activation", "normalization")


_CAFFE_NETWORK = CaffeAlexNetSettings(
    block1_order="conv-relu-lrn-pool",
    lrn_alpha=1e-4 / 5,  # Caffe divides alpha by local_size
    lrn_bias=1.0,  # Caffe's default k
    spatial_norm_after_block2=False,
    weight_stddev=0.01,
    weight_stddev_conv345=0.01,
    weight_stddev_fc67=0.005,
    nonzero_bias=0.1,
    dropout="scaled in training",
    image_size=227,
)

_CAFFE = Preset(
    network=_CAFFE_NETWORK,
    augment=Augmentation(
        max_offset=29,  # every place of a 227 crop in 256
        mean="per-offset",
        noise="none",  # its readme: "not training with the relighting data-augmentation"
        crop_size=227,
    ),
    train=Recipe(
        bias_rate_factor=2.0,  # lr_mult
        drop_bias_rate=True,
        decay_biases=False,  # decay_mult
        schedule="epochs",
        # Every 100,000 steps of 256 images, 19.98 epochs of ILSVRC-2012; 450,000 in all.
        drop_epochs=(21, 41, 61, 81),
        epochs=90,
    ),
)

PRESETS = {
    "paper": Preset(
        network=OriginalAlexNetSettings(
            block1_order="conv-relu-lrn-pool",  # sections 3.3 and 3.5
            lrn_alpha=1e-4,  # section 3.3: the sum is not divided by n
            spatial_norm_after_block2=False,
            weight_stddev=0.01,  # section 5
            weight_stddev_conv345=0.01,
            weight_stddev_fc67=0.01,
        ),
        augment=Augmentation(
            max_offset=31,  # section 4.1: "a factor of 2048" is 32 * 32 offsets and a mirroring
            mean="per-offset",
            noise="eigenvalue",  # section 4.1
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
        network=OriginalAlexNetSettings(
            block1_order="conv-lrn-pool-relu",
            lrn_alpha=1e-4 / 5,  # the program divides alpha by n
            spatial_norm_after_block2=True,
            weight_stddev=0.01,
            weight_stddev_conv345=0.03,
            weight_stddev_fc67=0.01,
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
    "caffe": _CAFFE,
    "caffenet": replace(_CAFFE, network=replace(_CAFFE_NETWORK, block1_order="conv-relu-pool-lrn", nonzero_bias=1.0)),
    "owt": Preset(  # torchvision/models/alexnet.py; references/classification for its training
        network=OneTowerAlexNetSettings(),
        augment=Augmentation(
            max_offset=32,  # torchvision draws crops of random size and shape, which is not done here
            mean="color",
            color_divisors=(0.229 * 255, 0.224 * 255, 0.225 * 255),  # it divides by 255 first
        ),
        train=Recipe(
            bias_rate_factor=1.0,
            drop_bias_rate=True,
            decay_biases=True,
            schedule="epochs",
            drop_epochs=(31, 61),  # --lr-step-size 30
            weight_decay=1e-4,
        ),
    ),
    "lenet5": Preset(  # LeCun et al., Proc. IEEE 86 (11), 1998; trained as any network here, see networks.lenet5
        network=LeNet5Settings(),
        augment=Augmentation(
            max_offset=2,
            mean="per-offset",
            color_divisors=(0.3081 * 255,),  # the digits' standard deviation; section II.B: a variance of about 1
            crop_size=26,
            mirror=False,  # a mirrored digit is no digit
        ),
        train=Recipe(
            bias_rate_factor=1.0,
            drop_bias_rate=True,
            decay_biases=False,
            schedule="epochs",
            drop_epochs=(14, 18),
            epochs=20,  # section III.B
            learning_rate=0.02,
            weight_decay=0.001,
        ),
    ),
    "cifar": Preset(  # 2012 program, layers-cifar/layers-18pct.cfg and layer-params-18pct-noisylr.cfg
        network=CifarNetSettings(),
        augment=Augmentation(
            max_offset=8,  # every place of a 24 crop in 32
            mean="per-offset",
            crop_size=24,
        ),
        train=Recipe(
            bias_rate_factor=2.0,  # epsW 0.001, epsB 0.002
            drop_bias_rate=True,  # "reduce all learning rates"
            decay_biases=False,
            schedule="epochs",
            drop_epochs=(121, 131),  # after 120 epochs, then after 10 more
            epochs=140,
            learning_rate=0.001,
            weight_decay=0.004,  # of the convolutions; fc10 has 1 there
        ),
    ),
    **LATER_PRESETS,
    **RESIDUAL_PRESETS,
}
