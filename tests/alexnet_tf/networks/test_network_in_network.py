"""Network in Network: parameters, and its logits against PyTorch."""

import numpy as np
import torch

from tests.alexnet_tf.networks.family import lively, narrow, parameters
from tests.alexnet_tf.networks.torch_family import network_in_network, weights_from
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
