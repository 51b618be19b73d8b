"""AlexNet's relatives as users of plain Keras write them, or take them from keras.applications, beside ours.

Layers, weights and operations are as many as ours, but for the biases that convolutions of keras.applications' ResNet50
have. Its VGG16 has no dropout, so that is written here. The gradient of a 1x1 convolution with a stride can end the
process in TensorFlow 2.21's oneDNN, so the pixels that such a one passes over are left out before it.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks.inception import LRN
from alexnet_tf.networks.lenet5 import C3_TABLE
from alexnet_tf.networks.resnet import EPSILON, MOMENTUM
from alexnet_tf.settings.later_networks import InceptionSettings, NetworkInNetworkSettings, VGGSettings
from alexnet_tf.settings.presets import CifarNetSettings, LeNet5Settings
from alexnet_tf.settings.recipe import NetworkSettings
from alexnet_tf.settings.residual_networks import AnyResNetSettings, BlockPlan, ResNetSettings

Layers = keras.layers


def keras_network(settings: NetworkSettings, classes: int, seed: int) -> keras.Model:
    """A net of these settings, from images to logits; Inception's auxiliary ones come behind its own.

    Raises:
      TypeError: there is none here.
    """
    if settings == ResNetSettings(blocks=(3, 4, 6, 3), bottleneck=True):
        published = keras.applications.ResNet50(weights=None, classes=classes, classifier_activation=None)
        return keras.models.clone_model(published, clone_function=_without_strided_points)
    images = keras.Input(settings.picture_shape)
    seeds = itertools.count(100 * seed)
    if isinstance(settings, AnyResNetSettings):
        return keras.Model(images, _resnet(images, settings, classes))
    if settings == LeNet5Settings():
        return keras.Model(images, _lenet5(images, classes))
    if settings == CifarNetSettings():
        return keras.Model(images, _cifar_net(images, settings, classes))
    if isinstance(settings, VGGSettings):
        return keras.Model(images, _vgg(images, settings, classes, seeds))
    if isinstance(settings, NetworkInNetworkSettings):
        return keras.Model(images, _network_in_network(images, settings, classes, seeds))
    if isinstance(settings, InceptionSettings):
        return keras.Model(images, _inception(images, settings, classes, seeds))
    raise TypeError(f"no Keras net is written here for {settings}")


def _without_strided_points(layer: Any) -> Any:
    """A layer for the clone of a model."""
    config = layer.get_config()
    if isinstance(layer, Layers.Conv2D) and layer.kernel_size == (1, 1) and max(layer.strides) > 1:
        return StridedPoints(max(layer.strides), Layers.Conv2D.from_config(config | {"strides": (1, 1)}))
    return type(layer).from_config(config)


class StridedPoints(Layers.Layer):  # type: ignore[name-defined]
    """A 1x1 convolution of the pixels that a stride leaves, (N, H, W, C) to (N, H / stride, W / stride, F)."""

    def __init__(self, stride: int, convolution: Any) -> None:
        super().__init__()
        self.stride = stride
        self.convolution = convolution

    def call(self, x: Any) -> Any:
        """The convolution's output."""
        return self.convolution(x[:, :: self.stride, :: self.stride])


def squash(x: Any) -> Any:
    """LeNet-5's activation."""
    return 1.7159 * tf.tanh(2 / 3 * x)


class TrainedPooling(Layers.Layer):  # type: ignore[name-defined]
    """LeNet-5's: means over 2x2 pixels times a coefficient plus a bias, both each map's own; then the activation."""

    def build(self, shape: Any) -> None:
        """Makes the weights."""
        self.coefficient = self.add_weight(name="coefficient", shape=(shape[-1],), initializer="ones")
        self.bias = self.add_weight(name="bias", shape=(shape[-1],), initializer="zeros")

    def call(self, x: Any) -> Any:
        """(N, H, W, C) to (N, H / 2, W / 2, C)."""
        return squash(tf.nn.avg_pool2d(x, 2, 2, "VALID") * self.coefficient + self.bias)


class TableConvolution(Layers.Layer):  # type: ignore[name-defined]
    """LeNet-5's C3: a 5x5 convolution whose maps see some of the input's each, by a table."""

    def build(self, shape: Any) -> None:
        """Makes the weights."""
        self.joined = [(seen, own) for own, maps in enumerate(C3_TABLE) for seen in maps]
        self.every = (shape[-1], len(C3_TABLE), 5, 5)
        self.kernels = self.add_weight(name="kernels", shape=(len(self.joined), 5, 5))
        self.bias = self.add_weight(name="bias", shape=(len(C3_TABLE),), initializer="zeros")

    def call(self, x: Any) -> Any:
        """(N, H, W, 6) to (N, H - 4, W - 4, 16)."""
        kernel = tf.transpose(tf.scatter_nd(self.joined, self.kernels, self.every), (2, 3, 0, 1))
        return squash(tf.nn.conv2d(x, kernel, 1, "VALID") + self.bias)


def _lenet5(images: Any, classes: int) -> Any:
    conv = partial(_convolution, padding="valid", activation=squash)
    x = TrainedPooling()(conv(Layers.ZeroPadding2D(3)(images), 6, 5))
    x = TrainedPooling()(TableConvolution()(x))
    x = Layers.Flatten()(conv(x, 120, 5))
    return Layers.Dense(classes)(Layers.Dense(84, activation=squash)(x))


def _cifar_net(images: Any, settings: CifarNetSettings, classes: int) -> Any:
    lrn = (settings.lrn_depth_radius, settings.lrn_bias, settings.lrn_alpha, settings.lrn_beta)
    x = Layers.MaxPooling2D(3, 2, padding="same")(_convolution(images, 32, 5, activation=None))
    x = _response_normalized(Layers.ReLU()(x), lrn)
    x = _response_normalized(Layers.AveragePooling2D(3, 2, padding="same")(_convolution(x, 32, 5)), lrn)
    x = Layers.AveragePooling2D(3, 2, padding="same")(_convolution(x, 64, 5))
    return Layers.Dense(classes)(Layers.Flatten()(x))


def _response_normalized(x: Any, constants: tuple[int, float, float, float]) -> Any:
    return Layers.Lambda(lambda seen: tf.nn.local_response_normalization(seen, *constants))(x)


def _convolution(x: Any, maps: int, size: int, **options: Any) -> Any:
    return Layers.Conv2D(maps, size, **{"padding": "same", "activation": "relu"} | options)(x)


def _resnet(images: Any, settings: AnyResNetSettings, classes: int) -> Any:
    conv = partial(_convolution, use_bias=False, activation=None)
    x = images
    if isinstance(settings, ResNetSettings):
        x = _normalized(conv(Layers.ZeroPadding2D(3)(x), settings.widths.conv1, 7, strides=2, padding="valid"))
        x = Layers.MaxPooling2D(3, 2)(Layers.ZeroPadding2D(1)(x))
    else:
        x = _normalized(conv(x, settings.widths.conv1, 3))
    for block in itertools.chain(*settings.stages):
        x = _block(x, block)
    return Layers.Dense(classes)(Layers.GlobalAveragePooling2D()(x))


def _block(x: Any, plan: BlockPlan) -> Any:
    y = x
    for number, (maps, size) in enumerate(plan.kernels):
        stride = plan.stride if number == 0 else 1
        if stride > 1 and size > 1:
            y = Layers.ZeroPadding2D(size // 2)(y)
        elif stride > 1:
            y, stride = _every(y, stride), 1
        padding = "valid" if stride > 1 else "same"
        y = _convolution(y, maps, size, strides=stride, padding=padding, use_bias=False, activation=None)
        y = _normalized(y, relu=number < len(plan.kernels) - 1)
    if plan.shortcut == "projection":
        x = _normalized(_convolution(_every(x, plan.stride), maps, 1, use_bias=False, activation=None), relu=False)
    if plan.shortcut == "zeros":
        x = _every(x, plan.stride)
        missing = maps - x.shape[-1]
        x = Layers.Lambda(lambda seen: tf.pad(seen, [[0, 0], [0, 0], [0, 0], [0, missing]]))(x)
    return Layers.ReLU()(y if plan.shortcut == "none" else Layers.Add()([x, y]))


def _every(x: Any, stride: int) -> Any:
    """The pixels that a stride leaves."""
    return x if stride == 1 else Layers.Lambda(lambda seen: seen[:, ::stride, ::stride])(x)


def _normalized(x: Any, relu: bool = True) -> Any:
    x = Layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON)(x)
    return Layers.ReLU()(x) if relu else x


def _vgg(images: Any, settings: VGGSettings, classes: int, seeds: Iterator[int]) -> Any:
    x = images
    for block, names in enumerate(settings.convolutions, start=1):
        for _ in names:
            x = _convolution(x, getattr(settings.widths, f"block{block}"), 3)
        x = Layers.MaxPooling2D()(x)
    x = Layers.Flatten()(x)
    for units in (settings.widths.fc1, settings.widths.fc2):
        x = Layers.Dropout(settings.dropout_rate, seed=next(seeds))(Layers.Dense(units, activation="relu")(x))
    return Layers.Dense(classes)(x)


def _network_in_network(images: Any, settings: NetworkInNetworkSettings, classes: int, seeds: Iterator[int]) -> Any:
    x = images
    for name in settings.layers:
        start = keras.initializers.RandomNormal(stddev=settings.weight_stddev, seed=next(seeds))
        size = {"conv1": 5, "conv2": 5, "conv3": 3}.get(name, 1)
        x = _convolution(x, getattr(settings.widths, name, classes), size, kernel_initializer=start)
        if name in ("cccp2", "cccp4"):
            x = Layers.Dropout(settings.dropout_rate, seed=next(seeds))(Layers.MaxPooling2D(3, 2, padding="same")(x))
    return Layers.GlobalAveragePooling2D()(x)


def _inception(images: Any, settings: InceptionSettings, classes: int, seeds: Iterator[int]) -> list[Any]:
    def pooled(x: Any, stride: int = 2) -> Any:
        return Layers.MaxPooling2D(3, stride, padding="same")(x)

    def classified(x: Any, rate: float) -> Any:
        return Layers.Dense(classes)(Layers.Dropout(rate, seed=next(seeds))(x))

    widths, sides = settings.widths, []
    x = _convolution(Layers.ZeroPadding2D(3)(images), widths.conv1, 7, strides=2, padding="valid")
    x = _response_normalized(pooled(x), LRN)
    x = _convolution(_convolution(x, widths.conv2_reduce, 1), widths.conv2, 3)
    x = pooled(_response_normalized(x, LRN))
    for before, module in zip(("3", *settings.modules), settings.modules, strict=False):
        x = pooled(x) if before[0] != module[0] else x
        one, reduce3, three, reduce5, five, pool = getattr(widths, f"inception_{module}")
        ways = [
            _convolution(x, one, 1), _convolution(_convolution(x, reduce3, 1), three, 3),
            _convolution(_convolution(x, reduce5, 1), five, 5), _convolution(pooled(x, 1), pool, 1),
        ]  # fmt: skip
        x = Layers.Concatenate()(ways)
        if module in settings.sides:
            y = Layers.Flatten()(_convolution(Layers.AveragePooling2D(5, 3)(x), widths.side_conv, 1))
            sides.append(classified(Layers.Dense(widths.side_fc, activation="relu")(y), settings.side_dropout_rate))
    return [classified(Layers.GlobalAveragePooling2D()(x), settings.dropout_rate), *sides]
