"""Dropout as in 2012, and as in Caffe and PyTorch, with masks that are drawn from a seed alone."""

import zlib
from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.networks.layers import Placed


def dropout_layer(scaled: str, rate: float, **kwargs: Any) -> "Dropout2012":
    """The layer for a network's setting `dropout`: "scaled at test" or "scaled in training"."""
    return (InvertedDropout if scaled == "scaled in training" else Dropout2012)(rate, **kwargs)


class Dropout2012(Placed, keras.layers.Layer):
    """Dropout as in 2012: a plain 0/1 mask in training, outputs times (1 - rate) at test time (paper section 4.2).

    Keras' own dropout scales up in training instead: equal in expectation, but with other gradients at the
    paper's initialization. The mask is a function of the seed and the layer's name alone, so a resumed run draws what
    the undisturbed run would have drawn.

    Args of call: inputs of any shape; seed, int32 (2,), or None at test time; training, as Keras tells it: without a
    seed, the global generator draws the mask (`keras.utils.set_random_seed`).
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, inputs: tf.Tensor, seed: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        with tf.device(self.device):
            if not self.rate:
                return inputs
            if seed is None and training:
                seed = drawn_seed()
            if seed is None:
                return inputs * (1.0 - self.rate)
            own_seed = tf.random.experimental.stateless_fold_in(seed, zlib.crc32(self.name.encode()) % 2**31)
            draw = tf.random.stateless_uniform(tf.shape(inputs), own_seed)
            return tf.where(draw >= self.rate, inputs, tf.zeros((), inputs.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


class InvertedDropout(Dropout2012):
    """Dropout as in Caffe and PyTorch: kept values are divided by (1 - rate), and nothing is done at test time."""

    def call(self, inputs: tf.Tensor, seed: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        if seed is None and not training:
            return inputs
        with tf.device(self.device):
            return super().call(inputs, seed, training) / (1.0 - self.rate)


def drawn_seed() -> tf.Tensor:
    """A seed of dropout, int32 (2,), that the global generator draws, for calls without one."""
    return tf.random.uniform((2,), maxval=2**31 - 1, dtype=tf.int32)
