"""A network's probabilities for pictures, averaged over the views of each."""

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import tensorflow as tf

from alexnet_tf.networks.network import Images, Network
from alexnet_tf.pictures.preparation import prepare_evaluation
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.config import Config
from alexnet_tf.settings.recipe import Augmentation
from tfrecords.statistics import Statistics


def pictures_at_once(config: Config, views: int) -> int:
    """How many pictures make a batch of about `data.eval_batch_size` views."""
    return max(1, config.data.eval_batch_size // views)


class Bar(Protocol):
    """A progress bar, such as tqdm's."""

    def update(self, n: int) -> object:
        """Counts `n` more images."""

    def close(self) -> object:
        """Ends the bar."""


def class_probabilities(
    forward: Callable[[tf.Tensor], tf.Tensor], batches: Iterable, progress: Bar | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Softmax outputs, averaged over an image's views (paper section 4.1).

    Args:
      forward: from `prediction_function`, made once for a network: making it compiles.
      batches: of (what `forward` takes of n images, labels (n,)).
      progress: is moved on by the number of images.

    Returns:
      Probabilities float64 (images, classes) and labels int64 (images,), in the order of the batches.

    Raises:
      UserError: the network's output is not finite, or there are no batches.
    """
    probabilities, labels = [], []
    for images, batch_labels in batches:
        probabilities.append(forward(images).numpy().astype(np.float64))
        labels.append(batch_labels.numpy())
        if progress is not None:
            progress.update(len(batch_labels))
    if progress is not None:
        progress.close()
    if not labels:
        raise UserError("no pictures came to be evaluated; convert again, with some in this split")
    joined = np.concatenate(probabilities)
    if not np.isfinite(joined).all():
        raise UserError("the network's output is not finite: its weights are broken; use an earlier checkpoint")
    return joined, np.concatenate(labels)


def prediction_function(
    model: Network, augment: Augmentation, statistics: Statistics, views: int = 1
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A compiled function from pictures to probabilities (n, classes), over 1 or 10 views.

    The pictures are uint8 (n, *stored_shape), as the network's settings tell their size.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, *model.settings.stored_shape), tf.uint8)], autograph=False)
    def probabilities(pictures: tf.Tensor) -> tf.Tensor:
        return view_average(
            model,
            model.on_each_tower(
                "views", lambda device: prepare_evaluation(pictures, views, augment, statistics, device)
            ),
        )

    return probabilities


def view_average(model: Network, views: Images) -> tf.Tensor:
    """Softmax per view, then the mean over the views: (n, views, size, size, 3) -> (n, classes).

    Args:
      model: the network.
      views: the images, or for each tower its own, as `Network` takes them.
    """
    shape = tf.shape(tf.nest.flatten(views)[0])
    flat = tf.nest.map_structure(lambda of_tower: tf.reshape(of_tower, (-1, *of_tower.shape[2:])), views)
    softmax = tf.nn.softmax(model(flat))  # (n * views, classes)
    return tf.reduce_mean(tf.reshape(softmax, (shape[0], shape[1], model.num_classes)), axis=1)
