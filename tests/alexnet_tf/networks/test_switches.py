"""What a config may choose of the presets `paper` and `2012-code`: each in the real network, against PyTorch's."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from alexnet_tf.networks.alexnet import widths_in_force
from alexnet_tf.networks.network import Network, named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.runs.experiment import changed_settings, deciding_settings
from alexnet_tf.settings.config import in_force, parse_config
from alexnet_tf.settings.presets import PRESETS, Widths
from alexnet_tf.settings.recipe import Preset
from alexnet_tf.towers import Towers
from tests.alexnet_tf.networks import torch_alexnet
from tests.alexnet_tf.networks.torch_alexnet import PAPER, PROGRAM, Variant, weights_from
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.narrow_nets import shrink_net
from tests.slow_cases import slow

OTHERWISE = {
    "pooling=plain": {"pool": 2},
    "normalization=none": {"normalized": False},
    "activation=tanh": {"activation": "tanh"},
    "dropout_rate=0": {"test_factor": 1.0},
    "towers=apart": {"towers_joined_at": ("fc8",)},
    "towers=one": {"towers": "a"},
}
"""Choices, and the same of PyTorch's network."""
VARIANTS = {"paper": PAPER, "2012-code": PROGRAM}
ALL = ("towers=apart", "pooling=plain", "normalization=none", "activation=tanh", "dropout_rate=0")


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_net(monkeypatch)


def chosen(preset: str, *choices: str, beside: tuple[str, ...] = ()) -> Preset:
    return parse_config("", "test", [f"model.preset={preset}", *(f"model.{one}" for one in choices), *beside]).preset


def lively(preset: Preset, towers: Towers, dtype: type = np.float32) -> tuple[Network, dict[str, np.ndarray]]:
    """With weights under which every layer matters: activations keep their size, biases are random."""
    draw = np.random.default_rng(5)
    model = build_network(preset.network, 10, towers)
    values = {}
    for name, variable in named_variables(model).items():
        shape = tuple(variable.shape)
        stddev = np.sqrt(2.0 / np.prod(shape[:-1])) if name.endswith("kernel") else 1.0
        values[name] = (draw.standard_normal(shape) * stddev).astype(dtype)
        variable.assign(values[name])
    return model, values


def images(dtype: type = np.float32, size: int = 224) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 20, (1, size, size, 3)).astype(dtype)


def theirs(values: dict[str, np.ndarray], variant: Variant, size: int = 224) -> np.ndarray:
    with torch.no_grad():
        return torch_alexnet.logits(images(size=size), weights_from(values), variant).numpy()


@pytest.mark.parametrize("choice", OTHERWISE)
def test_each_is_the_network_that_it_says(choice: str, two_cpus: Towers) -> None:
    both = choice.startswith(("normalization", "activation"))  # which come in another order there
    for name, variant in VARIANTS.items() if both else [("paper", PAPER)]:
        model, values = lively(chosen(name, choice), two_cpus)
        found = model(tf.constant(images())).numpy()
        assert_close(found, theirs(values, variant.but(**OTHERWISE[choice])), WHOLE_NETWORK, name=name)
        if not choice.startswith("towers"):  # whose weights fit no other network
            assert np.abs(found - theirs(values, variant)).max() > 1e-3 * np.abs(found).max()


def test_pictures_of_128_pixels_meet_the_same_layers(two_cpus: Towers) -> None:
    for name, choice in (("paper", "pooling=overlapping"), ("2012-code", "pooling=plain")):
        preset = chosen(name, choice, "image_size=128", "stored_size=144", beside=("augment.max_offset=16",))
        model, values = lively(preset, two_cpus)
        variant = VARIANTS[name].but(**OTHERWISE.get(choice, {}))
        found = model(tf.constant(images(size=128))).numpy()
        assert_close(found, theirs(values, variant, size=128), WHOLE_NETWORK, name=name)
        conv5, fc6 = (values[f"{layer}_a/kernel"].shape for layer in ("conv5", "fc6"))
        assert fc6[0] == 2 * 3 * 3 * conv5[-1]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "case", [("2012-code", *ALL), *slow(("paper", "towers=one", "activation=tanh"))], ids=lambda case: case[1]
)
def test_combined_they_have_the_right_gradients(case: tuple[str, ...], two_cpus: Towers) -> None:
    name, *choices = case
    model, values = lively(chosen(name, *choices), two_cpus, np.float64)
    seed, batch = tf.constant([0, 4], tf.int32), images(np.float64)
    variables = named_variables(model)
    with tf.GradientTape() as tape:
        logits = model(tf.constant(batch), dropout_seed=seed)
        loss = tf.reduce_sum(logits * tf.range(10, dtype=tf.float64))
    found = tape.gradient(loss, variables)

    masks = {}
    for layer in (layer for tower in model.all_towers for layer in (tower.dropout6, tower.dropout7)):
        units = (model.a.fc6 if "6" in layer.name else model.a.fc7).units
        masks[layer.name] = layer(tf.ones((1, units)), seed=seed).numpy()
    variant = VARIANTS[name]
    for choice in choices:
        variant = variant.but(**OTHERWISE[choice])
    weights = weights_from(values)
    expected = torch_alexnet.logits(batch, weights, variant, masks)
    (expected * torch.arange(10)).sum().backward()
    assert_close(logits, expected.detach(), WHOLE_NETWORK, np.float64)
    for name_of, gradient in found.items():
        own = weights[name_of].grad.numpy()
        assert np.linalg.norm(gradient.numpy() - own) <= 1e-9 * np.linalg.norm(own), name_of


def test_widths_are_those_of_the_2012_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the published ones
    found = {towers: widths_in_force(chosen("paper", f"towers={towers}").network) for towers in ("apart", "one")}
    assert found["one"] == Widths(48, 128, 192, 192, 256, 4096, 4096)  # its layers-145-half.cfg; paper section 3.2
    assert found["apart"] == Widths(48, 160, 192, 192, 128, 4096, 2048)  # its layers-150.cfg
    assert parameters(found["one"], towers=1, meeting=1) == 59_798_312
    assert parameters(found["apart"], towers=2, meeting=1) == 60_714_408
    assert parameters(PRESETS["paper"].network.widths, towers=2, meeting=2) == 60_965_224


def parameters(widths: Widths, towers: int, meeting: int) -> int:
    """At 1000 classes; `meeting` towers are seen by conv3, fc6 and fc7 each."""
    layers = (
        (121 * 3, widths.conv1), (25 * widths.conv1, widths.conv2), (9 * widths.conv2 * meeting, widths.conv3),
        (9 * widths.conv3, widths.conv4), (9 * widths.conv4, widths.conv5), (36 * widths.conv5 * meeting, widths.fc6),
        (widths.fc6 * meeting, widths.fc7),
    )  # fmt: skip
    return towers * sum((inputs + 1) * units for inputs, units in layers) + (towers * widths.fc7 + 1) * 1000


def test_variables_have_the_shapes_of_the_widths(two_cpus: Towers) -> None:
    for choice, towers, meeting in (("one", 1, 1), ("apart", 2, 1), ("joined", 2, 2)):
        network = chosen("paper", f"towers={choice}").network
        sizes = [int(tf.size(v)) for v in named_variables(build_network(network, 1000, two_cpus)).values()]
        assert sum(sizes) == parameters(widths_in_force(network), towers, meeting)


def test_without_dropout_nothing_is_drawn(two_cpus: Towers) -> None:
    model, _ = lively(chosen("paper", "dropout_rate=0"), two_cpus)
    once, again = (model(tf.constant(images()), dropout_seed=tf.constant([seed, 1])) for seed in (0, 1))
    np.testing.assert_array_equal(once, again)


def test_a_run_is_resumed_and_shared_by_workers_with_the_same_choices_only() -> None:
    def settings(*choices: str) -> dict[str, Any]:
        return deciding_settings(parse_config("", "test", list(choices)))

    assert list(changed_settings(settings(), settings("model.towers=joined", "model.dropout_rate=0.5"))) == []
    assert list(changed_settings(settings(), settings("model.towers=one"))) == [("model.towers", "joined", "one")]
    own, other = (in_force(settings(*choice)) for choice in ((), ("model.pooling=plain",)))  # as workers compare them
    assert {name for name in own if own[name] != other[name]} == {"model.pooling"}
