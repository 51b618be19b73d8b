"""Network in Network: parameters, and its logits and gradients against PyTorch."""

import numpy as np
import pytest
import tensorflow as tf
import torch

from tests.alexnet_tf.networks.family import assert_gradients, lively, narrow, parameters
from tests.alexnet_tf.networks.torch_family import network_in_network, planes, weights_from
from tests.closeness import WHOLE_NETWORK, assert_close


def test_parameters_are_those_of_its_authors_program() -> None:
    products = 25 * (3 * 192 + 96 * 192) + 192 * 160 + 160 * 96 + 3 * 192 * 192 + 9 * 192 * 192 + 192 * 10
    biases = 6 * 192 + 160 + 96 + 10
    assert parameters("nin-cifar", 10) == (products + biases, 0) == (966_986, 0)


def test_logits_are_pytorchs() -> None:
    settings = narrow("nin-cifar")
    model, values = lively(settings, 7)
    images = np.random.default_rng(1).normal(0, 1, (2, *settings.picture_shape)).astype(np.float32)
    with torch.inference_mode():
        assert_close(model(images), network_in_network(images, weights_from(values)).numpy(), WHOLE_NETWORK)


@pytest.mark.usefixtures("float64")
def test_gradients_in_training_are_pytorchs() -> None:
    """With the dropout that our layers draw."""
    settings = narrow("nin-cifar")
    model, values = lively(settings, 7, np.float64)
    images = np.random.default_rng(1).normal(0, 1, (3, 32, 32, 3))
    seed = tf.constant([5, 6])
    shapes = ((3, 16, 16, settings.widths.cccp2), (3, 8, 8, settings.widths.cccp4))
    masks = [planes(drop(tf.ones(shape, tf.float64), seed=seed).numpy())
             for drop, shape in zip((model.dropout1, model.dropout2), shapes, strict=True)]  # fmt: skip
    assert all(set(mask.unique().tolist()) == {0.0, 2.0} for mask in masks)
    assert_gradients(model, images, seed, values, lambda weights: network_in_network(images, weights, masks))
