"""Inception v1: parameters, operations, and logits, auxiliary outputs and gradients against PyTorch."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import torch

from alexnet_tf.networks.network import Network, network_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from alexnet_tf.training.step import TrainingStep
from benchmarks.flops import count_work
from tests.alexnet_tf.networks.family import lively, narrow
from tests.alexnet_tf.networks.torch_family import inception, weights_from
from tests.closeness import WHOLE_NETWORK, assert_close

CLASSES = 7
MODULES = ("3a", "3b", "4a", "4d", "5b")


@pytest.fixture(scope="module")
def whole() -> Iterator[Network]:
    yield build_network(PRESETS["inception-v1"].network, 1000, Towers.unplaced())


def pictures() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 60, (2, 224, 224, 3)).astype(np.float32)


def test_parameters_are_those_of_the_published_net(whole: Network) -> None:
    """bvlc_googlenet's; section 5 counts "about 5 million" and table 1 6.8 million, without biases."""
    counts: dict[bool, int] = {}
    for known in network_variables(whole).values():
        side = known.layer.startswith(("loss1", "loss2"))
        counts[side] = counts.get(side, 0) + known.variable.shape.num_elements()
    assert counts == {False: 6_998_552, True: 6_379_728}


def test_bottleneck_saves_nine_tenths_of_the_multiplications(whole: Network) -> None:
    """5x5 convolutions of 192 maps to 32 take 120 million; through 16 maps of a 1x1 convolution 12.4 million."""
    work = {layer.layer: layer for layer in count_work(whole)}
    reduce, conv = work["inception_3a_5x5_reduce"], work["inception_3a_5x5"]
    assert reduce.kernel == (1, 1, 192, 16) and conv.kernel == (5, 5, 16, 32) and conv.positions == 28 * 28
    directly = 5 * 5 * reduce.kernel[2] * conv.kernel[3] * conv.positions
    through = (reduce.forward + conv.forward) / 2
    assert round(directly / 1e6) == 120 and round(through / 1e6, 1) == 12.4
    # Table 1's operations of 3a are 128 million; a multiplication and the addition after it count as one there.
    module = sum(layer.forward for name, layer in work.items() if name.startswith("inception_3a"))
    assert round(module / 2 / 1e6) == 128


def test_logits_are_pytorchs() -> None:
    model, values = lively(narrow("inception-v1", modules=MODULES), CLASSES)
    with torch.inference_mode():
        theirs = inception(pictures(), weights_from(values), MODULES)["loss3"]
    assert_close(model(pictures()), theirs.numpy(), WHOLE_NETWORK)


@pytest.mark.slow
def test_losses_and_gradients_in_training_are_pytorchs(two_cpus: Towers) -> None:
    """A step of plain gradient descent, with dropout drawn by our layers, and both auxiliary losses at 0.3."""
    settings = narrow("inception-v1", modules=MODULES)
    preset = replace(PRESETS["inception-v1"], network=settings)
    preset = replace(preset, train=replace(preset.train, weight_decay=0.0))
    step = TrainingStep(preset, CLASSES, two_cpus, 0)
    _, values = lively(settings, CLASSES)
    for name, variable in step.variables.items():
        variable.assign(values[name])
    labels = np.array([2, 5])
    arguments = (tf.constant(pictures()), tf.constant(labels), 3)
    figures = step.workers.read_figures(step(*arguments, dict.fromkeys(step.optimizer.variables, 1.0)), None)

    seed = tf.constant([step.dropout_seed, 3])
    drops = {name: side.dropout for name, side in step.model.side_outputs.items()} | {"loss3": step.model.dropout}
    units = {"loss1": settings.widths.side_fc, "loss2": settings.widths.side_fc, "loss3": model_maps(settings)}
    masks = {name: torch.from_numpy(drop(tf.ones((2, units[name])), seed=seed).numpy()) for name, drop in drops.items()}
    weights = weights_from(values)
    logits = inception(pictures(), weights, MODULES, masks)
    losses = {name: torch.nn.functional.cross_entropy(its, torch.from_numpy(labels)) for name, its in logits.items()}
    (losses["loss3"] + 0.3 * (losses["loss1"] + losses["loss2"])).backward()
    assert figures["loss"] == pytest.approx(losses["loss3"].item(), rel=1e-4)
    assert figures["loss1_loss"] == pytest.approx(losses["loss1"].item(), rel=1e-4)
    assert figures["loss2_loss"] == pytest.approx(losses["loss2"].item(), rel=1e-4)
    for name in step.optimizer.variables:
        gradient = -step.optimizer.slots["velocities"][name].numpy()
        assert_close(gradient, weights[name].grad.numpy(), 16 * WHOLE_NETWORK, name=name)


def model_maps(settings: object) -> int:
    """Maps of the last module: those of its four ways."""
    one, _, three, _, five, pool = settings.widths.inception_5b
    return one + three + five + pool
