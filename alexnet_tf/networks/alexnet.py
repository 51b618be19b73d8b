"""AlexNet as two towers, an output shape on every line. N is the batch; a and b are the two devices.

`AlexNet` is the order of the blocks, `TwoTowerAlexNet` and `Tower` are what is in them: read downward. Sizes: paper
section 3.5, figure 2. Caffe's and torchvision's nets, whose weights are published, are in caffe.py and torchvision.py.
"""

from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks.dropout import dropout_layer
from alexnet_tf.networks.layers import (
    Activation,
    BothTowers,
    Cast,
    Conv2D,
    Dense,
    Flatten,
    MaxPooling2D,
    ZeroPadding2D,
)
from alexnet_tf.networks.network import DTYPES, Network, Stage
from alexnet_tf.networks.response_normalization import LocalResponseNormalization, SpatialResponseNormalization
from alexnet_tf.program.seeds import own_seed
from alexnet_tf.settings.presets import AlexNetSettings, Widths
from alexnet_tf.settings.recipe import NetworkSettings, Precision
from alexnet_tf.towers import Towers


class AlexNet(Network):
    """What all AlexNets have in common: five convolutions, then three fully connected layers.

    A subclass gives the parts: `convolutions`, then `block6`, `block7` and `block8`, each named after its fully
    connected layer. Shapes in comments are those of the published widths.
    """

    def __init__(self, settings: NetworkSettings, num_classes: int, towers: Towers) -> None:
        super().__init__(settings, num_classes, towers, name="alexnet")

    def stages(self) -> dict[str, Stage]:
        """Conv5, pooled and flattened, fc6 and fc7."""
        return {"conv5": self.convolutions, "fc6": self.block6, "fc7": self.block7}

    def last_stage(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Fc8."""
        return self.block8(x, dropout_seed)

    def convolutions(self, images: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Images (N, 224, 224, 3) to pool5, 2 x (N, 4608)."""
        raise NotImplementedError

    def block6(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Pool5 to fc6, 2 x (N, 2048)."""
        raise NotImplementedError

    def block7(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Fc6 to fc7, 2 x (N, 2048)."""
        raise NotImplementedError

    def block8(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Fc7 to logits, (N, num_classes)."""
        raise NotImplementedError


class TwoTowerAlexNet(AlexNet):
    """The network of Krizhevsky, Sutskever and Hinton, NIPS 2012: 60,965,224 parameters at 1000 classes.

    With the setting `towers` it is one of those that they compare it to: see `AlexNetSettings`.
    """

    settings: AlexNetSettings

    def __init__(
        self, network: AlexNetSettings, num_classes: int, towers: Towers, seed: int = 0,
        precision: Precision = "float32",
    ) -> None:  # fmt: skip
        super().__init__(network, num_classes, towers)
        dtype, own = DTYPES[precision], replace(network, widths=widths_in_force(network))
        self.joined = network.towers == "joined"
        self.a = self._tower("a", towers.a, own, seed, dtype)
        if self.number_of_towers == 2:
            self.b = self._tower("b", towers.b, own, seed, dtype)
        self.join_fc8 = BothTowers(device=towers.a, name="join_fc8_a", dtype=dtype)
        self.fc8 = _dense(
            num_classes, network, seed, bias=0, activation=None, name="fc8_a", device=towers.a, dtype=dtype
        )  # fmt: skip
        self.logits = Cast(device=towers.a, name="logits_a", dtype=dtype and "float32")

    @property
    def number_of_towers(self) -> int:
        """Two, or one by the setting."""
        return 1 if self.settings.towers == "one" else 2

    @property
    def all_towers(self) -> list["Tower"]:
        """Tower a and, where there are two, tower b."""
        return [self.a, self.b] if self.number_of_towers == 2 else [self.a]

    def _tower(self, tower: str, device: str | None, network: AlexNetSettings, seed: int, dtype: str | None) -> "Tower":
        return Tower(tower, device, network, seed, dtype)

    def convolutions(self, images: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Images 2 x (N, 224, 224, 3) to pool5."""
        training = dropout_seed is not None
        x = self.blocks12(images, training)  # 2 x (N, 13, 13, 128)
        return [tower.block345(seen, training) for tower, seen in self._seen(x)]  # 2 x (N, 4608)

    def block6(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Fc6."""
        return [tower.block6(seen, dropout_seed is not None) for tower, seen in self._seen(x)]  # 2 x (N, 2048)

    def block7(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Dropout, and fc7."""
        x = [tower.dropout6(own, seed=dropout_seed) for tower, own in zip(self.all_towers, x, strict=True)]
        return [tower.block7(seen, dropout_seed is not None) for tower, seen in self._seen(x)]  # 2 x (N, 2048)

    def block8(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Dropout, and fc8 on the first device, which sees all towers."""
        x = [tower.dropout7(own, seed=dropout_seed) for tower, own in zip(self.all_towers, x, strict=True)]
        logits = self.fc8(_together(self.join_fc8, x), training=dropout_seed is not None)
        return self.logits(logits)  # (N, num_classes)

    def blocks12(self, images: list[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The two blocks in which each tower is alone."""
        x = [tower.block1(own, training) for tower, own in zip(self.all_towers, images, strict=True)]
        return [  # from 2 x (N, 27, 27, 48) to 2 x (N, 13, 13, 128)
            tower.block2(own, training) for tower, own in zip(self.all_towers, x, strict=True)
        ]

    def _seen(self, x: list[tf.Tensor]) -> list[tuple["Tower", list[tf.Tensor]]]:
        """What each tower sees of the activations, one (N, ...) a tower: all or, where towers do not meet, its own."""
        return [(tower, x if self.joined else [own]) for tower, own in zip(self.all_towers, x, strict=True)]


def widths_in_force(network: AlexNetSettings) -> Widths:
    """The widths of one tower, by the setting `towers`."""
    widths = network.widths
    if network.towers == "one":  # paper section 3.2, its footnote; 2012 program, layers-145-half.cfg
        return replace(widths, conv5=2 * widths.conv5, fc6=2 * widths.fc6, fc7=2 * widths.fc7)
    if network.towers == "apart":  # 2012 program, layers-150.cfg
        return replace(widths, conv2=widths.conv2 * 5 // 4, fc6=2 * widths.fc6)
    return widths


class Tower(keras.layers.Layer):
    """One tower: half the kernels of every layer but fc8, all on one device.

    Its parts are called one by one, because the towers meet between them.
    """

    def __init__(self, tower: str, device: str | None, network: AlexNetSettings, seed: int, dtype: str | None) -> None:
        super().__init__(name=f"tower_{tower}", dtype=dtype, autocast=False)

        def named(name: str) -> dict[str, Any]:
            return {"name": f"{name}_{tower}", "device": device, "tower": tower, "dtype": dtype}

        def conv(name: str, size: int, bias: float, **options: Any) -> Conv2D:
            stddev = network.weight_stddev_conv345 if name in ("conv3", "conv4", "conv5") else network.weight_stddev
            return Conv2D(
                getattr(network.widths, name), size, **options, **named(name),
                kernel_initializer=_normal(stddev, seed, f"{name}_{tower}"),
                bias_initializer=keras.initializers.Constant(bias),
            )  # fmt: skip

        def response_norm(name: str, relu: bool) -> LocalResponseNormalization:
            return LocalResponseNormalization(
                network.lrn_depth_radius, network.lrn_bias, network.lrn_alpha, network.lrn_beta, relu, **named(name)
            )

        def pool(name: str) -> MaxPooling2D:
            return MaxPooling2D(3 if network.pooling == "overlapping" else 2, 2, **named(name))

        def fully_connected(name: str) -> Dense:
            units = getattr(network.widths, name)
            return _dense(units, network, seed, bias=nonzero, activation=activation, **named(name))

        nonzero, activation = network.nonzero_bias, network.activation
        self.activation_last = network.block1_order == "conv-lrn-pool-relu"
        self.normalized = network.normalization == "response"
        self.spatial_norm = network.spatial_norm_after_block2 and self.normalized
        in_norm = self.normalized and activation == "relu"  # which rectifies what it is given, at no cost
        before_norm = None if in_norm else activation

        self.cast1 = Cast(**named("cast1"))
        # 224 + 3 = 227 gives conv1 its 55 outputs: the padding that the paper does not mention, bottom and right only.
        self.pad1 = ZeroPadding2D(((0, 3), (0, 3)), **named("pad1"))
        self.conv1 = conv("conv1", 11, bias=0, strides=4, activation=None if self.activation_last else before_norm)
        self.norm1 = response_norm("norm1", relu=in_norm and not self.activation_last)
        self.pool1 = pool("pool1")
        self.activation1 = Activation(activation, **named(f"{activation}1"))

        self.conv2 = conv("conv2", 5, bias=nonzero, padding="same", activation=before_norm)
        self.norm2 = response_norm("norm2", relu=in_norm)
        self.spatial_norm2 = SpatialResponseNormalization(**named("spatial_norm2"))
        self.pool2 = pool("pool2")

        self.join_conv3 = BothTowers(**named("join_conv3"))
        self.conv3 = conv("conv3", 3, bias=0, padding="same", activation=activation)
        self.conv4 = conv("conv4", 3, bias=nonzero, padding="same", activation=activation)
        self.conv5 = conv("conv5", 3, bias=nonzero, padding="same", activation=activation)
        self.pool5 = pool("pool5")

        self.flatten5 = Flatten(**named("flatten5"))
        self.join_fc6 = BothTowers(**named("join_fc6"))
        self.fc6 = fully_connected("fc6")
        self.dropout6 = dropout_layer(network.dropout, network.dropout_rate, **named("dropout6"))

        self.join_fc7 = BothTowers(**named("join_fc7"))
        self.fc7 = fully_connected("fc7")
        self.dropout7 = dropout_layer(network.dropout, network.dropout_rate, **named("dropout7"))

    def block1(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        """Conv1, normalized and pooled; the activation comes in conv1, in norm1 or last, as the recipes differ."""
        x = self.conv1(self.pad1(self.cast1(images)))  # (N, 227, 227, 3) -> (N, 55, 55, 48)
        if self.normalized:
            x = self.norm1(x, training=training)  # (N, 55, 55, 48)
        x = self.pool1(x)  # (N, 27, 27, 48)
        return self.activation1(x) if self.activation_last else x

    def block2(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """Conv2, rectified in norm2, normalized and pooled."""
        x = self.conv2(x, training=training)  # (N, 27, 27, 128)
        if self.normalized:
            x = self.norm2(x, training=training)  # (N, 27, 27, 128)
        if self.spatial_norm:
            x = self.spatial_norm2(x, training=training)  # (N, 27, 27, 128)
        return self.pool2(x)  # (N, 13, 13, 128)

    def block345(self, seen: list[tf.Tensor], training: bool) -> tf.Tensor:
        """Conv3, which sees both towers, conv4 and conv5, pooled."""
        x = _together(self.join_conv3, seen)  # (N, 13, 13, 256)
        x = self.conv3(x, training=training)  # (N, 13, 13, 192)
        x = self.conv4(x, training=training)  # (N, 13, 13, 192)
        x = self.conv5(x, training=training)  # (N, 13, 13, 128)
        return self.flatten5(self.pool5(x))  # (N, 6, 6, 128) -> (N, 4608)

    def block6(self, seen: list[tf.Tensor], training: bool) -> tf.Tensor:
        """Fc6, which sees both towers."""
        return self.fc6(_together(self.join_fc6, seen), training=training)  # (N, 9216) -> (N, 2048)

    def block7(self, seen: list[tf.Tensor], training: bool) -> tf.Tensor:
        """Fc7, which sees both towers."""
        return self.fc7(_together(self.join_fc7, seen), training=training)  # (N, 4096) -> (N, 2048)


def _together(join: BothTowers, seen: list[tf.Tensor]) -> tf.Tensor:
    """The activations of all towers that are seen, side by side."""
    return join(seen) if len(seen) > 1 else seen[0]


def _dense(
    units: int, network: AlexNetSettings, seed: int, *, bias: float, activation: str | None, name: str, **placed: Any
) -> Dense:
    stddev = network.weight_stddev_fc67 if name.startswith(("fc6", "fc7")) else network.weight_stddev
    return Dense(
        units,
        activation=activation,
        kernel_initializer=_normal(stddev, seed, name),
        bias_initializer=keras.initializers.Constant(bias),
        name=name,
        **placed,
    )


def _normal(stddev: float, seed: int, name: str) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(0.0, stddev, seed=own_seed(seed, name))
