"""VGG: parameters, and its logits and gradients against PyTorch."""

import numpy as np
import pytest
import tensorflow as tf
import torch

from tests.alexnet_tf.networks.family import assert_gradients, lively, narrow, parameters
from tests.alexnet_tf.networks.torch_family import vgg, weights_from
from tests.closeness import WHOLE_NETWORK, assert_close


def test_layers_are_those_of_configuration_d() -> None:
    layers = [f"block{block}_conv{number}" for block in (1, 2) for number in (1, 2)]
    layers += [f"block{block}_conv{number}" for block in (3, 4, 5) for number in (1, 2, 3)]
    assert narrow("vgg16", blocks=(2, 2, 3, 3, 3)).layers == (*layers, "fc1", "fc2", "predictions")


def test_parameters_are_the_published_nets() -> None:
    assert parameters("vgg16", 1000) == (138_357_544, 0)


def test_logits_are_pytorchs() -> None:
    settings = narrow("vgg16", blocks=(2, 1, 2, 1, 1))
    model, values = lively(settings, 7)
    images = np.random.default_rng(1).normal(0, 60, (2, *settings.picture_shape)).astype(np.float32)
    with torch.inference_mode():
        assert_close(model(images), vgg(images, weights_from(values), (2, 1, 2, 1, 1)).numpy(), WHOLE_NETWORK)


@pytest.mark.usefixtures("float64")
def test_gradients_in_training_are_pytorchs() -> None:
    """With the dropout that our layers draw."""
    blocks = (1, 1, 1, 1, 1)
    settings = narrow("vgg16", blocks=blocks, image_size=32)
    model, values = lively(settings, 7, np.float64)
    images = np.random.default_rng(1).normal(0, 60, (3, 32, 32, 3))
    seed = tf.constant([5, 6])
    units = (settings.widths.fc1, settings.widths.fc2)
    masks = [torch.from_numpy(drop(tf.ones((3, count), tf.float64), seed=seed).numpy())
             for drop, count in zip((model.dropout1, model.dropout2), units, strict=True)]  # fmt: skip
    assert all(set(mask.unique().tolist()) == {0.0, 2.0} for mask in masks)
    assert_gradients(model, images, seed, values, lambda weights: vgg(images, weights, blocks, masks))
