"""Residual and plain nets: parameters, against PyTorch and keras.applications, and their moving averages."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import torch

from alexnet_tf.settings.config import parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from alexnet_tf.training.step import TrainingStep
from tests.alexnet_tf.networks.family import lively, narrow, parameters
from tests.alexnet_tf.networks.torch_family import Resnet, weights_from
from tests.closeness import WHOLE_NETWORK, assert_close

CLASSES = 7


def test_parameters_on_cifar_are_the_papers() -> None:
    """Table 6 has 0.27 million."""
    assert parameters("resnet-cifar", 10) == parameters("resnet-cifar", 10, kind="plain") == (269_722, 1_376)


@pytest.mark.slow
def test_parameters_are_the_papers() -> None:
    """Table 6 has 0.85 million with 56 layers; the counts for ImageNet are torchvision's."""
    assert parameters("resnet-cifar", 10, depth=56) == (853_018, 4_064)
    assert parameters("resnet50", 1000) == (25_557_032, 53_120)
    assert parameters("resnet34", 1000)[0] == 21_797_672
    projections = 64 * 128 + 128 * 256 + 256 * 512 + 2 * (128 + 256 + 512)
    assert parameters("resnet34", 1000, kind="plain")[0] == 21_797_672 - projections


def test_depth_counts_layers_with_weights() -> None:
    for depth in (20, 32, 44, 56, 110):
        network = parse_config("", "test", ["model.preset=resnet-cifar", f"model.depth={depth}"]).preset.network
        convolutions = [layer for layer in network.layers if layer.endswith("_conv")]
        assert len(convolutions) + 1 == depth
    for preset, depth in (("resnet34", 34), ("resnet50", 50)):
        layers = PRESETS[preset].network.layers
        assert len([layer for layer in layers if layer.endswith("_conv") and "_0_" not in layer]) + 1 == depth


NETS = {
    "cifar": (narrow("resnet-cifar", depth=20), lambda net, x: net.cifar(x, 3)),
    "plain cifar": (narrow("resnet-cifar", kind="plain"), lambda net, x: net.cifar(x, 1)),
    "bottleneck": (narrow("resnet50", blocks=(2, 1, 2, 1)), lambda net, x: net.imagenet(x, (2, 1, 2, 1), True)),
    "34 layers": (narrow("resnet34", blocks=(1, 2, 1, 1)), lambda net, x: net.imagenet(x, (1, 2, 1, 1), False)),
}


@pytest.mark.parametrize("name", NETS)
def test_logits_are_pytorchs(name: str) -> None:
    settings, forward = NETS[name]
    model, values = lively(settings, CLASSES)
    images = np.random.default_rng(1).normal(0, 60, (2, *settings.picture_shape)).astype(np.float32)
    theirs = Resnet(weights_from(values), training=False, residual="plain" not in name)
    with torch.inference_mode():
        assert_close(model(images), forward(theirs, images).numpy(), WHOLE_NETWORK)


def test_gradients_and_moving_averages_are_pytorchs(two_cpus: Towers) -> None:
    """Of a training step over a batch, by plain gradient descent."""
    preset = replace(PRESETS["resnet-cifar"], network=NETS["cifar"][0])
    preset = replace(preset, train=replace(preset.train, weight_decay=0.0))
    step = TrainingStep(preset, CLASSES, two_cpus, 0)
    _, values = lively(preset.network, CLASSES)
    for name, variable in step.variables.items():
        variable.assign(values[name])
    images = np.random.default_rng(1).normal(0, 60, (6, 32, 32, 3)).astype(np.float32)
    labels = np.arange(6)
    figures = step(tf.constant(images), tf.constant(labels), 0, dict.fromkeys(step.optimizer.variables, 1.0))
    net = Resnet(weights_from(values), training=True)
    loss = torch.nn.functional.cross_entropy(net.cifar(images, 3), torch.from_numpy(labels))
    loss.backward()
    found = step.workers.read_figures(figures, None)
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-4)
    for name, known in step.known.items():
        if known.trained:
            gradient = -step.optimizer.slots["velocities"][name].numpy()  # of the first step, at a rate of 1
            assert_close(gradient, net.weights[name].grad.numpy(), 16 * WHOLE_NETWORK, name=name)
        else:
            assert_close(known.variable, net.moving[name].numpy(), WHOLE_NETWORK, name=name)


@pytest.mark.slow
def test_in_bfloat16_the_loss_is_nearly_the_same(two_cpus: Towers) -> None:
    images = np.random.default_rng(1).normal(0, 60, (4, 32, 32, 3)).astype(np.float32)
    losses = []
    for precision in ("float32", "bfloat16"):
        preset = replace(PRESETS["resnet-cifar"], network=NETS["plain cifar"][0])
        step = TrainingStep(replace(preset, train=replace(preset.train, precision=precision)), CLASSES, two_cpus, 0)
        figures = step(
            tf.constant(images), tf.range(4, dtype=tf.int64), 0, dict.fromkeys(step.optimizer.variables, 0.1)
        )
        losses.append(step.workers.read_figures(figures, None)["loss"])
        assert all(variable.dtype == tf.float32 for variable in step.variables.values()) and step.weights_are_finite()
    assert losses[1] == pytest.approx(losses[0], rel=0.03)  # eight bits, through eight layers
