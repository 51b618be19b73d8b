"""Whether bfloat16 can be tried here."""

import functools
import os

import pytest
import tensorflow as tf


def skip_without_bfloat16() -> None:
    """Skips where oneDNN was told to know less of this processor than TensorFlow does.

    TensorFlow has convolutions of its own for processors on which oneDNN has none, but asks the processor alone, and
    not ONEDNN_MAX_CPU_ISA.
    """
    if not _convolves():
        pytest.skip(f"NO BFLOAT16: oneDNN refuses it with ONEDNN_MAX_CPU_ISA={os.environ.get('ONEDNN_MAX_CPU_ISA')}")


@functools.cache
def _convolves() -> bool:
    try:
        tf.nn.conv2d(tf.zeros((1, 8, 8, 3), tf.bfloat16), tf.zeros((3, 3, 3, 4), tf.bfloat16), 1, "SAME")
    except tf.errors.AbortedError:
        return False
    return True
