"""Stored pictures to pixels, a batch at a time: libjpeg-turbo decodes each straight to its place in the batch.

simplejpeg's build of that library gives, bit for bit, what tf.io.decode_jpeg gives, in less time. It lets go of
Python's lock while it decodes, so that batches are decoded side by side.
"""

import functools

import numpy as np
import simplejpeg
import tensorflow as tf

from alexnet_tf.settings.presets import STORED_SIZE

SHAPE = (STORED_SIZE, STORED_SIZE, 3)
decode_jpeg = functools.partial(simplejpeg.decode_jpeg, colorspace="RGB", fastdct=False, fastupsample=False)
"""A JPEG file's bytes to pixels, by libjpeg-turbo's exact methods."""
ALIGNMENT = 64
"""Bytes. TensorFlow takes an array over without a copy only where it begins at a multiple of this."""


def decode_pictures(encoded: tf.Tensor, encoding: str) -> tf.Tensor:
    """Stored pictures, uint8 (N, 256, 256, 3). For `Dataset.map`; cannot be exported.

    Args:
      encoded: string (N,), as the records hold them.
      encoding: the manifest's, "jpeg" or "raw".
    """
    if encoding == "jpeg":
        pictures = tf.numpy_function(_decode_jpegs, (encoded,), tf.uint8, stateful=False)
    else:
        pictures = tf.reshape(tf.io.decode_raw(encoded, tf.uint8), (-1, *SHAPE))
    return tf.ensure_shape(pictures, (None, *SHAPE))


def decode_picture(encoded: tf.Tensor, encoding: str) -> tf.Tensor:
    """One stored picture, uint8 (256, 256, 3), by TensorFlow's own operations."""
    if encoding == "jpeg":
        picture = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    else:
        picture = tf.reshape(tf.io.decode_raw(encoded, tf.uint8), SHAPE)
    return tf.ensure_shape(picture, SHAPE)


def _decode_jpegs(encoded: np.ndarray) -> np.ndarray:
    size = STORED_SIZE**2 * 3
    memory = np.empty(len(encoded) * size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    pictures = memory[start : start + len(encoded) * size].reshape(-1, *SHAPE)
    for image, picture in zip(encoded, pictures, strict=True):
        decoded = decode_jpeg(image, buffer=picture)
        if decoded.shape != SHAPE:
            raise ValueError(f"a stored picture is {decoded.shape}, not {SHAPE}")
    return pictures
