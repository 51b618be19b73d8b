"""A picture of any size, brought to the size of the stored ones in TensorFlow's graph, as the converter does it."""

import tensorflow as tf

LUMINANCE = (19595 / 2**16, 38470 / 2**16, 7471 / 2**16)
"""What red, green and blue count in gray: ITU-R BT.601 in the fractions of Pillow, which the converter uses."""


def picture_from_file(encoded: tf.Tensor, stored_shape: tuple[int, int, int]) -> tf.Tensor:
    """Any picture file's bytes, brought to the size and colors of the stored ones; EXIF orientation is not applied.

    Args:
      encoded: scalar string, a JPEG, PNG or one-frame GIF file of any size.
      stored_shape: height, width and channels (1 or 3) of the stored ones.

    Returns:
      float32 of that shape, whole numbers from 0 to 255.
    """
    # decode_jpeg takes PNG and GIF as well, and unlike decode_image lets the exact transform be asked for.
    return picture_from_pixels(tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"), stored_shape)


def picture_from_pixels(picture: tf.Tensor, stored_shape: tuple[int, int, int]) -> tf.Tensor:
    """A picture of any size, brought to the size of the stored ones as the converter does it (paper section 2).

    Shorter side to theirs by antialiased bicubic resizing, then the central square. Equal to tfrecords.pictures within
    a rounding, for its resizer rounds between two passes; without the records' JPEG coding.

    Args:
      picture: (height, width, 3), uint8 or float32 on the 0-255 scale.
      stored_shape: height, width and channels (1 or 3) of the stored ones; gray is made last, as by the converter.

    Returns:
      float32 of that shape, whole numbers from 0 to 255.
    """
    side, _, channels = stored_shape
    size = tf.cast(tf.shape(picture)[:2], tf.float64)
    target = tf.cast(tf.round(size * (side / tf.reduce_min(size))), tf.int32)
    resized = tf.image.resize(picture, target, "bicubic", antialias=True)
    corner = (target - side) // 2
    square = tf.slice(resized, [corner[0], corner[1], 0], [side, side, 3])
    colored = tf.clip_by_value(tf.round(square), 0.0, 255.0)
    return colored if channels == 3 else tf.round(tf.reduce_sum(colored * LUMINANCE, axis=-1, keepdims=True))
