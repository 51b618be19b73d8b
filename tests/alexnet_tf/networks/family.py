"""Networks of the family for tests: how many parameters they have, narrow ones, and weights that tell."""

from dataclasses import replace
from typing import Any

import numpy as np

from alexnet_tf.networks.network import Network, network_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import NetworkSettings
from alexnet_tf.towers import Towers
from tests.narrow_nets import make_narrow


def parameters(preset: str, classes: int, **choices: Any) -> tuple[int, int]:
    """Trained ones, and moving averages."""
    model = build_network(replace(PRESETS[preset].network, **choices), classes, Towers.unplaced())
    counts = [0, 0]
    for known in network_variables(model).values():
        counts[not known.trained] += known.variable.shape.num_elements()
    return counts[0], counts[1]


def narrow(preset: str, **choices: Any) -> NetworkSettings:
    presets = {preset: PRESETS[preset]}
    make_narrow(presets)
    return replace(presets[preset].network, **choices)


def lively(settings: NetworkSettings, classes: int) -> tuple[Network, dict[str, np.ndarray]]:
    """A network under whose weights every layer matters: no average, no scale and no bias is what it begins as."""
    model = build_network(settings, classes, Towers.unplaced(), seed=3)
    draw, values = np.random.default_rng(6), {}
    for name, known in network_variables(model).items():
        value = known.variable.numpy()
        if name.endswith(("gamma", "moving_variance")):
            value = draw.uniform(0.5, 1.5, value.shape).astype(np.float32)
        elif not name.endswith("kernel"):
            value = draw.normal(0, 0.5, value.shape).astype(np.float32)
        known.variable.assign(value)
        values[name] = value
    return model, values
