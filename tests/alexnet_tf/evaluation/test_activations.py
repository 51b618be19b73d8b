"""Grad-CAM and feature maps against PyTorch, which takes its gradients by itself."""

import numpy as np
import pytest
import tensorflow as tf
import torch

from alexnet_tf.evaluation.activations import convolution_outputs, grad_cam
from alexnet_tf.networks.network import named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from tests.alexnet_tf.networks import torch_alexnet
from tests.closeness import WHOLE_NETWORK, assert_close


def test_two_towers_against_pytorch(small_net: None, two_cpus: Towers, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_network(PRESETS["2012-code"].network, 5, two_cpus, seed=2)
    variables = named_variables(model)
    for name, variable in variables.items():  # so that every layer has a say
        if name.endswith("/kernel"):
            variable.assign(variable * np.sqrt(2 / np.prod(variable.shape[:-1])) / np.std(variable))
    images = np.random.default_rng(0).normal(0, 60, (2, 224, 224, 3)).astype(np.float32)
    outputs, _ = convolution_outputs(model, tf.constant(images))
    heat, labels = grad_cam(model, tf.constant(images))

    kept: dict[str, torch.Tensor] = {}
    convolve = torch_alexnet._conv

    def keeping(x: torch.Tensor, weights: torch_alexnet.Weights, name: str, **options: int) -> torch.Tensor:
        kept[name] = convolve(x, weights, name, **options)
        return kept[name]

    def back(x: torch.Tensor, weights: torch_alexnet.Weights, variant: object, tower: str) -> torch.Tensor:
        """As torch_alexnet has it, with the last maps kept behind their ReLU."""
        for layer in ("conv3", "conv4", "conv5"):
            x = torch.relu(keeping(x, weights, f"{layer}_{tower}", stride=1, padding=1))
        x.retain_grad()
        kept[tower] = x
        return torch.nn.functional.max_pool2d(x, 3, 2).permute(0, 2, 3, 1).flatten(1)

    monkeypatch.setattr(torch_alexnet, "_conv", keeping)
    monkeypatch.setattr(torch_alexnet, "_back", back)
    weights = torch_alexnet.weights_from({name: variable.numpy() for name, variable in variables.items()})
    logits = torch_alexnet.logits(images, weights, torch_alexnet.PROGRAM)
    np.testing.assert_array_equal(labels, logits.detach().argmax(dim=1))
    logits.max(dim=1).values.sum().backward()
    maps = torch.cat([kept["a"], kept["b"]], 1)
    slopes = torch.cat([kept[tower].grad for tower in "ab"], 1)
    expected = torch.relu((slopes.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)).detach().numpy()
    assert expected.max() > 0
    assert_close(heat, expected, WHOLE_NETWORK)
    for layer in ("conv1", "conv2", "conv3"):
        for tower, of_tower in zip("ab", outputs[layer], strict=True):
            theirs = kept[f"{layer}_{tower}"].detach().permute(0, 2, 3, 1).numpy()
            theirs = np.maximum(theirs, 0) if layer == "conv3" else theirs  # the others are rectified later
            assert_close(of_tower, theirs, WHOLE_NETWORK, name=layer)
