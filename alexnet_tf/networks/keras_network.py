"""A network as an ordinary Keras model: layer by layer, from prepared images to logits.

`Network` runs its layers itself, so that each tower's part is placed on the tower's own device. Here the same layers,
with the same variables, are laid out as a graph that Keras knows: `summary()` shows every layer of both towers,
`fit` trains them with dropout, `get_layer("conv5_a").output` can be taken, and `save` writes a `.keras` file.
"""

import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alexnet_tf.networks.layers import Placed
from alexnet_tf.networks.network import Network
from alexnet_tf.networks.registry import build_network
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.network_files import plain_settings, settings_from
from alexnet_tf.towers import Towers

PACKAGE = "alexnet_tf"
"""Under which Keras knows the classes here in a .keras file."""
LEAST_SPREAD = 3.0
"""Gray levels. Prepared images that reach no further from zero were divided by 255, or something like it."""


class UnpreparedImages(UserWarning):
    """Images came to a network that do not look as if they were prepared for it."""


@keras.saving.register_keras_serializable(PACKAGE)
class KerasNetwork(keras.Model):
    """A network's layers and variables as a functional Keras model.

    Args:
      network: whose layers and variables these are; it sees what is trained here.
      divided: whether its recipe divides prepared pixels by their deviation, as torchvision's and LeNet's do.

    Args of call:
      images: float32 (N, *picture_shape), as `Net.prepare` or the input pipeline gives them.
      training: whether dropout drops and moving averages move.

    Returns of call: logits, float32 (N, num_classes). Compile it with
    `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.

    Auxiliary outputs, which count in training alone, are not part of it.

    Raises (when called):
      UserError: images of another size, or whole numbers in place of prepared pixels.

    Warns (when called): `UnpreparedImages`, where pixels look as if no mean was subtracted, or as if they were divided.

    Example:
      >>> network = build_network(PRESETS["paper"].network, 1000, Towers.unplaced())
      >>> KerasNetwork(network)(tf.zeros((1, 224, 224, 3))).shape
      TensorShape([1, 1000])
    """

    def __init__(self, network: Network, *, divided: bool = False) -> None:
        images = keras.Input(network.picture_shape, name="images")
        checked = PreparedImages(divided, name="prepared_images")(images)
        super().__init__(inputs=images, outputs=_laid_out(network, checked), name=network.name)
        self.picture_shape = tuple(network.picture_shape)
        self.num_classes = network.num_classes
        self.divided = divided
        self.settings = network.settings

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        self._refuse(images)
        return super().__call__(images, *args, **kwargs)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As keras.Model's; images that cannot be prepared ones are refused first."""
        self._refuse(x)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As keras.Model's; images that cannot be prepared ones are refused first."""
        self._refuse(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As keras.Model's: logits; images that cannot be prepared ones are refused first."""
        self._refuse(x)
        return super().predict(x, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """What builds the same network again; a .keras file holds it beside the weights."""
        return {"network": plain_settings(self.settings), "num_classes": self.num_classes, "divided": self.divided}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "KerasNetwork":
        """A new network of the same settings."""
        network = build_network(settings_from(config["network"]), config["num_classes"], Towers.unplaced())
        return cls(network, divided=config["divided"])

    def _refuse(self, images: Any) -> None:
        """Refuses what is no batch of prepared images, by type and shape alone; lists and the like are Keras' own."""
        if isinstance(images, tf.data.Dataset):
            images = tf.nest.flatten(images.element_spec)[0]
        shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", None)
        if shape is None or dtype is None:
            return
        height, width, channels = self.picture_shape
        wanted = (
            f"give prepared images, float32 (N, {height}, {width}, {channels}), as net.prepare(pictures) makes them"
        )
        if not tf.as_dtype(dtype).is_floating:
            raise UserError(
                f"the network was given pixels of type {tf.as_dtype(dtype).name}, not yet prepared: {wanted}"
            )
        sizes = tuple(shape)
        known = len(sizes) == 4 and all(
            size in (None, own) for size, own in zip(sizes[1:], self.picture_shape, strict=True)
        )
        if not known:
            raise UserError(f"the network was given images of shape {sizes}: {wanted}")


@keras.saving.register_keras_serializable(PACKAGE)
class PreparedImages(keras.layers.Layer):
    """Hands images on as they are, and warns (`UnpreparedImages`) where they do not look prepared.

    Of a batch that never goes below zero no mean was subtracted; it may also be one of white pictures, so this is no
    fault.
    """

    def __init__(self, divided: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.divided = divided
        self.supports_jit = False  # XLA knows no call of Python

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        lowest, highest = tf.reduce_min(inputs), tf.reduce_max(inputs)
        if tf.executing_eagerly():
            self._judge(lowest.numpy(), highest.numpy())
            return inputs
        doubtful = (lowest >= 0) | (tf.maximum(highest, -lowest) <= LEAST_SPREAD)
        tf.cond(
            doubtful,
            lambda: tf.numpy_function(self._judge, [lowest, highest], tf.int32),
            lambda: tf.constant(0, tf.int32),
        )
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "divided": self.divided}

    def _judge(self, lowest: np.floating, highest: np.floating) -> np.int32:
        reason = None
        if lowest >= 0 and highest > 0:
            reason = "none is below 0, so no mean was subtracted"
        elif not self.divided and highest > lowest and max(highest, -lowest) <= LEAST_SPREAD:
            reason = "they are not on the scale of 0 to 255, less the mean"
        if reason:
            warnings.warn(
                f"the images look unprepared: their values are from {lowest:.3g} to {highest:.3g}, and {reason}; "
                "net.prepare(pictures) prepares them as the network was trained",
                UnpreparedImages,
                stacklevel=2,
            )
        return np.int32(0)


def _laid_out(network: Network, images: Any) -> Any:
    """From symbolic images to symbolic logits, through every layer of the network.

    Whether it is training is left to Keras, which tells each layer whenever the model is called.
    """
    layers = [layer for layer in network._flatten_layers() if isinstance(layer, Placed)]
    for layer in layers:
        layer.told_by_keras = True
    try:
        return network.head([images] * network.number_of_towers, None)
    finally:
        for layer in layers:
            layer.told_by_keras = False
