"""A network with its weights, its classes and its own way of preparing pictures, for notebooks and programs."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from alexnet_tf.evaluation.probabilities import view_average
from alexnet_tf.from_python.pictures import Pictures, picture_files
from alexnet_tf.networks.keras_network import KerasNetwork
from alexnet_tf.networks.network import Network
from alexnet_tf.pictures.preparation import evaluation_views, number_of_views
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.classes import Classes
from alexnet_tf.serving.answers import most_probable
from alexnet_tf.serving.exported_model import SIGNATURES
from alexnet_tf.serving.picture_files import OK, read_files
from alexnet_tf.settings.recipe import Augmentation
from tfrecords.exif import Exif
from tfrecords.statistics import Statistics

FILES_AT_ONCE = 32
"""Pictures in one call of the network."""

Rows = tuple[tf.Tensor, tf.Tensor]
"""Something of N pictures, a row each, and their status, string (N,): "ok", or why a row means nothing."""
Answer = Callable[[tf.Tensor, int], Rows]
"""From picture files, string (N,), and the number of views, 1 or 10, to probabilities (N, classes)."""


@dataclass(frozen=True)
class Predictions:
    """What a network makes of N pictures; `labels, names, probabilities = predictions` takes it apart."""

    labels: list[str]
    """The key of each picture's most probable class, as its folder was called."""
    names: list[str]
    """That class's readable name."""
    probabilities: np.ndarray
    """float32 (N, classes), in the order of `Net.classes`."""
    classes: Classes

    def __iter__(self) -> Iterator[Any]:
        return iter((self.labels, self.names, self.probabilities))

    def top(self, count: int = 5) -> list[list[dict[str, Any]]]:
        """Of each picture the most probable classes, as the command `predict --json` writes them.

        Returns:
          A list a picture of `{"label", "name", "probability"}`, the most probable first.
        """
        return [most_probable(probabilities, self.classes, count) for probabilities in self.probabilities]


@dataclass(frozen=True)
class Prepared:
    """A network in Python, and how pictures are prepared for it: as at evaluation."""

    network: Network
    augment: Augmentation
    statistics: Statistics
    exif: Exif = "ignore"
    """Whether pictures are turned by their EXIF orientation."""

    def views(self, files: tf.Tensor, views: int = 1) -> Rows:
        """From picture files, string (N,), to views, float32 (N, views, size, size, channels)."""
        pictures, status = read_files(files, self.network.settings.stored_shape, self.exif)
        return evaluation_views(pictures, views, self.augment, self.statistics), status

    def answer(self, files: tf.Tensor, views: int) -> Rows:
        """See `Answer`."""
        prepared, status = self.views(files, views)
        return self._average(prepared), status

    @functools.cached_property
    def _average(self) -> Callable[[tf.Tensor], tf.Tensor]:
        spec = tf.TensorSpec((None, None, *self.network.picture_shape), tf.float32)
        return tf.function(functools.partial(view_average, self.network), input_signature=[spec], autograph=False)


class Net:
    """A network with its weights, its classes and its own way of preparing pictures; `alexnet_tf.load` makes it.

    Pictures are paths of files (text or `Path`), files' bytes, uint8 arrays (H, W, 3) or (H, W) of any size, or
    Pillow's; one, or a list of them, or an array (N, H, W, 3). They are prepared as in training: shorter side to the
    stored size, the center crop, less the mean image. Numbers are those of the commands `evaluate` and `predict`.

    Example:
      >>> net = alexnet_tf.load("runs/x")
      >>> labels, names, probabilities = net.predict(["cat.jpg", "dog.png"])
      >>> net.predict("cat.jpg").top(3)
      >>> net.features("cat.jpg", "fc7").shape
      (1, 4096)
      >>> net.keras_model.summary()
    """

    def __init__(
        self, description: str, classes: Classes, answer: Answer, prepared: Callable[[], Prepared], exif: Exif
    ) -> None:
        self._description = description
        self._answer = answer
        self._prepared = functools.cache(prepared)
        self._exif: Exif = exif
        self.classes = classes
        """`keys` (names of folders) and `names` of its classes, both in label order."""

    def __repr__(self) -> str:
        return f"Net({self._description}, {len(self.classes.keys)} classes)"

    def predict(self, pictures: Pictures, views: int = 1) -> Predictions:
        """What is on pictures.

        Args:
          pictures: files or uint8 arrays of any size, see the class.
          views: 1, the center crop, or 10, the mean over the paper's ten views (section 4.1).

        Raises:
          UserError: a picture cannot be read or used; it is named.
        """
        if views not in SIGNATURES:
            raise UserError(f"views is {views}: give 1 or 10")
        found = self._rows(pictures, lambda files: self._answer(files, views))
        probabilities = found if found is not None else np.zeros((0, len(self.classes.keys)), np.float32)
        best = probabilities.argmax(axis=1)
        return Predictions(
            [self.classes.keys[label] for label in best],
            [self.classes.names[label] for label in best],
            probabilities,
            self.classes,
        )

    def features(self, pictures: Pictures, layer: str | None = None) -> np.ndarray:
        """What a layer makes of pictures: a short description of each, to compare or to train something else on.

        Args:
          pictures: see the class.
          layer: one of `feature_layers`, such as "fc7"; None: the last of them.

        Returns:
          float32 (N, F), a row a picture; both towers side by side, so that fc7 has F = 4096.

        Raises:
          UserError: the layer is none of them, or a picture cannot be used.
        """
        layers = self.feature_layers
        layer = layers[-1] if layer is None else layer
        if layer not in layers:
            raise UserError(
                f"features of {layer!r}: this network gives those of {', '.join(layers)}; for other layers' outputs "
                "take net.keras_model.get_layer(name).output"
            )
        prepared = self._prepared()
        network = prepared.network

        def of_files(files: tf.Tensor) -> Rows:
            views, status = prepared.views(files)
            return network.concatenate_features(network.features(views[:, 0], layer)), status

        found = self._rows(pictures, of_files)
        width = sum(int(np.prod(shape)) for shape in network.feature_shapes[layer])
        return found if found is not None else np.zeros((0, width), np.float32)

    def prepare(self, pictures: Pictures) -> np.ndarray:
        """Pictures as the network sees them, for `keras_model`.

        Returns:
          float32 (N, size, size, channels): the center crop, less the mean image.

        Raises:
          UserError: a picture cannot be used.
        """
        prepared = self._prepared()
        found = self._rows(pictures, prepared.views)
        shape = prepared.network.picture_shape
        return found[:, 0] if found is not None else np.zeros((0, *shape), np.float32)

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """The layers that `features` knows, in the order in which a picture meets them."""
        return self._prepared().network.settings.feature_layers

    def number_of_views(self, views: int = 10) -> int:
        """How many views ten really are: fewer where pictures must not be mirrored, or are seen whole."""
        prepared = self._prepared()
        return number_of_views(views, prepared.augment, prepared.network.settings.stored_size)

    @functools.cached_property
    def keras_model(self) -> KerasNetwork:
        """The network as a Keras model, from prepared images to logits; see `KerasNetwork`.

        It shares its variables with this object: after `fit`, `predict` answers with the new weights.
        """
        prepared = self._prepared()
        return KerasNetwork(prepared.network, divided=set(prepared.augment.color_divisors) != {1.0})

    def _rows(self, pictures: Pictures, function: Callable[[tf.Tensor], Rows]) -> np.ndarray | None:
        """What a function of picture files gives, a row a picture; None where there are none.

        Raises:
          UserError: names every picture that cannot be used.
        """
        files = picture_files(pictures, self._exif)
        rows, faults = [], []
        while some := list(itertools.islice(files, FILES_AT_ONCE)):
            found, status = function(tf.constant([file.content for file in some]))
            rows.append(found.numpy())
            reasons = [reason.decode() for reason in status.numpy()]
            faults += [f"{file.name}: {reason}" for file, reason in zip(some, reasons, strict=True) if reason != OK]
        if faults:
            raise UserError("; ".join(faults))
        return np.concatenate(rows) if rows else None
