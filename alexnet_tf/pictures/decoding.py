"""Stored pictures to pixels, a batch at a time: libjpeg-turbo decodes each straight to its place in the batch.

simplejpeg's build of that library gives, bit for bit, what tf.io.decode_jpeg gives, in less time. It lets go of
Python's lock while it decodes, so that batches are decoded side by side.
"""

import functools
import math

import numpy as np
import simplejpeg
import tensorflow as tf

Shape = tuple[int, int, int]
decode_jpeg = functools.partial(simplejpeg.decode_jpeg, colorspace="RGB", fastdct=False, fastupsample=False)
"""A JPEG file's bytes to pixels, by libjpeg-turbo's exact methods."""
ALIGNMENT = 64
"""Bytes. TensorFlow takes an array over without a copy only where it begins at a multiple of this."""


def decode_pictures(encoded: tf.Tensor, encoding: str, shape: Shape) -> tf.Tensor:
    """Stored pictures, uint8 (N, *shape). For `Dataset.map`; cannot be exported.

    Args:
      encoded: string (N,), as the records hold them.
      encoding: the manifest's, "jpeg" or "raw".
      shape: the manifest's: height, width, and 1 or 3 channels.
    """
    if encoding == "jpeg":
        decode = functools.partial(_decode_jpegs, shape=shape)
        pictures = tf.numpy_function(decode, (encoded,), tf.uint8, stateful=False)
    else:
        pictures = tf.reshape(tf.io.decode_raw(encoded, tf.uint8), (-1, *shape))
    return tf.ensure_shape(pictures, (None, *shape))


def decode_picture(encoded: tf.Tensor, encoding: str, shape: Shape) -> tf.Tensor:
    """One stored picture, uint8 of that shape, by TensorFlow's own operations."""
    if encoding == "jpeg":
        picture = tf.io.decode_jpeg(encoded, channels=shape[2], dct_method="INTEGER_ACCURATE")
    else:
        picture = tf.reshape(tf.io.decode_raw(encoded, tf.uint8), shape)
    return tf.ensure_shape(picture, shape)


def _decode_jpegs(encoded: np.ndarray, shape: Shape) -> np.ndarray:
    size, colors = math.prod(shape), "RGB" if shape[2] == 3 else "GRAY"
    memory = np.empty(len(encoded) * size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    pictures = memory[start : start + len(encoded) * size].reshape(-1, *shape)
    for image, picture in zip(encoded, pictures, strict=True):
        decoded = decode_jpeg(image, colorspace=colors, buffer=picture)
        if decoded.shape != shape:
            raise ValueError(f"a stored picture is {decoded.shape}, not {shape}")
    return pictures
