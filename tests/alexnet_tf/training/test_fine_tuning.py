"""Runs that begin with another run's weights: what they take, what stands still, stored features, same result."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.evaluation.probabilities import class_probabilities, prediction_function
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.pictures.augmentation import draw_augmentation
from alexnet_tf.pictures.input_pipeline import evaluation_batches
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.run import open_run
from alexnet_tf.settings.config import load_config, parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from tests.alexnet_tf.training.run_files import metrics, tensors
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.conftest import convert_folder
from tests.slow_cases import slow
from tfrecords.manifest import load_manifest

Train = Callable[..., None]
CONVOLUTIONS = "conv1, conv2, conv3, conv4, conv5"
ONE_VIEW = ("augment.crop=center", "augment.noise=none")

pytestmark = pytest.mark.usefixtures("small_net")


@pytest.fixture
def base(runs: Path, run_training: Train) -> Path:
    """A run of a few steps on three classes."""
    run_training(runs / "base", "train.steps=3")
    return runs / "base"


@pytest.fixture(scope="module")
def two_classes(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the three classes, as another data set."""
    root = tmp_path_factory.mktemp("two")
    for split in ("train", "val"):
        for key in ("ant", "cat"):
            shutil.copytree(tiny_data.parent / split / key, root / split / key)
    return convert_folder(root, "--shards=3")


def weights(run: Path, step: int) -> dict[str, np.ndarray]:
    found = {name: value for name, value in tensors(run, step).items() if name.startswith("weights/")}
    return {name.removeprefix("weights/").replace(".S", "/").partition("/.")[0]: value for name, value in found.items()}


def layers_that_differ(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> set[str]:
    return {name.partition("_")[0] for name in one if not np.array_equal(one[name], other[name])}


class TestInitFrom:
    def test_same_classes_take_all_weights(self, base: Path, runs: Path, run_training: Train) -> None:
        run_training(runs / "new", f"train.init_from={base}", "train.learning_rate=0", "train.steps=1")
        assert layers_that_differ(weights(base, 3), weights(runs / "new", 1)) == set()
        assert open_run(runs / "new").statistics.pixels == open_run(base).statistics.pixels

    def test_other_classes_get_a_new_head_and_keep_the_mean_image(
        self, base: Path, runs: Path, run_training: Train, two_classes: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        chosen = (f"train.init_from={base}", f"data.dir={two_classes}", "train.freeze=[conv1, conv2]")
        run_training(runs / "new", *chosen, "train.steps=2")
        assert "fc8 starts afresh for 2 other classes" in capsys.readouterr().out
        before, after = weights(base, 3), weights(runs / "new", 2)
        assert after["fc8_a/kernel"].shape == (32, 2)
        del before["fc8_a/kernel"], before["fc8_a/bias"]
        assert layers_that_differ(before, after) == {"conv3", "conv4", "conv5", "fc6", "fc7"}
        np.testing.assert_array_equal(
            open_run(runs / "new").statistics.mean_image, open_run(base).statistics.mean_image
        )
        base.rename(runs / "elsewhere")
        run_training(runs / "new", *chosen, "train.steps=3")  # goes on, from its own weights
        assert "starts afresh" not in capsys.readouterr().out

    def test_rate_multiplier_moves_the_head_faster(self, base: Path, runs: Path, run_training: Train) -> None:
        moved = {}
        for factor in (1, 10):
            run = runs / f"x{factor}"
            run_training(run, f"train.init_from={base}", f"train.rate_multipliers={{fc8: {factor}}}", "train.steps=1")
            before, after = weights(base, 3), weights(run, 1)
            moved[factor] = {name: np.linalg.norm(after[name] - before[name]) for name in before}
        assert moved[10]["fc8_a/kernel"] == pytest.approx(10 * moved[1]["fc8_a/kernel"], rel=1e-3)
        assert moved[10]["fc7_a/kernel"] == pytest.approx(moved[1]["fc7_a/kernel"], rel=1e-3)

    def test_faults_are_told(self, base: Path, runs: Path, run_training: Train) -> None:
        for overrides, line in (
            (
                ("model.preset=paper",),
                "has another network, model.preset=2012-code, than this config, model.preset=paper; set the same",
            ),
            (("augment.mean=per-offset",), "was trained with augment.mean center, not per-offset"),
            ((f"train.init_from={runs / 'none'}",), r"^train\.init_from: .*none is no run: it does not exist$"),
            ((f"train.init_from={runs / (base.name + 's')}",), f"^train.init_from: .* is .*{base.name} meant"),
            ((f"train.init_from={runs}", f"data.statistics={base}/statistics.npz"), r"^train\.init_from: .* is no run"),
        ):
            with pytest.raises(UserError, match=line):
                run_training(runs / "new", f"train.init_from={base}", *overrides)
            shutil.rmtree(runs / "new", ignore_errors=True)


class TestFrozenPart:
    @pytest.mark.parametrize(
        ("freeze", "part"),
        [
            ((), None), (("conv1", "conv2"), None), (("conv2", "conv3", "conv4", "conv5"), None),
            (("conv1", "conv2", "conv3", "conv4", "conv5"), "conv5"),
            (("conv1", "conv2", "conv3", "conv4", "conv5", "fc7"), "conv5"),
            (("fc6", "conv5", "conv4", "conv3", "conv2", "conv1"), "fc6"),
            (("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"), "fc7"),
            (("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"), "fc7"),
        ],
    )  # fmt: skip
    def test_is_what_is_frozen_from_conv1_on(self, freeze: tuple[str, ...], part: str | None) -> None:
        paper = PRESETS["paper"]
        assert replace(paper, train=replace(paper.train, freeze=freeze)).frozen_part == part

    @pytest.mark.parametrize("preset", ["2012-code", "owt"])
    def test_network_in_two_parts_is_the_network(self, preset: str, two_cpus: Towers) -> None:
        from alexnet_tf.networks.registry import build_network

        model = build_network(PRESETS[preset].network, 5, two_cpus)
        images = tf.random.stateless_normal((2, 224, 224, 3), (1, 2)) * 60
        for layer in model.settings.feature_layers:
            features = model.concatenate_features(model.features(images, layer))
            assert_close(model.head(model.split_features(features, layer), layer), model(images), WHOLE_NETWORK)


class TestStoredFeatures:
    @pytest.mark.parametrize("trained", ["fc6, fc7, fc8", *slow("fc8")])
    def test_same_result_as_freezing(
        self, base: Path, runs: Path, run_training: Train, two_classes: Path, two_cpus: Towers, trained: str
    ) -> None:
        frozen = CONVOLUTIONS if "fc6" in trained else f"{CONVOLUTIONS}, fc6, fc7"
        chosen = (
            f"train.init_from={base}", f"data.dir={two_classes}", f"train.freeze=[{frozen}]", *ONE_VIEW,
            "train.learning_rate=0.01",
        )  # fmt: skip
        run_training(runs / "frozen", *chosen, "train.steps=8")
        run_training(runs / "stored", *chosen, "train.cache_features=true", "train.steps=5")
        stored = tuple(path.stat().st_mtime_ns for path in (runs / "stored/features").iterdir())
        run_training(runs / "stored", *chosen, "train.cache_features=true", "train.steps=8")
        assert stored == tuple(path.stat().st_mtime_ns for path in (runs / "stored/features").iterdir())
        expected, found = weights(runs / "frozen", 8), weights(runs / "stored", 8)
        changed = layers_that_differ(weights(base, 3) | {k: v * 0 for k, v in expected.items() if "fc8" in k}, expected)
        assert changed == set(trained.split(", "))
        for name, value in expected.items():
            assert_close(found[name], value, WHOLE_NETWORK, name=name)
        errors = [metrics(runs / name, "validation") for name in ("frozen", "stored")]
        assert [line["loss"] for line in errors[0]] == pytest.approx([line["loss"] for line in errors[1]], rel=1e-4)
        self._evaluates_like_its_own_validation(runs / "stored", two_classes, two_cpus, errors[1][-1])

    def _evaluates_like_its_own_validation(self, path: Path, data: Path, towers: Towers, line: dict) -> None:
        run = open_run(path)
        model, checkpoint = trained_network(run, towers, "best")
        batches = evaluation_batches(data, load_manifest(data), split="val", batch_size=3)
        forward = prediction_function(model, run.config.preset.augment, run.statistics)
        probabilities, labels = class_probabilities(forward, batches)
        if int(checkpoint.name[5:]) == line["step"]:
            assert 1 - (probabilities.argmax(1) == labels).mean() == pytest.approx(line["top1_error"])

    @pytest.mark.parametrize(
        ("overrides", "line"),
        [
            ((f"train.freeze=[{CONVOLUTIONS}]",), "augment.crop=center and augment.noise=none"),
            (ONE_VIEW, "needs conv1 to conv5 in train.freeze"),
            ((*ONE_VIEW, "train.freeze=[conv1, fc6]"), "needs conv1 to conv5 in train.freeze"),
            ((*ONE_VIEW, f"train.freeze=[{CONVOLUTIONS}]", "train.precision=bfloat16"), "leave train.precision at"),
        ],
    )
    def test_what_cannot_be_stored_is_told(self, overrides: tuple[str, ...], line: str) -> None:
        with pytest.raises(UserError, match=re.escape(line)):
            parse_config("", "some.yaml", ["train.cache_features=true", *overrides])


def test_center_crop_is_the_same_in_every_epoch(arguments: Callable[..., list[str]]) -> None:
    config = load_config(Path(arguments(Path())[1]), ["augment.crop=center"])
    draws = draw_augmentation(config.preset.augment, np.eye(3), 0, np.arange(6), 40 * np.arange(6), 256)
    assert (draws.offset == 16).all() and draws.offset.shape == (6, 2) and not draws.mirrored.any()
