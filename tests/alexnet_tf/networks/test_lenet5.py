"""LeNet-5 against the numbers of the paper, its layers against sums written out, and real digits."""

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import train
from alexnet_tf.networks.lenet5 import C3_TABLE, Subsampling, TableConv2D, squash
from alexnet_tf.networks.network import network_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from tests.alexnet_tf.networks.family import assert_gradients, lively
from tests.alexnet_tf.networks.torch_family import lenet5
from tests.alexnet_tf.training.run_files import metrics
from tests.closeness import ONE_LAYER, assert_close
from tests.conftest import convert_folder

ROOT = Path(__file__).resolve().parents[3]
PARAMETERS = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "output": 850}
"""Section II.B, but for the output layer, which has none there."""


def parameters(**choices: str) -> dict[str, int]:
    model = build_network(replace(PRESETS["lenet5"].network, **choices), 10, Towers.unplaced())
    counts: dict[str, int] = {}
    for known in network_variables(model).values():
        counts[known.layer] = counts.get(known.layer, 0) + known.variable.shape.num_elements()
    return counts


def test_parameters_are_the_papers() -> None:
    assert parameters() == PARAMETERS
    assert sum(PARAMETERS.values()) == 60_850
    plain = {layer: count for layer, count in PARAMETERS.items() if layer not in ("s2", "s4")}
    assert parameters(activation="relu", pooling="max") == plain


def test_convolution_by_the_table_sees_what_the_table_says() -> None:
    layer = TableConv2D(C3_TABLE, 5, activation=squash, kernel_initializer="glorot_uniform", name="c3")
    inputs = tf.random.stateless_normal((2, 7, 6, 6), (1, 2))
    found = layer(inputs).numpy()
    kernel, bias = (np.asarray(value) for value in (layer.kernel, layer.bias))
    number = 0
    for own, maps in enumerate(C3_TABLE):
        sums = np.zeros((2, 3, 2))
        for seen in maps:
            for y, x in np.ndindex(3, 2):
                sums[:, y, x] += (inputs[:, y : y + 5, x : x + 5, seen] * kernel[..., number]).numpy().sum(axis=(1, 2))
            number += 1
        assert_close(found[..., own], 1.7159 * np.tanh((sums + bias[own]) * 2 / 3), ONE_LAYER)
    assert kernel.shape == (5, 5, number) == (5, 5, 60)


def test_subsampling_adds_four_and_has_a_coefficient_and_a_bias_for_each_map() -> None:
    layer = Subsampling(activation=squash, name="s2")
    inputs = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype(np.float32)
    layer(inputs)
    layer.coefficient.assign([0.25, 0.5, -1.0])
    layer.bias.assign([0.0, 1.0, 2.0])
    four = inputs.reshape(2, 2, 2, 3, 2, 3).sum(axis=(2, 4))
    expected = 1.7159 * np.tanh((four * [0.25, 0.5, -1.0] + [0.0, 1.0, 2.0]) * 2 / 3)
    assert_close(layer(inputs).numpy(), expected, ONE_LAYER)


@pytest.mark.usefixtures("float64")
def test_logits_and_gradients_are_pytorchs() -> None:
    model, values = lively(PRESETS["lenet5"].network, 10, np.float64)
    images = np.random.default_rng(1).normal(0, 1, (3, 26, 26, 1))
    assert_gradients(model, images, tf.constant([5, 6]), values, lambda weights: lenet5(images, weights, C3_TABLE))


@pytest.mark.slow
def test_learns_real_digits(real_data: Path, tmp_path: Path) -> None:
    """The whole of configs/lenet5_mnist.yaml: 1.7 % were measured; an error is counted in thousandths here."""
    with tarfile.open(real_data / "mnist_t10k.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    data = convert_folder(tmp_path, "--size=28", "--channels=1", "--encoding=raw")
    config = str(ROOT / "configs" / "lenet5_mnist.yaml")
    assert train.main(["--config", config, "--run", str(tmp_path / "run"), f"data.dir={data}"]) == 0
    assert min(line["top1_error"] for line in metrics(tmp_path / "run", "validation")) <= 0.02
