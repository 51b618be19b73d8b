"""From uint8 pictures to what the network sees: crop, mirroring, mean, color noise; and the views of evaluation.

What is done to a training picture is the same wherever it is done: as a stage of the input pipeline, or on the
network's own device (`data.augment_on`). The views of evaluation are made on the network's device, a whole batch at a
time, at evaluation and in an exported model.

Pixels stay on the 0-255 scale and are never divided by 255; for torchvision's net alone they are scaled, at the end.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from alexnet_tf.pictures.augmentation import Draws
from alexnet_tf.settings.recipe import Augmentation
from alexnet_tf.towers import on_cpu
from tfrecords.statistics import Statistics

try:  # XLA's own operations are no part of TensorFlow's public interface: a later version may not have them
    from tensorflow.compiler.tf2xla.python.xla import gather as xla_gather
    from tensorflow.compiler.xla.xla_data_pb2 import GatherDimensionNumbers
except ImportError:
    xla_gather = None

Crops: TypeAlias = Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor]
"""`crops_in_xla` or `crops_by_index`."""


class StoredPictures(NamedTuple):
    """N pictures as they are stored, and what is to be done with each."""

    pixels: tf.Tensor
    """uint8 (N, height, width, channels)."""
    draws: Draws

    @staticmethod
    def specs(batch_size: int, stored_shape: tuple[int, int, int]) -> "StoredPictures":
        """Types and shapes of a batch of pictures of such a height, width and channels."""

        def spec(dtype: tf.DType, *shape: int) -> tf.TensorSpec:
            return tf.TensorSpec((batch_size, *shape), dtype)

        return StoredPictures(
            pixels=spec(tf.uint8, *stored_shape),
            draws=Draws(
                offset=spec(tf.int32, 2), mirrored=spec(tf.bool), color_shift=spec(tf.float32, stored_shape[2]),
                noisy=spec(tf.bool),
            ),
        )  # fmt: skip


class PreparedPictures(NamedTuple):
    """N pictures as the network sees them."""

    images: tf.Tensor
    """float32 (N, size, size, channels)."""
    pixels: tf.Tensor
    """uint8 (N, height, width, channels), the same as they are stored; (0, ...) where nobody needs them."""


def prepare_training(
    pictures: StoredPictures, augment: Augmentation, statistics: Statistics, device: str | None
) -> tf.Tensor:
    """`training_images` for a device. On a CPU passes over memory are all that they cost, so XLA makes them one."""
    if on_cpu(device):
        return _compiled_training_images(pictures, augment, statistics, crops_in_xla)
    return training_images(pictures, augment, statistics, crops_by_index)


def training_images(pictures: StoredPictures, augment: Augmentation, statistics: Statistics, crops: Crops) -> tf.Tensor:
    """A batch of training images, each cropped, mirrored, minus the mean and with color noise, as drawn for it.

    Args:
      pictures: N of them.
      augment: the recipe.
      statistics: hold the mean image.
      crops: the function that crops.

    Returns:
      float32 (N, crop_size, crop_size, channels).
    """
    draws, size, mean = pictures.draws, augment.crop_size, _mean_image(augment, statistics)
    images = tf.cast(pictures.pixels, tf.float32)  # first, for not every GPU operation takes uint8
    if augment.mean == "center":  # the program mirrors first, and never mirrors the mean
        images = _mirrored_where(draws.mirrored, crops(images, draws.offset, size)) - center_crop(mean, size)
    else:
        around = [[0, 0], [augment.padding] * 2, [augment.padding] * 2, [0, 0]]
        padded = tf.pad(images - mean, around) if augment.padding else images - mean
        images = _mirrored_where(draws.mirrored, crops(padded, draws.offset, size))
    if augment.noise != "none":
        images += draws.color_shift[:, None, None]
        if augment.noise_divisor != 1.0:
            images *= tf.where(draws.noisy, 1.0 / augment.noise_divisor, 1.0)[:, None, None, None]
    return _divided(images, augment)


_compiled_training_images = tf.function(training_images, jit_compile=True, autograph=False)


def crops_in_xla(images: tf.Tensor, offset: tf.Tensor, size: int) -> tf.Tensor:
    """A crop of each image, in a function that XLA compiles: its own gather takes whole crops.

    A processor reads them in vectors. tf.gather finds the place of every single pixel, which takes twice as long; it is
    what a TensorFlow without XLA's operations falls back to, with the same result.

    Args:
      images: (N, height, width, channels).
      offset: int32 (N, 2), rows and columns above and to the left of each crop.
      size: of the crops.

    Returns:
      (N, size, size, channels).
    """
    if xla_gather is None:
        return crops_by_index(images, offset, size)
    corners = tf.concat([tf.range(images.shape[0])[:, None], offset], axis=1)  # (N, 3): image, row, column
    whole_crops = GatherDimensionNumbers(
        offset_dims=[1, 2, 3], collapsed_slice_dims=[0], start_index_map=[0, 1, 2], index_vector_dim=1
    )
    crops = xla_gather(images, corners, whole_crops, [1, size, size, images.shape[-1]])
    crops.set_shape((images.shape[0], size, size, images.shape[-1]))  # TensorFlow 2.15 does not work it out
    return crops


def crops_by_index(images: tf.Tensor, offset: tf.Tensor, size: int) -> tf.Tensor:
    """As `crops_in_xla`, by operations that every device has."""
    rows, columns = (offset[:, axis, None] + tf.range(size) for axis in (0, 1))  # (N, size)
    images = tf.gather(images, rows, axis=1, batch_dims=1)  # (N, size, width, channels)
    return tf.gather(images, columns, axis=2, batch_dims=1)  # (N, size, size, channels)


def _mirrored_where(mirrored: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    return tf.where(mirrored[:, None, None, None], tf.reverse(images, [2]), images)


def prepare_evaluation(
    pictures: tf.Tensor, views: int, augment: Augmentation, statistics: Statistics, device: str | None
) -> tf.Tensor:
    """`evaluation_views` for a device; on a CPU one pass over memory, like `prepare_training`."""
    return (_compiled_evaluation_views if on_cpu(device) else evaluation_views)(pictures, views, augment, statistics)


def evaluation_views(pictures: tf.Tensor, views: int, augment: Augmentation, statistics: Statistics) -> tf.Tensor:
    """The center crop, or the ten views: four corners and the center, and their mirror images (paper section 4.1).

    Args:
      pictures: (..., stored_size, stored_size, channels), uint8 or float32 on the 0-255 scale.
      views: 1 or 10; ten are fewer where `number_of_views` says so.
      augment: the recipe.
      statistics: of the training pictures.

    Returns:
      float32 (..., views, crop_size, crop_size, channels), minus the mean as the recipe subtracts it.
    """
    mean, size = _mean_image(augment, statistics), augment.crop_size
    crops = _crops(tf.cast(pictures, tf.float32), views, size)
    if augment.mean == "center":  # the program mirrors first, and never mirrors the mean
        means = mirrored_means = center_crop(mean, size)
    else:
        means = _crops(mean, views, size)
        mirrored_means = _mirrored(means)
    prepared = crops - means
    if views == 10 and augment.mirror:
        prepared = tf.concat([prepared, _mirrored(crops) - mirrored_means], axis=-4)
    return _divided(prepared, augment)


_compiled_evaluation_views = tf.function(evaluation_views, jit_compile=True, autograph=False)


def number_of_views(views: int, augment: Augmentation, stored_size: int) -> int:
    """How many views ten really are: five where nothing may be mirrored, and one crop where that is the picture."""
    crops = len(crop_offsets(views, stored_size, augment.crop_size))
    return 2 * crops if views == 10 and augment.mirror else crops


def center_crop(picture: tf.Tensor, size: int) -> tf.Tensor:
    """The central (..., size, size, channels) of (..., stored_size, stored_size, channels)."""
    [(y, x)] = crop_offsets(1, picture.shape[-2], size)
    return _crop(picture, y, x, size)


def crop_offsets(views: int, stored_size: int, size: int) -> list[tuple[int, int]]:
    """Rows above and columns to the left of the center crop, or of the corners' and the center's, in this order."""
    far = stored_size - size
    center = (far // 2, far // 2)
    return [center] if views == 1 or far == 0 else [(0, 0), (0, far), (far, 0), (far, far), center]


def _crops(pictures: tf.Tensor, views: int, size: int) -> tf.Tensor:
    """(..., stored_size, stored_size, channels) to (..., 1 or 5, size, size, channels)."""
    offsets = crop_offsets(views, pictures.shape[-2], size)
    return tf.stack([_crop(pictures, y, x, size) for y, x in offsets], axis=-4)


def _mirrored(crops: tf.Tensor) -> tf.Tensor:
    return tf.gather(crops, tf.range(crops.shape[-2] - 1, -1, -1), axis=-2)  # faster than [..., ::-1, :]


def _crop(picture: tf.Tensor, y: int, x: int, size: int) -> tf.Tensor:
    return picture[..., y : y + size, x : x + size, :]


def _mean_image(augment: Augmentation, statistics: Statistics) -> tf.Tensor:
    """What is subtracted, float32 (stored_size, stored_size, channels)."""
    mean = statistics.mean_image
    if augment.mean == "color":
        mean = np.broadcast_to(mean.mean(axis=(0, 1)), mean.shape)
    return tf.constant(mean, tf.float32)


def _divided(images: tf.Tensor, augment: Augmentation) -> tf.Tensor:
    if set(augment.color_divisors) == {1.0}:
        return images
    return images / tf.constant(augment.color_divisors, tf.float32)
