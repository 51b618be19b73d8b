"""The small net of CIFAR-10: its sizes, and its logits and gradients against PyTorch's layers."""

import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F

from alexnet_tf.networks.network import Network, named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.settings.config import parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from tests.closeness import WHOLE_NETWORK, assert_close

SHAPES = {"conv1": (5, 5, 3, 32), "conv2": (5, 5, 32, 32), "conv3": (5, 5, 32, 64), "fc4": (576, 10)}
"""layers-18pct.cfg, with 3x3 positions left of 24x24 pixels."""


def lively(*choices: str, dtype: type = np.float32) -> tuple[Network, dict[str, tf.Variable], np.ndarray]:
    """A net with weights under which every layer matters, its variables, and two images."""
    chosen = ["model.preset=cifar", *(f"model.{choice}" for choice in choices)]
    model = build_network(parse_config("", "test", chosen).preset.network, 10, Towers.unplaced())
    variables, draw = named_variables(model), np.random.default_rng(2)
    for variable in variables.values():
        shape = tuple(variable.shape)
        variable.assign(draw.normal(0, np.sqrt(2 / max(np.prod(shape[:-1]), 2)), shape))
    return model, variables, draw.normal(0, 3, (2, 24, 24, 3)).astype(dtype)


def test_sizes_and_initial_weights_are_those_of_its_source() -> None:
    variables = named_variables(build_network(PRESETS["cifar"].network, 10, Towers.unplaced()))
    assert {name.partition("/")[0]: tuple(v.shape) for name, v in variables.items() if "kernel" in name} == SHAPES
    assert sum(int(tf.size(variable)) for variable in variables.values()) == 85_098
    assert variables["conv1/kernel"].numpy().std() == pytest.approx(0.0001, rel=0.1)
    assert variables["conv3/kernel"].numpy().std() == pytest.approx(0.01, rel=0.1)


def test_normalized_logits_at_test() -> None:
    model, variables, images = lively()
    weights = {name: torch.from_numpy(variable.numpy()) for name, variable in variables.items()}
    assert_close(model(tf.constant(images)), theirs(images, weights, torch.relu, True), WHOLE_NETWORK)


@pytest.mark.usefixtures("float64")
def test_logits_and_all_gradients_with_tanh_and_without_normalization() -> None:
    model, variables, images = lively("activation=tanh", "normalization=none", dtype=np.float64)
    seed = tf.constant([1, 2])
    with tf.GradientTape() as tape:
        logits = model(tf.constant(images), dropout_seed=seed)
        loss = tf.reduce_sum(logits * tf.range(10, dtype=tf.float64))
    found = tape.gradient(loss, variables)

    own = {name: torch.from_numpy(variable.numpy()).requires_grad_() for name, variable in variables.items()}
    expected = theirs(images, own, torch.tanh, False)
    (expected * torch.arange(10)).sum().backward()
    assert_close(logits, expected.detach(), WHOLE_NETWORK, np.float64)
    assert_close(model(tf.constant(images)), expected.detach(), WHOLE_NETWORK, np.float64)
    for name, gradient in found.items():
        assert_close(gradient, own[name].grad, WHOLE_NETWORK, np.float64, name)


def theirs(images: np.ndarray, weights: dict[str, torch.Tensor], active: object, normalized: bool) -> torch.Tensor:
    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.conv2d(x, weights[f"{name}/kernel"].permute(3, 2, 0, 1), weights[f"{name}/bias"], padding=2)

    def norm(x: torch.Tensor) -> torch.Tensor:  # PyTorch divides alpha by the window
        return F.local_response_norm(x, 9, alpha=0.001, beta=0.75, k=1.0) if normalized else x

    def mean(x: torch.Tensor) -> torch.Tensor:  # a window that reaches beyond the edge counts what is inside
        return F.avg_pool2d(x, 3, 2, ceil_mode=True)

    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    x = norm(active(F.max_pool2d(conv(x, "conv1"), 3, 2, ceil_mode=True)))
    x = norm(mean(active(conv(x, "conv2"))))
    x = mean(active(conv(x, "conv3")))
    return x.permute(0, 2, 3, 1).flatten(1) @ weights["fc4/kernel"] + weights["fc4/bias"]
