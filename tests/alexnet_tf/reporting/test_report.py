"""A whole report of a narrow run: its numbers against others', its files, and what is said of what is missing."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.spatial.distance import cdist
from scipy.stats import binomtest

from alexnet_tf import report
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.pictures.input_pipeline import evaluation_batches
from alexnet_tf.pictures.preparation import evaluation_views
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.run import open_run
from alexnet_tf.towers import Towers
from tests.alexnet_tf.evaluation.test_evaluate import probabilities_by_hand
from tests.alexnet_tf.training.made_runs import write_opinionated_run
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.conftest import convert_folder
from tfrecords.manifest import load_manifest

ODD_NAME = "<b>ant</b> & $x$, größer"
"""What a page, a formula of matplotlib's or a CSV file might take for more than a name."""
LOG = [
    {"kind": "start", "step": 0, "commit": "abc1234", "hardware": "a processor, 2 cores", "tensorflow": "2.21.0"},
    {"kind": "rates", "step": 1, "rates": {"conv1_a/kernel": 0.01}},
    {"kind": "train", "step": 5, "epoch": 1.0, "loss": 1.1, "weight_rate": 0.01},
    {"kind": "validation", "step": 5, "epoch": 1.0, "loss": 1.0, "top1_error": 0.5, "top5_error": 0.0, "images": 12},
    {"kind": "rates", "step": 6, "rates": {"conv1_a/kernel": 0.001}},
    {"kind": "train", "step": 10, "epoch": 2.0, "loss": 0.9, "weight_rate": 0.001},
]
FIGURES = {
    "learning_curve", "confusion_matrix", "class_errors", "calibration", "mistakes", "answers", "neighbors",
    "feature_maps", "grad_cam", "views", "filters", "placement",
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("small_nets")


@pytest.fixture(scope="module")
def run(small_nets: None, tiny_data: Path, two_cpus: Towers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reported") / "run"
    manifest = load_manifest(tiny_data)
    named = manifest.model_copy(update={"class_names": [ODD_NAME, "bee", "cat"]})
    write_opinionated_run(folder, tiny_data, named, "2012-code", two_cpus, seed=3)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LOG))
    return folder


@pytest.fixture(scope="module")
def out(run: Path) -> Path:
    folder = run.with_name("report")
    assert report.main(["--run", str(run), "--out", str(folder), "--search", "20"]) == 0
    return folder


def table(out: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / f"{name}.csv").read_text("utf-8"))))


def test_answers_are_those_of_the_network(run: Path, out: Path, two_cpus: Towers) -> None:
    probabilities, labels = probabilities_by_hand(run, two_cpus, 1)
    names = open_run(run).classes.names
    guesses = probabilities.argmax(axis=1)
    found = table(out, "answers")
    assert [row["class"] for row in found] == [names[label] for label in labels]
    assert [row["guess"] for row in found] == [names[guess] for guess in guesses]
    assert_close([float(row["probability_of_guess"]) for row in found], probabilities.max(axis=1), WHOLE_NETWORK)
    assert found[0]["file"].endswith(".png")
    counted = Counter((names[label], names[guess]) for label, guess in zip(labels, guesses, strict=True))
    assert {(row["class"], row["taken_for"]): int(row["images"]) for row in table(out, "confusion_matrix")} == counted
    wrong = int((guesses != labels).sum())
    assert 0 < wrong < 12  # else the next lines would prove nothing
    assert len(table(out, "mistakes")) == wrong
    assert sum(int(row["right"]) for row in table(out, "calibration")) == 12 - wrong
    told = json.loads((out / "report.json").read_text())
    interval = binomtest(wrong, 12).proportion_ci(0.95, method="wilson")
    assert told["top1_interval"] == pytest.approx([interval.low, interval.high])
    (rates,) = told["card"]["error_rates"]
    assert rates["top1_error"] == pytest.approx(wrong / 12)
    card = (out / "model_card.md").read_text("utf-8")
    assert f"{wrong / 12:.2%} ({interval.low:.2%} to {interval.high:.2%})" in card
    assert "training pictures: unknown" in card  # a made run has seen none
    assert "Commit abc1234, on a processor, 2 cores" in card
    assert "EXIF orientation: ignored" in card  # as earlier versions did
    page = (out / "report.html").read_text("utf-8")
    assert "EXIF orientation: applied" in page and "learned from data converted with --exif ignore" in page


def test_neighbors_are_the_nearest(run: Path, out: Path, two_cpus: Towers) -> None:
    opened = open_run(run)
    data, model = opened.config.data.dir, trained_network(opened, two_cpus)[0]

    def features(split: str) -> np.ndarray:
        found = []
        for pictures, _ in evaluation_batches(data, load_manifest(data), split=split, batch_size=4):
            views = evaluation_views(pictures, 1, opened.config.preset.augment, opened.statistics)[:, 0]
            found.append(tf.concat(model.features(views, "fc7"), axis=1).numpy())
        return np.concatenate(found).astype(np.float64)

    distances = cdist(features("val"), features("train")[:20])
    found = table(out, "neighbors")
    assert len(found) == 5 * 6
    nearest = np.sort(distances, axis=1)[:, :6]
    for start in range(0, len(found), 6):
        own = [float(row["distance"]) for row in found[start : start + 6]]
        assert np.abs(nearest - own).max(axis=1).min() < WHOLE_NETWORK * np.finfo(np.float32).eps * distances.max()


def test_the_page_needs_nothing_from_elsewhere(out: Path) -> None:
    page = (out / "report.html").read_text("utf-8")
    sources = re.findall(r'\b(?:src|href|srcset|action|poster)="([^"]*)"', page)
    asked = [source for source in sources if not source.startswith(("data:image/png;base64,", "#"))]
    assert asked and all((out / source).is_file() for source in asked)
    assert "://" not in page and "url(" not in page and "<script" not in page
    assert ODD_NAME not in page and "&lt;b&gt;ant&lt;/b&gt; &amp; $x$, größer" in page


def test_every_figure_lies_beside_it_twice(out: Path) -> None:
    assert {path.stem for path in out.glob("*.png")} == {path.stem for path in out.glob("*.svg")} == FIGURES
    for path in out.glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert min(pixels.shape[:2]) > 90 and max(pixels.shape[:2]) < 2500, path.name
        assert (pixels[0] == 255).all() and len(np.unique(pixels)) > 20, path.name  # on white, and not empty
    for path in out.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_drops_and_placement_are_told(out: Path) -> None:
    assert "dropped after so many epochs: 1." in (out / "report.html").read_text("utf-8")
    placement = json.loads((out / "report.json").read_text())["placement"]
    assert placement["strayed"] == []
    crossed = {(row["layer"], row["kind"]) for row in table(out, "placement")}
    assert {("conv3", "activation"), ("fc8", "gradient")} <= crossed


def test_faults_are_one_line(run: Path, out: Path, tiny_data: Path, tmp_path: Path) -> None:
    for options, line in (
        (["--run", str(tmp_path / "x"), "--out", str(tmp_path / "o")], r"x is no run: it does not exist"),
        (["--run", str(run), "--out", str(run)], r"is a run or converted data; give a folder of the report's own"),
        (["--run", str(run), "--out", str(tmp_path / "o"), "--data", str(tmp_path / "y")], r"no data folder .*y: make"),
        (["--run", str(run), "--out", str(out / "report.html")], r"report.html cannot be written"),
        (["--run", str(run), "--out", str(tmp_path / "o"), "--data", str(tiny_data), "--split", "t"], r"no split 't'"),
    ):
        with pytest.raises(UserError, match=line):
            report.main(options)
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["lenet5", "owt", "caffe", "paper towers=apart normalization=none activation=tanh"])
def test_without_data_and_log_it_shows_the_rest(
    preset: str, tiny_data: Path, two_cpus: Towers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of an imported run whose data are on another machine."""
    data = tiny_data
    if preset == "lenet5":
        for split in ("train", "val"):
            (tmp_path / split).symlink_to(tiny_data.parent / split)
        data = convert_folder(tmp_path, "--size=28", "--channels=1")
    write_opinionated_run(tmp_path / "run", data, load_manifest(data), preset, two_cpus, seed=3)
    assert report.main(["--run", str(tmp_path / "run"), "--out", str(tmp_path / "whole")]) == 0
    made = {path.stem for path in (tmp_path / "whole").glob("*.png")}
    assert made == FIGURES - {"learning_curve"}
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace(f"dir: {data}", f"dir: {tmp_path / 'away'}"))
    capsys.readouterr()
    assert report.main(["--run", str(tmp_path / "run"), "--out", str(tmp_path / "less")]) == 0
    assert {path.stem for path in (tmp_path / "less").glob("*.png")} == {"filters", "placement"}
    told, page = capsys.readouterr().err, (tmp_path / "less/report.html").read_text()
    for reason in ("no data folder", "metrics.jsonl is missing"):
        assert reason in told and reason in page
    assert "Not measured with these weights" in page


@pytest.mark.slow
def test_a_thousand_classes_stay_legible(two_cpus: Towers, tiny_data: Path, tmp_path: Path) -> None:
    """Of a run that knows more classes than have pictures."""
    manifest = load_manifest(tiny_data)
    keys = [*manifest.class_keys, *(f"n{number:08d}" for number in range(997))]
    more = manifest.model_copy(
        update={
            "class_keys": keys, "class_names": [f"{key}, which has a rather long name" for key in keys],
            "splits": {
                name: split.model_copy(update={"class_counts": [*split.class_counts, *[0] * 997]})
                for name, split in manifest.splits.items()
            },
        }
    )  # fmt: skip
    data = tmp_path / "data"
    data.mkdir()
    for path in tiny_data.iterdir():
        (data / path.name).symlink_to(path)
    (data / "manifest.json").unlink()
    (data / "manifest.json").write_text(more.model_dump_json())
    write_opinionated_run(tmp_path / "run", data, more, "paper", two_cpus, seed=1)
    assert report.main(["--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    for name in ("confusion_matrix", "class_errors"):
        assert max(Image.open(tmp_path / "out" / f"{name}.png").size) < 1400
    assert "of 1,000 classes have no pictures here" in (tmp_path / "out/report.html").read_text()
