"""What is told before and early in a run: what it will do, that it does not learn, that chance decides."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.classes import how_they_differ
from alexnet_tf.runs.run import open_run
from alexnet_tf.settings.config import parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from alexnet_tf.training.outlook import chance_advice, class_weights, doubts, is_judged
from alexnet_tf.training.step import TrainingStep
from tests.closeness import ONE_LAYER, WHOLE_NETWORK, assert_close
from tfrecords.manifest import Manifest, Shard, Split

Train = Callable[..., None]


def split(*counts: int) -> Split:
    shard = Shard(file="x", records=sum(counts), bytes=1, sha256="0" * 64)
    return Split(records=sum(counts), class_counts=list(counts), shards=[shard])


@pytest.mark.usefixtures("small_net")
def test_a_run_says_what_it_will_do(
    runs: Path, run_training: Train, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_training(runs / "run", "train.steps=2", "data.batch_size=48")
    told = capsys.readouterr().out
    run = open_run(runs / "run")
    weights = sum(np.prod(shape) for name, shape in tf.train.list_variables(
        str(runs / "run/checkpoints/step-00000002/variables")) if name.startswith("weights/"))  # fmt: skip
    for line in (
        f"data: {tiny_data}, 3 classes, 24 training pictures, 12 validation pictures",
        "steps: 2 of 48 pictures, 4 epochs of 0.5 steps",
        f"network: 2012-code, {weights:,} parameters",
        "devices: tower a on CPU:0, tower b on CPU:1",
        "  command line: data.batch_size=48, train.steps=2",
        "warning: data.batch_size is 48, and there are 24 training pictures: a step goes over the data more than once; "
        "try data.batch_size=2",
    ):
        assert line in told.splitlines()
    assert "warning: 12 validation pictures: each of them is 8.3% of the error" in told
    assert "train.momentum=0.9" in told and "  preset 2012-code: " in told
    resolved = parse_config((runs / "run/resolved.yaml").read_text(), "resolved.yaml")
    assert resolved.preset == run.config.preset and resolved.train.momentum == 0.9
    run_training(runs / "run", "train.steps=2", "data.batch_size=48")
    assert "network:" not in capsys.readouterr().out  # nothing is going to happen
    self_described = CheckpointFacts.of(run, run.checkpoint("latest"))
    assert (self_described.step, self_described.epoch) == (2, 4.0)
    assert str(self_described).startswith("step 2, epoch 4, validation top-1 error ")


def test_doubts_before_the_first_step() -> None:
    def of(train: int, val: int, batch: int) -> list[str]:
        config = parse_config("", "test", [f"data.batch_size={batch}"])
        splits = {"train": split(train), "val": split(val)}
        keys = {"class_keys": ["a"], "class_names": ["a"]}
        return list(doubts(config, Manifest(size=256, encoding="jpeg", quality=95, seed=0, splits=splits, **keys)))

    assert of(1000, 100, 128) == []
    assert of(128, 100, 128) == []
    assert "try data.batch_size=8" in of(100, 100, 128)[0]
    assert "try data.batch_size=1" in of(1, 100, 2)[0]
    assert of(1000, 1, 128)[0].startswith("warning: 1 validation picture: each of them is 100.0%")


class TestChance:
    BALANCED = split(*[100] * 10)

    def test_after_three_epochs_and_again_after_every_tenth(self) -> None:
        assert [epoch for epoch in range(1, 31) if is_judged(epoch - 1, epoch)] == [3, 10, 20, 30]
        assert [epoch for epoch in range(4, 32, 4) if is_judged(epoch - 4, epoch)] == [4, 12, 20]

    def test_who_has_learned_is_left_alone(self) -> None:
        assert chance_advice(3, 0.85, 0.85, self.BALANCED, "lenet5") is None
        assert chance_advice(3, 0.9, 0.7, self.BALANCED, "lenet5") is None  # it was better before
        assert chance_advice(3, 0.89, 0.89, self.BALANCED, "lenet5") is not None  # no more than luck

    def test_always_naming_the_most_frequent_class_is_guessing(self) -> None:
        told = chance_advice(3, 0.1, 0.1, split(900, 100), "lenet5")
        assert told is not None and "the most frequent of 2 classes gives 10.0%" in told
        assert "2012-code" not in told and "model.preset=2012-code" in chance_advice(3, 0.1, 0.1, split(9, 1), "paper")
        assert chance_advice(3, 0.06, 0.06, split(900, 100), "lenet5") is None

    def test_one_class_cannot_be_guessed_wrong(self) -> None:
        assert chance_advice(3, 0.0, 0.0, split(50), "lenet5") is None
        assert chance_advice(3, 0.0, 0.0, split(50, 0), "lenet5") is None

    @pytest.mark.usefixtures("small_net")
    def test_a_run_says_so(self, runs: Path, run_training: Train, capsys: pytest.CaptureFixture[str]) -> None:
        run_training(runs / "run", "train.epochs=3", "train.learning_rate=1e-9")
        assert capsys.readouterr().out.count("warning: after 3 epochs the validation error is") == 1


class TestClassWeights:
    def test_all_classes_weigh_alike(self) -> None:
        counts = [30, 10, 0, 20]
        weights = class_weights(counts)
        assert weights.dtype == np.float32 and weights.tolist() == pytest.approx([60 / 90, 2, 0, 1])
        assert (weights * counts).sum() == pytest.approx(60)
        assert class_weights([5, 5]).tolist() == [1, 1]

    @pytest.mark.usefixtures("small_net")
    @pytest.mark.parametrize("label", [0, 2])
    def test_loss_and_update_are_weighted(self, two_cpus: Towers, label: int) -> None:
        """Pictures of one class: everything is as without weights, times that class's."""
        recipe = replace(PRESETS["paper"].train, weight_decay=0.0)
        preset = replace(PRESETS["paper"], train=recipe)
        weights = np.array([0.5, 9, 4], np.float32)
        images = tf.constant(np.random.default_rng(0).normal(0, 60, (2, 224, 224, 3)), tf.float32)
        labels = tf.constant([label, label], tf.int64)
        losses, moved = [], []
        for given in (None, weights):
            step = TrainingStep(preset, 3, two_cpus, 0, class_weights=given)
            before = {name: variable.numpy() for name, variable in step.variables.items()}
            losses.append(step(images, labels, 0, dict.fromkeys(step.variables, 0.01))["loss"].numpy())
            moved.append({name: variable.numpy() - before[name] for name, variable in step.variables.items()})
        assert_close(losses[1], losses[0] * weights[label], WHOLE_NETWORK)
        for name in ("fc8_a/bias", "fc8_a/kernel", "conv3_a/bias"):
            assert np.abs(moved[0][name]).max() > 0
            # What moved is a small difference of larger numbers, which are rounded.
            tolerance = 64 * np.finfo(np.float32).eps * max(np.abs(before[name]).max(), np.abs(moved[1][name]).max())
            np.testing.assert_allclose(moved[1][name], moved[0][name] * weights[label], rtol=1e-3, atol=tolerance)

    @pytest.mark.usefixtures("small_net")
    def test_the_command_weighs_by_the_data(self, runs: Path, run_training: Train, monkeypatch) -> None:
        """The data here are balanced: every weight is 1, and nothing changes to the last bit."""
        for name in ("none", "balanced"):
            run_training(runs / name, "train.steps=2", f"train.class_weights={name}")
        found = [
            [line["loss"] for line in map(json.loads, (runs / name / "metrics.jsonl").read_text().splitlines())
             if line["kind"] == "train"]
            for name in ("none", "balanced")
        ]  # fmt: skip
        assert_close(found[0], found[1], ONE_LAYER)


@pytest.mark.parametrize(
    ("own", "others", "told"),
    [
        (["a", "b"], ["a", "c"], "has 2 and lacks b but has c"),
        (["a"], ["a", "b", "c"], "has 3, among them b, c"),
        (["a", "b", "c"], ["c"], "has 1 and lacks a, b"),
        (["a", "b", "c"], ["a", "c", "b"], "has 3 in another order: label 1 is c, not b"),
        ([str(n) for n in range(9)], [], "has 0 and lacks 0, 1, 2, 3, 4 and 4 more"),
    ],
)
def test_classes_that_differ_are_named(own: list[str], others: list[str], told: str) -> None:
    assert how_they_differ(own, others) == told


@pytest.mark.parametrize(
    ("net", "told"),
    [
        ({"checkpoint_step": 7, "epoch": 2.5, "validation": {"top1_error": 0.25}},
         "step 7, epoch 2.5, validation top-1 error 25.00%"),
        ({"checkpoint_step": 7, "validation": None}, "step 7, epoch unknown, not validated"),
        ({"checkpoint_step": "7"}, "None"),
        ([], "None"),
    ],
)  # fmt: skip
def test_exports_tell_their_checkpoint(net: object, told: str) -> None:
    assert str(CheckpointFacts.of_export(net)) == told
