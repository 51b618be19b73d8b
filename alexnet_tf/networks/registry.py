"""Which class builds a preset's network; loaded when it is asked for."""

import importlib

from alexnet_tf.networks.network import AlexNet
from alexnet_tf.settings.presets import Network, OneTowerNetwork, Precision
from alexnet_tf.towers import Towers

NETWORKS = {
    "alexnet": "alexnet_tf.networks.alexnet:TwoTowerAlexNet",
    "caffe": "alexnet_tf.networks.caffe:CaffeAlexNet",
    "torchvision": "alexnet_tf.networks.torchvision:OneTowerAlexNet",
}
"""By `kind` of the preset's network: "module:Class", a subclass of AlexNet."""


def build_alexnet(
    network: Network | OneTowerNetwork,
    num_classes: int,
    towers: Towers,
    seed: int = 0,
    precision: Precision = "float32",
) -> AlexNet:
    """The preset's network with its variables made, each on its tower's device. Arguments as for `AlexNet`."""
    module, _, name = NETWORKS[network.kind].partition(":")
    model: AlexNet = getattr(importlib.import_module(module), name)(network, num_classes, towers, seed, precision)
    model.build((None, network.image_size, network.image_size, 3))
    return model
