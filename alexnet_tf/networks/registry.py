"""Builds a preset's network: by the class that its settings name, which is imported when it is needed."""

import importlib

from alexnet_tf.networks.network import Network
from alexnet_tf.settings.recipe import NetworkSettings, Precision
from alexnet_tf.towers import Towers


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
    """
    module, _, name = settings.network_class.partition(":")
    model: Network = getattr(importlib.import_module(module), name)(settings, num_classes, towers, seed, precision)
    model.build((None, *settings.picture_shape))
    return model
