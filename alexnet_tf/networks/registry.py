"""Builds a preset's network: by the class that its settings name, which is imported when it is needed."""

import importlib
import os

import tensorflow as tf

from alexnet_tf.networks.network import Network
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.recipe import NetworkSettings, Precision
from alexnet_tf.towers import Towers

ONEDNN_LIMIT = "ONEDNN_MAX_CPU_ISA"
"""The variable that tells oneDNN of which processor's instructions to make use at most."""


def build_network(
    settings: NetworkSettings,
    num_classes: int,
    towers: Towers,
    seed: int = 0,
    precision: Precision = "float32",
) -> Network:
    """The preset's network with its variables made, each on its tower's device.

    Args:
      settings: of the preset, `presets.PRESETS[name].network`.
      num_classes: how many classes the logits tell apart.
      towers: the two devices.
      seed: of the initial weights.
      precision: "bfloat16" computes in bfloat16, with weights and logits in float32 all the same.

    Raises:
      UserError: the processor's library of convolutions was told to leave bfloat16 alone.
    """
    module, _, name = settings.network_class.partition(":")
    model: Network = getattr(importlib.import_module(module), name)(settings, num_classes, towers, seed, precision)
    try:
        model.build((None, *settings.picture_shape))
    except tf.errors.AbortedError as fault:  # TensorFlow asks the processor what it can do, oneDNN this variable, too
        if precision == "float32":
            raise
        limit = os.environ.get(ONEDNN_LIMIT)
        allowed = f", which {ONEDNN_LIMIT}={limit} forbids it: unset that variable, or" if limit else ":"
        raise UserError(
            f"train.precision={precision} needs convolutions of the library oneDNN{allowed} set train.precision=float32"
        ) from fault
    return model
