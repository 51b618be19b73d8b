"""Error rates against a plain loop; views and nets averaged as probabilities, from sums over every image."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf import evaluate
from alexnet_tf.evaluation.error_rates import error_rates
from alexnet_tf.evaluation.probabilities import class_probabilities, view_average
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.pictures.input_pipeline import evaluation_batches
from alexnet_tf.pictures.preparation import evaluation_views
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.run import open_run
from alexnet_tf.towers import Towers
from tests.alexnet_tf.training.made_runs import write_opinionated_run
from tests.closeness import ONE_LAYER, assert_close
from tests.conftest import TINY_CLASSES, TINY_VAL
from tests.slow_cases import slow
from tfrecords.manifest import load_manifest

IMAGES = len(TINY_CLASSES) * TINY_VAL


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def errors_by_loop(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Top-1 and top-5; a class is ahead of another if more probable, or as probable and listed first."""
    wrong = [0, 0]
    for row, label in zip(probabilities, labels, strict=True):
        ahead = sum(p > row[label] or (p == row[label] and c < label) for c, p in enumerate(row))
        wrong[0] += ahead >= 1
        wrong[1] += ahead >= 5
    return wrong[0] / len(labels), wrong[1] / len(labels)


class TestErrorRates:
    @pytest.mark.parametrize("classes", [2, 3, 5, 6, 20])
    @pytest.mark.parametrize("levels", [3, 1000], ids=["many ties", "few ties"])
    def test_against_a_loop(self, classes: int, levels: int) -> None:
        draw = np.random.default_rng(classes)
        probabilities = draw.integers(0, levels, (300, classes)) / levels
        labels = draw.integers(0, classes, 300)
        rates = error_rates(probabilities, labels)
        assert (rates.top1_error, rates.top5_error) == errors_by_loop(probabilities, labels)
        assert rates.images == 300
        if classes <= 5:
            assert rates.top5_error == 0
        else:
            assert 0 < rates.top5_error < rates.top1_error

    def test_loss_is_the_mean_cross_entropy(self) -> None:
        probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
        rates = error_rates(probabilities, np.array([0, 1]))
        assert rates.loss == pytest.approx((np.log(2) + np.log(10)) / 2)
        assert rates.top1_error == 0.5

    def test_probability_of_zero_has_a_finite_loss(self) -> None:
        assert np.isfinite(error_rates(np.array([[1.0, 0.0]]), np.array([1])).loss)


class ColorNet:
    """A stand-in for the network: the logits are twice R, G and B of a view's middle pixel."""

    num_classes = 3

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return 2 * images[:, 112, 112]


class TestClassProbabilities:
    def test_views_are_averaged_as_probabilities(self) -> None:
        draw = np.random.default_rng(0)
        colors = draw.normal(0, 1, (3, 10, 3))  # images, views, channels
        images = np.broadcast_to(colors[:, :, None, None], (3, 10, 224, 224, 3))
        images, labels = images.astype(np.float32), np.array([2, 0, 1])
        batches = [(tf.constant(images[:2]), tf.constant(labels[:2])),
                   (tf.constant(images[2:]), tf.constant(labels[2:]))]  # fmt: skip
        found, found_labels = class_probabilities(lambda views: view_average(ColorNet(), views), batches)
        expected = [np.mean([softmax(2 * view) for view in image], axis=0) for image in colors]
        assert_close(found, expected, ONE_LAYER)
        np.testing.assert_array_equal(found_labels, labels)
        # The mean of the logits would be another thing.
        assert np.abs(found - softmax(2 * colors.mean(axis=1))).max() > 0.01

    def test_broken_weights_are_told(self) -> None:
        images = tf.fill((1, 1, 224, 224, 3), np.float32("nan"))
        with pytest.raises(UserError, match="not finite"):
            class_probabilities(lambda views: view_average(ColorNet(), views), [(images, tf.constant([0]))])


@pytest.fixture
def two_runs(runs: Path, tiny_data: Path, two_cpus: Towers, small_net: None) -> list[Path]:
    """Untrained nets of both presets, made sure enough of themselves to differ."""
    manifest = load_manifest(tiny_data)
    for seed, preset in enumerate(("paper", "2012-code")):
        write_opinionated_run(runs / str(seed), tiny_data, manifest, preset, two_cpus, seed)
    return [runs / "0", runs / "1"]


def probabilities_by_hand(run_path: Path, towers: Towers, views: int) -> tuple[np.ndarray, np.ndarray]:
    """Every view through the network by itself, all else in NumPy."""
    run = open_run(run_path)
    data = run.config.data.dir
    model, _ = trained_network(run, towers)
    probabilities, labels = [], []
    for pictures, label in evaluation_batches(data, load_manifest(data), split="val", batch_size=1):
        images = evaluation_views(pictures[0], views, run.config.preset.augment, run.statistics)
        logits = np.concatenate([model(image[None]) for image in images]).astype(np.float64)  # (views, classes)
        probabilities.append(softmax(logits).mean(axis=0))
        labels.append(int(label[0]))
    return np.array(probabilities), np.array(labels)


class TestMain:
    @pytest.mark.parametrize("views", [1, *slow(10)])
    def test_ensemble_averages_the_runs_probabilities(
        self, two_runs: list[Path], two_cpus: Towers, views: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = two_runs[0].parent / "report.json"
        names = [argument for run in two_runs for argument in ("--run", str(run))]
        assert evaluate.main([*names, "--views", str(views), "--json", str(report)]) == 0
        found = json.loads(report.read_text())
        by_run = [probabilities_by_hand(run, two_cpus, views) for run in two_runs]
        labels = by_run[0][1]
        mean = (by_run[0][0] + by_run[1][0]) / 2
        assert np.abs(by_run[0][0] - by_run[1][0]).max() > 0.05  # two nets of their own opinions
        assert (found["top1_error"], found["top5_error"]) == errors_by_loop(mean, labels)
        loss = -np.log(mean[np.arange(IMAGES), labels]).mean()
        assert found["loss"] == pytest.approx(loss, rel=1e-4)
        assert (found["images"], found["views"], found["split"]) == (IMAGES, views, "val")
        line = capsys.readouterr().out
        for run in two_runs:
            assert f"weights of run {run}: step 1, epoch unknown, not validated" in line.splitlines()
        assert f"{IMAGES} images, {views} view" in line and "2 nets" in line
        assert f"top-1 error {found['top1_error']:.2%}" in line

    def test_faults_are_told(self, two_runs: list[Path], tmp_path: Path) -> None:
        run = str(two_runs[0])
        with pytest.raises(UserError, match=r"x is no run"):
            evaluate.main(["--run", str(tmp_path / "x")])
        with pytest.raises(UserError, match=r"is no run but a folder of converted data"):
            evaluate.main(["--run", str(open_run(two_runs[0]).config.data.dir)])
        with pytest.raises(UserError, match=r"is a run, no converted data"):
            evaluate.main(["--run", run, "--data", run])
        with pytest.raises(UserError, match=r"it is a run: export it"):
            evaluate.main(["--model", run, "--data", str(open_run(two_runs[0]).config.data.dir)])
        with pytest.raises(UserError, match=r"no data folder .*away"):
            evaluate.main(["--run", run, "--data", str(tmp_path / "away")])
        with pytest.raises(UserError, match=r"no split 'test', only train, val"):
            evaluate.main(["--run", run, "--split", "test"])
        classes = two_runs[0] / "classes.json"
        classes.write_text(json.dumps({"keys": ["ant", "bee"], "names": ["ant", "bee"]}))
        with pytest.raises(UserError, match=r"knows 2 classes, .* has 3, among them cat; give"):
            evaluate.main(["--run", run])
