"""A network as a Keras model: its summary, its training beside our step, and images that are not prepared."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.networks.keras_network import KerasNetwork, UnpreparedImages
from alexnet_tf.networks.network import named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from alexnet_tf.training.step import TrainingStep
from tests.alexnet_tf.conftest import switch_dropout_off
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.narrow_nets import shrink_net

CLASSES, SEED, RATE = 3, 5, 0.01
DIGITS = PRESETS["lenet5"].network


@pytest.fixture(scope="module")
def model() -> Iterator[KerasNetwork]:
    with pytest.MonkeyPatch.context() as patch:
        shrink_net(patch)
        yield KerasNetwork(build_network(PRESETS["paper"].network, CLASSES, Towers.unplaced(), SEED))


def prepared(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 60, (count, 224, 224, 3)).astype(np.float32)


def test_its_summary_shows_towers_layers_shapes_and_parameters(
    model: KerasNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setenv("COLUMNS", "170")  # Keras 3 cuts lines at the terminal's width
    model.summary(line_length=160, print_fn=lambda line, **_: lines.extend(line.splitlines()))
    for name, shape, parameters in (
        ("conv1_a", "(None, 55, 55, 8)", "2,912"), ("conv1_b", "(None, 55, 55, 8)", "2,912"),
        ("conv3_b", "(None, 13, 13, 16)", "4,624"), ("fc7_a", "(None, 16)", "528"), ("fc8_a", "(None, 3)", "99"),
    ):  # fmt: skip
        (line,) = [line for line in lines if re.search(rf"(^|\s){name} \(", line)]
        assert shape in line
        assert parameters in line or parameters.replace(",", "") in line
    assert model.count_params() == sum(int(np.prod(weight.shape)) for weight in model.weights)


def test_outputs_in_between_can_be_taken(model: KerasNetwork) -> None:
    inside = keras.Model(model.input, [model.get_layer("conv5_b").output, model.output])
    images = prepared(2)
    maps, logits = inside.predict(images, verbose=0)
    assert maps.shape == (2, 13, 13, 16) and (maps >= 0).all()
    assert_close(logits, model(images), WHOLE_NETWORK)


def test_fit_takes_the_steps_that_training_takes(small_net: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches on one device, by the same rule: momentum, no decay; dropout off, for both draw their own masks."""
    switch_dropout_off(monkeypatch)
    preset = PRESETS["paper"]
    preset = replace(preset, train=replace(preset.train, weight_decay=0.0))
    step = TrainingStep(preset, CLASSES, Towers.unplaced(), SEED)
    network = build_network(preset.network, CLASSES, Towers.unplaced(), SEED)
    before = {name: variable.numpy() for name, variable in named_variables(network).items()}
    images, labels = prepared(4), np.array([0, 2, 1, 0])
    losses = []
    for number in range(2):
        batch = tf.constant(images[2 * number :][:2]), tf.constant(labels[2 * number :][:2])
        figures = step(*batch, number, dict.fromkeys(step.variables, RATE))
        losses.append(step.workers.read_figures(figures, None)["loss"])

    model = KerasNetwork(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE, momentum=0.9), loss, metrics=["accuracy"])
    history = model.fit(images, labels, batch_size=2, shuffle=False, verbose=0).history
    assert_close(history["loss"][0], np.mean(losses), WHOLE_NETWORK)
    for name, variable in named_variables(network).items():
        moved = step.variables[name].numpy() - before[name]
        assert np.abs(moved).max() > 0, name
        assert_close(variable.numpy() - before[name], moved, 16 * WHOLE_NETWORK, name=name)


def test_fit_has_dropout() -> None:
    """What is left of the units doubles with the caffe recipe's dropout; of the paper's, half of them are zero."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_net(patch)
        model = KerasNetwork(build_network(PRESETS["paper"].network, CLASSES, Towers.unplaced(), SEED))
    inside = keras.Model(model.input, [model.get_layer(name).output for name in ("fc6_a", "dropout6_a")])
    fc6, dropped = inside(prepared(40), training=True)
    kept = (dropped.numpy() != 0)[fc6.numpy() != 0]
    assert 0.3 < kept.mean() < 0.7
    fc6, halved = inside(prepared(2), training=False)
    np.testing.assert_allclose(halved, fc6 / 2, rtol=1e-6)


def test_what_cannot_be_prepared_images_is_refused(model: KerasNetwork) -> None:
    pixels = np.zeros((1, 224, 224, 3), np.uint8)
    for call in (model, model.predict, model.fit, model.evaluate):
        with pytest.raises(
            UserError, match=r"given pixels of type uint8, not yet prepared: give .* \(N, 224, 224, 3\)"
        ):
            call(pixels)
        with pytest.raises(UserError, match=r"given images of shape \(1, 256, 256, 3\): give prepared images"):
            call(np.zeros((1, 256, 256, 3), np.float32))
    with pytest.raises(UserError, match=r"given images of shape \(224, 224, 3\)"):
        model(np.zeros((224, 224, 3), np.float32))
    with pytest.raises(UserError, match=r"given images of shape \(1, 224, 224, 1\)"):
        model(tf.zeros((1, 224, 224, 1)))
    data = tf.data.Dataset.from_tensors((pixels, [0]))
    with pytest.raises(UserError, match="pixels of type uint8"):
        model.fit(data)


def test_images_that_look_unprepared_are_named() -> None:
    network = build_network(DIGITS, CLASSES, Towers.unplaced(), SEED)
    model, plain = KerasNetwork(network, divided=True), KerasNetwork(network)
    images = np.random.default_rng(0).normal(0, 1, (2, 26, 26, 1)).astype(np.float32)
    for call in (plain, lambda images: plain.predict(images, verbose=0)):
        with pytest.warns(UnpreparedImages, match=r"from 0 to 255, and none is below 0, so no mean was subtracted"):
            call(np.linspace(0, 255, 676, dtype=np.float32).reshape(1, 26, 26, 1))
        with pytest.warns(UnpreparedImages, match="not on the scale of 0 to 255, less the mean"):
            call(images / 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UnpreparedImages)
            call(60 * images)
            call(0 * images)
            model(images)
