"""A picture of any size, brought to the size of the stored ones in TensorFlow's graph, as the converter does it."""

import tensorflow as tf

from alexnet_tf.settings.presets import STORED_SIZE


def picture_from_file(encoded: tf.Tensor) -> tf.Tensor:
    """Any picture file's bytes, brought to the size of the stored ones; EXIF orientation is not applied.

    Args:
      encoded: scalar string, a JPEG, PNG or one-frame GIF file of any size.

    Returns:
      float32 (256, 256, 3), whole numbers from 0 to 255.
    """
    # decode_jpeg takes PNG and GIF as well, and unlike decode_image lets the exact transform be asked for.
    return picture_from_pixels(tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"))


def picture_from_pixels(picture: tf.Tensor) -> tf.Tensor:
    """A picture of any size, brought to the size of the stored ones as the converter does it (paper section 2).

    Shorter side to 256 by antialiased bicubic resizing, then the central square. Equal to tfrecords.pictures within a
    rounding, for its resizer rounds between two passes; without the records' JPEG coding.

    Args:
      picture: (height, width, 3), uint8 or float32 on the 0-255 scale.

    Returns:
      float32 (256, 256, 3), whole numbers from 0 to 255.
    """
    size = tf.cast(tf.shape(picture)[:2], tf.float64)
    target = tf.cast(tf.round(size * (STORED_SIZE / tf.reduce_min(size))), tf.int32)
    resized = tf.image.resize(picture, target, "bicubic", antialias=True)
    corner = (target - STORED_SIZE) // 2
    square = tf.slice(resized, [corner[0], corner[1], 0], [STORED_SIZE, STORED_SIZE, 3])
    return tf.clip_by_value(tf.round(square), 0.0, 255.0)
