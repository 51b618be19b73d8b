"""Networks of the family for tests: how many parameters they have, narrow ones, and weights that tell."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
import torch

from alexnet_tf.networks.network import Network, named_variables, network_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import NetworkSettings
from alexnet_tf.towers import Towers
from tests.alexnet_tf.networks.torch_family import Weights, weights_from
from tests.closeness import WHOLE_NETWORK, assert_close
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


def lively(
    settings: NetworkSettings, classes: int, dtype: type[np.floating] = np.float32
) -> tuple[Network, dict[str, np.ndarray]]:
    """A network under whose weights every layer matters: no average, no scale and no bias is what it begins as."""
    model = build_network(settings, classes, Towers.unplaced(), seed=3)
    draw, values = np.random.default_rng(6), {}
    for name, known in network_variables(model).items():
        value = known.variable.numpy()
        if name.endswith(("gamma", "moving_variance")):
            value = draw.uniform(0.5, 1.5, value.shape).astype(dtype)
        elif not name.endswith("kernel"):
            value = draw.normal(0, 0.5, value.shape).astype(dtype)
        known.variable.assign(value)
        values[name] = value
    return model, values


def assert_gradients(
    model: Network, images: np.ndarray, seed: tf.Tensor, values: dict[str, np.ndarray],
    theirs: Callable[[Weights], torch.Tensor],
) -> None:  # fmt: skip
    """In float64, of a weighted sum of the logits in training; and the logits themselves."""
    with tf.GradientTape() as tape:
        logits = model(tf.constant(images), dropout_seed=seed)
        loss = tf.reduce_sum(logits * tf.range(logits.shape[1], dtype=tf.float64))
    found = tape.gradient(loss, named_variables(model))
    weights = weights_from(values)
    expected = theirs(weights)
    (expected * torch.arange(expected.shape[1])).sum().backward()
    assert_close(logits, expected.detach(), WHOLE_NETWORK, np.float64)
    for name, gradient in found.items():
        assert_close(gradient, weights[name].grad, WHOLE_NETWORK, np.float64, name)
