"""What bfloat16 costs on this machine, measured before the first step.

Processors with AVX512-BF16 or AMX, and GPUs, multiply bfloat16 faster than float32. All others imitate it, many times
slower, and nobody wants to find that out after an hour.
"""

import statistics
import time

import tensorflow as tf

from alexnet_tf.settings.recipe import Precision
from alexnet_tf.towers import Towers, on_cpu

PICTURES, SIDE, CHANNELS, FILTERS = 8, 13, 192, 128
"""A small batch through conv5 of one tower (paper, section 3.5): 6 billion operations with its gradients."""
ROUNDS = 3
WORTH_A_WORD = 1.25
"""Times as slow as float32: less is within what a busy machine makes of two equal ones."""


def precision_advice(precision: Precision, towers: Towers) -> str | None:
    """A warning if steps in bfloat16 will be slower than in float32, with the factor measured on one layer.

    A library that refuses it was told of before, when the network was built: see `networks.registry`.
    """
    if precision != "bfloat16" or not on_cpu(towers.a):
        return None
    factor = _seconds(tf.bfloat16, towers.a) / _seconds(tf.float32, towers.a)
    if factor < WORTH_A_WORD:
        return None
    return (
        f"warning: train.precision=bfloat16 takes {factor:.1f} times as long as float32 here (measured on one "
        "convolution with its gradients), as on every processor without instructions for it; train.precision=float32 "
        "is faster, and more precise"
    )


def _seconds(dtype: tf.DType, device: str | None) -> float:
    """A forward and backward pass of one convolution: the median of some."""
    with tf.device(device):
        pictures = tf.ones((PICTURES, SIDE, SIDE, CHANNELS), dtype)
        kernel = tf.ones((3, 3, CHANNELS, FILTERS), dtype)
    taken = [_timed(pictures, kernel, device) for _ in range(1 + ROUNDS)]
    return statistics.median(taken[1:])  # the first one builds the kernels


def _timed(pictures: tf.Tensor, kernel: tf.Tensor, device: str | None) -> float:
    begin = time.perf_counter()
    with tf.device(device), tf.GradientTape() as tape:
        tape.watch([pictures, kernel])
        maps = tf.nn.conv2d(pictures, kernel, 1, "SAME")
        total = tf.reduce_sum(maps)
    for gradient in tape.gradient(total, [pictures, kernel]):
        gradient[..., 0].numpy()  # waits for it
    return time.perf_counter() - begin
