"""Figures of error analysis against plain loops over images, and against SciPy."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import binomtest

from alexnet_tf.evaluation.drawing import shortened
from alexnet_tf.evaluation.error_analysis import (
    calibration,
    class_errors,
    confident_mistakes,
    confusion_matrix,
    most_confused,
    wilson_interval,
)
from alexnet_tf.evaluation.neighbors import Nearest
from alexnet_tf.runs.metrics import rate_drops
from tests.closeness import ELEMENTWISE, assert_close


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    """500 images of 7 classes, the last one without images; probabilities of a few values, so that many are equal."""
    draw = np.random.default_rng(0)
    weights = draw.integers(1, 6, (500, 7)).astype(np.float64)
    labels = draw.integers(0, 6, 500)
    weights[np.arange(500), labels] += draw.integers(0, 12, 500)
    return weights / weights.sum(axis=1, keepdims=True), labels


def first_highest(row: np.ndarray) -> int:
    return next(place for place, value in enumerate(row) if value == max(row))


def test_confusions(answers: tuple[np.ndarray, np.ndarray]) -> None:
    expected = [[0] * 7 for _ in range(7)]
    for row, label in zip(*answers, strict=True):
        expected[label][first_highest(row)] += 1
    found = confusion_matrix(*answers)
    np.testing.assert_array_equal(found, expected)
    errors = class_errors(found)
    assert [one.label for one in errors] == list(range(6))
    for one in errors:
        others = {column: count for column, count in enumerate(expected[one.label]) if column != one.label}
        assert (one.images, one.wrong) == (sum(expected[one.label]), sum(others.values()))
        assert one.taken_for == max(others, key=lambda column: others[column])
        assert one.taken_for_images == others[one.taken_for]


def test_the_most_confused_classes_are_shown() -> None:
    confusion = np.diag(np.full(1000, 50))
    for truth, guess, images in ((7, 900, 9), (900, 7, 2), (30, 31, 10), (500, 501, 1)):
        confusion[truth, guess] = images
    assert most_confused(confusion, 4).tolist() == [7, 30, 31, 900]
    assert most_confused(confusion, 8).tolist() == [0, 1, 7, 30, 31, 500, 501, 900]
    assert most_confused(np.eye(3, dtype=np.int64), 8).tolist() == [0, 1, 2]


def test_calibration(answers: tuple[np.ndarray, np.ndarray]) -> None:
    found, (probabilities, labels) = calibration(*answers), answers
    images, right, sums = [0] * 10, [0] * 10, [0.0] * 10
    for row, label in zip(probabilities, labels, strict=True):
        place = next(place for place in range(10) if max(row) <= found.edges[place + 1])
        images[place] += 1
        right[place] += first_highest(row) == label
        sums[place] += max(row)
    assert (found.images.tolist(), found.right.tolist()) == (images, right)
    filled = [place for place in range(10) if images[place]]
    assert_close(found.confidence[filled], [sums[place] / images[place] for place in filled], 500, np.float64)
    gaps = sum(abs(right[place] - sums[place]) for place in filled) / 500
    assert found.expected_error == pytest.approx(gaps)
    assert np.isnan(found.confidence[[place for place in range(10) if place not in filled]]).all()


@pytest.mark.parametrize(("hits", "trials"), [(0, 12), (12, 12), (3, 200), (407, 1000), (20_350, 50_000)])
def test_intervals_are_scipys(hits: int, trials: int) -> None:
    expected = binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_surest_mistakes_come_first(answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = answers
    wrong = [place for place in range(500) if first_highest(probabilities[place]) != labels[place]]
    expected = sorted(wrong, key=lambda place: -max(probabilities[place]))  # of equal ones the first
    assert confident_mistakes(*answers, 25).tolist() == expected[:25]
    assert len(confident_mistakes(*answers, 1000)) == len(wrong)


def test_long_names_are_shortened() -> None:
    assert shortened("goldfish, Carassius auratus", 22) == "goldfish"
    assert shortened("tabby, tabby cat", 22) == "tabby, tabby cat"
    assert shortened("a,b and a long file.JPEG", 16, synonyms=False) == "a,b and a ….JPEG"
    assert shortened("two\nlines\u0000 " + 20 * "x", 12) == "two line…xxx"
    assert all(len(shortened(20 * "x", most)) == most for most in range(1, 20))


def test_nearest_pictures_are_scipys() -> None:
    draw = np.random.default_rng(1)
    queries, others = draw.normal(0, 3, (4, 50)).astype(np.float32), draw.normal(0, 3, (203, 50)).astype(np.float32)
    others[17] = queries[2]  # a picture is nearest to itself
    found = Nearest(queries, 6)
    for start in range(0, 203, 60):
        found.add(others[start : start + 60])
    distances = cdist(queries.astype(np.float64), others.astype(np.float64))
    order = np.argsort(distances, axis=1, kind="stable")[:, :6]
    assert found.added == 203
    np.testing.assert_array_equal(found.places, order)
    far = np.take_along_axis(distances, order, axis=1)
    assert_close(
        found.distances**2, far**2, 50 * ELEMENTWISE, np.float64
    )  # before the root, which doubles the digits lost


class TestDropsOfTheRate:
    def write(self, path: Path, *lines: dict) -> Path:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    def test_they_are_where_the_first_slower_step_begins(self, tmp_path: Path) -> None:
        """62.5 steps an epoch; figures every 40 steps."""
        figures = [
            {"kind": "train", "step": step, "epoch": step / 62.5, "loss": 1.0, "weight_rate": 0.1}
            for step in range(40, 440, 40)
        ]
        rates = [
            {"kind": "rates", "step": step, "rates": {"conv1_a/kernel": rate, "conv1_a/bias": 0.2, "norm/beta": 0.3}}
            for step, rate in ((1, 0.1), (126, 0.01), (251, 0.01), (376, 0.001))
        ]
        assert rate_drops(self.write(tmp_path / "log", *figures, *rates)) == pytest.approx([2.0, 6.0])

    def test_of_an_earlier_version_at_the_epochs_end_between(self, tmp_path: Path) -> None:
        figures = [
            {
                "kind": "train",
                "step": step,
                "epoch": step / 62.5,
                "loss": 1.0,
                "weight_rate": 0.1 if step < 126 else 0.01,
            }
            for step in range(40, 200, 40)
        ]
        assert rate_drops(self.write(tmp_path / "log", *figures)) == [2.0]

    def test_nothing_logged_is_nothing_dropped(self, tmp_path: Path) -> None:
        assert rate_drops(self.write(tmp_path / "log", {"kind": "start", "step": 0})) == []
