"""What the contract promises beside `test_every_network`: auxiliary outputs, moving averages, clear faults."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.pictures.preparation import evaluation_views, number_of_views
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.config import parse_config
from alexnet_tf.settings.network_checks import check_pictures
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import OptimizerName
from alexnet_tf.towers import Towers
from alexnet_tf.training.fine_tuning import load_statistics
from alexnet_tf.training.optimizers import OPTIMIZERS, learning_rates
from alexnet_tf.training.step import TrainingStep
from tests.alexnet_tf.networks.trial_network import register
from tests.closeness import ONE_LAYER, assert_close
from tfrecords.manifest import Manifest
from tfrecords.statistics import Statistics

CLASSES, RATE = 3, 0.1
LABELS = tf.constant([0, 1, 2, 0, 1], tf.int64)
CONVOLUTIONS = "conv1, conv2, conv3, conv4, conv5"
CIFAR = "model.preset=resnet-cifar"


@pytest.fixture(scope="module", autouse=True)
def trial() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        yield


def images() -> tf.Tensor:
    return tf.random.stateless_normal((len(LABELS), 12, 12, 3), (7, 7))


def step_once(towers: Towers, *overrides: str) -> tuple[TrainingStep, dict[str, float]]:
    """One step of plain gradient descent, and what it said."""
    chosen = ["model.preset=trial", f"train.learning_rate={RATE}", "train.weight_decay=0", *overrides]
    preset = parse_config("", "test", chosen).preset
    step = TrainingStep(preset, CLASSES, towers, 0)
    figures = step(images(), LABELS, 0, learning_rates(preset.train, step.known, 1, 0))
    return step, step.workers.read_figures(figures, None)


def before_it(towers: Towers) -> TrainingStep:
    """The same weights."""
    return TrainingStep(PRESETS["trial"], CLASSES, towers, 0)


def test_auxiliary_output_reaches_the_layers_below_by_its_weight(two_cpus: Towers) -> None:
    (with_it, figures), (without, plain) = (step_once(two_cpus, f"model.auxiliary={way}") for way in ("on", "off"))
    assert figures["loss"] == plain["loss"] and figures["side_loss"] > 0 and "side_loss" not in plain
    net = before_it(two_cpus)
    name = "conv1_a/kernel"
    with tf.GradientTape() as tape:  # of the side alone
        x = net.model.to_norm1([images()] * 2, tf.constant([0, 0]))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, net.model.to_side(x, None))
        loss = tf.reduce_mean(losses)
    assert float(loss) == pytest.approx(figures["side_loss"], rel=1e-5)
    pulled = with_it.optimizer.slots["velocities"][name] - without.optimizer.slots["velocities"][name]
    assert_close(pulled, -RATE * 0.3 * tape.gradient(loss, net.variables[name]), ONE_LAYER)
    untouched = with_it.optimizer.slots["velocities"]["fc3_a/kernel"]
    np.testing.assert_array_equal(untouched, without.optimizer.slots["velocities"]["fc3_a/kernel"])


def test_figures_are_those_of_the_batch(two_cpus: Towers) -> None:
    _, figures = step_once(two_cpus)
    logits, _ = before_it(two_cpus).model.logits_in_training(images(), None, tf.constant([0, 0]))
    wrong = np.argmax(logits, axis=1) != LABELS.numpy()
    assert figures["top1_error"] == pytest.approx(wrong.mean()) and figures["top5_error"] == 0  # of three classes


def test_moving_averages_move_with_the_pictures_and_stand_still_where_the_layer_is_frozen(two_cpus: Towers) -> None:
    moved, _ = step_once(two_cpus)
    net = before_it(two_cpus)
    for tower, conv in zip("ab", net.model.convs, strict=True):
        batch = conv(images()).numpy()
        found = moved.variables[f"norm1_{tower}/moving_mean"]
        assert_close(found, 0.5 * batch.mean(axis=(0, 1, 2)), ONE_LAYER)  # half of zero and half of it
    frozen, _ = step_once(two_cpus, "train.freeze=[norm1]")
    for name, variable in net.variables.items():
        stood = np.array_equal(frozen.variables[name], variable)
        assert stood == name.startswith("norm1"), name


def test_every_update_rule_of_the_settings_is_there() -> None:
    assert set(get_args(OptimizerName)) == set(OPTIMIZERS)
    assert all(rule.slot_names for rule in OPTIMIZERS.values())


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model.preset=owt", "model.size=3"], "unknown key model.size; known here: preset"),
        (["model.preset=caffe", "model.towers=one"], "model.towers is a choice of preset paper, 2012-code only; kno"),
        (["model.dropout_rate=1"], "model.dropout_rate: Input should be less than 1, got 1"),
        (["model.dropout_rate=false"], "model.dropout_rate: Input should be a valid number, got False"),
        (["model.dropout_rate=.nan"], "model.dropout_rate: Input should be"),
        (["model.preset=lenet5", "model.widths=3"], "model.widths; known here: preset, activation, pooling"),
        (["model.preset=lenet5", "model.pooling=min"], "model.pooling: Input should be 'average' or 'max', got 'min'"),
        (["model.preset=vgg"], "model.preset: Input should be one of paper, 2012-code"),
        (["model.preset=lenet5", "train.freeze=[c1, conv2]"], "train.freeze: model.preset=lenet5 has no layer conv2"),
        (["train.rate_multipliers={c1: 2}"], "rate_multipliers: model.preset=paper has no layer c1; its layers are"),
        (["train.layer_drops={c1: {3: 0}}"], "train.layer_drops: model.preset=paper has no layer c1; its layers"),
        (["model.preset=lenet5", "train.cache_features=true"], "train.cache_features needs c1 and s2 in train.freeze"),
        ([CIFAR, "model.depth=21"], "model.depth: Input should be 8, 20, 32, 44, 56 or 110, got 21"),
        ([CIFAR, "model.kind=plain", "train.freeze=[conv9]"], "resnet-cifar has no layer conv9; its layers are conv1"),
        ([CIFAR, "augment.max_offset=9"], "augment.max_offset: preset resnet-cifar cuts 32 pixels of 40, so 8 at most"),
        (["augment.mean=center", "augment.padding=4"], "augment.padding: goes around pictures less their mean"),
        (["model.preset=lenet5", "augment.max_offset=3"], "augment.max_offset: preset lenet5 cuts 26 pixels of 28"),
    ],
)  # fmt: skip
def test_what_the_network_has_not_is_told(overrides: list[str], line: str) -> None:
    with pytest.raises(UserError, match=re.escape(line)) as fault:
        parse_config("", "some.yaml", overrides)
    assert "\n" not in str(fault.value)


def test_ten_views_are_fewer_where_some_would_be_alike() -> None:
    augment = PRESETS["paper"].augment
    unmirrored = dataclasses.replace(augment, mirror=False)
    counts = [number_of_views(10, recipe, size) for recipe in (augment, unmirrored) for size in (256, 224)]
    assert counts == [10, 2, 5, 1] and number_of_views(1, augment, 256) == 1
    statistics = Statistics.of_mean_image(np.zeros((256, 256, 3)))
    picture = tf.random.stateless_uniform((256, 256, 3), (1, 2)) * 255
    views, five = (evaluation_views(picture, 10, recipe, statistics) for recipe in (augment, unmirrored))
    np.testing.assert_array_equal(five, views[:5])


def test_choice_is_kept_by_the_config() -> None:
    config = parse_config("model: {preset: lenet5, pooling: max}", "some.yaml", ["model.activation=relu"])
    assert dataclasses.asdict(config.preset.network)["pooling"] == "max"
    assert config.preset.network.activation == "relu" and PRESETS["lenet5"].network.activation == "tanh"


def test_layers_are_those_of_the_chosen_depth() -> None:
    deep = [CIFAR, "model.depth=56", "train.freeze=[conv2_block9_2_bn]"]
    assert parse_config("", "some.yaml", deep).preset.train.freeze == ("conv2_block9_2_bn",)
    with pytest.raises(UserError, match=r"model.preset=resnet-cifar has no layer conv2_block9_2_bn"):
        parse_config("", "some.yaml", [deep[0], deep[2]])


def test_mean_image_of_other_pictures_is_told(tmp_path: Path) -> None:
    Statistics.of_mean_image(np.zeros((256, 256, 3))).save(tmp_path / "mean.npz")
    config = parse_config("", "some.yaml", ["model.preset=lenet5", f"data.statistics={tmp_path / 'mean.npz'}"])
    with pytest.raises(UserError, match=r"mean.npz has a mean image of 256 x 256 x 3, .*=lenet5 are 28 x 28 x 1; set"):
        load_statistics(config, tmp_path)


@pytest.mark.parametrize(("size", "channels"), [(28, 3), (256, 1), (32, 1)])
def test_records_of_another_network_are_told(size: int, channels: int) -> None:
    manifest = Manifest(
        size=size, channels=channels, encoding="raw", quality=None, seed=0, class_keys=[], class_names=[], splits={}
    )
    with pytest.raises(
        UserError, match=r"model.preset=lenet5 takes gray ones of 28x28; convert .* --size 28 --channels 1"
    ):
        check_pictures(Path("data"), manifest, PRESETS["lenet5"].network, "lenet5")
