"""The spread of initial weights of AlexNet's relatives; AlexNet's own are in test_model.py."""

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest

from alexnet_tf.networks.network import named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.towers import Towers
from tests.alexnet_tf.networks.family import narrow

Spread = Callable[[str, float, float], float]


def he(name: str, inputs: float, outputs: float) -> float:
    return sqrt(2 / inputs)


def glorot(name: str, inputs: float, outputs: float) -> float:
    return sqrt(2 / (inputs + outputs))


def caffes_xavier(name: str, inputs: float, outputs: float) -> float:
    return sqrt(1 / inputs)


def lecun(name: str, inputs: float, outputs: float) -> float:
    """A map of C3 sees four maps of S2 on an average; its kernels are kept one beside the other."""
    return sqrt(1 / (4 * 25 if name == "c3" else inputs))


EXPECTED: dict[str, tuple[Spread, bool]] = {
    "lenet5": (lecun, True), "vgg16": (glorot, True), "inception-v1": (caffes_xavier, True), "resnet50": (he, False),
    "resnet34": (he, False), "resnet-cifar": (he, False), "nin-cifar": (lambda *_: 3 * 0.05, False),
}  # fmt: skip
"""The standard deviation, and whether the draws are uniform. Narrow nets have three times a preset's deviation."""


@pytest.mark.parametrize("preset", EXPECTED)
def test_kernels_and_biases_begin_as_their_source_says(preset: str) -> None:
    spread, uniform = EXPECTED[preset]
    model = build_network(narrow(preset), 10, Towers.unplaced(), seed=1)
    for name, variable in named_variables(model).items():
        layer, kind = name.split("/")
        value = variable.numpy()
        if kind == "bias":
            begin = 0.2 if preset == "inception-v1" and not layer.endswith("classifier") else 0.0
            assert (value == np.float32(begin)).all(), name
        if kind != "kernel":
            continue
        field = np.prod(value.shape[:-2])
        expected = spread(layer, field * value.shape[-2], field * value.shape[-1])
        off = 5 / sqrt(2 * value.size)  # five standard errors of a normal one's
        assert value.std() == pytest.approx(expected, rel=off), name
        assert abs(value.mean()) <= 5 * expected / sqrt(value.size), name
        most = np.abs(value).max()
        assert most <= sqrt(3) * expected * 1.0001 if uniform else most > sqrt(3) * expected, name
