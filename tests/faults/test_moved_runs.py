"""A run's folder that is moved, removed or replaced beneath the training that holds it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.metrics import read_lines
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.runs.run import open_run
from alexnet_tf.settings.config import parse_config
from tests.faults.broken_runs import refusal
from tfrecords.manifest import load_manifest
from tfrecords.statistics import Statistics


@pytest.fixture
def training(tiny_data: Path, tmp_path: Path) -> Iterator[TrainingFolder]:
    """One that has saved step 1, of a single variable."""
    with opened(tiny_data, tmp_path / "run") as folder:
        folder.start_metrics(TrainingState())
        save(folder, 1)
        yield folder


def opened(data: Path, path: Path) -> TrainingFolder:
    manifest = load_manifest(data)
    return TrainingFolder(
        path, parse_config("", "x", []), Classes.of(manifest), Statistics.of_data(data, manifest), manifest
    )


def save(folder: TrainingFolder, step: int) -> None:
    folder.save(tf.train.Checkpoint(w=tf.Variable(1.0)), TrainingState(step=step))


@pytest.mark.parametrize("how", ["moved", "removed", "its lock is removed"])
def test_it_goes_on_in_a_whole_folder(
    training: TrainingFolder, tiny_data: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = training.path
    if how == "moved":
        path.rename(path.with_name("elsewhere"))
    elif how == "removed":
        shutil.rmtree(path)
    else:
        (path / "lock").unlink()
    for step in (2, 3):
        save(training, step)
    assert f"run {path} was moved, removed or replaced while it was trained; it goes on" in capsys.readouterr().err
    found = {file.name for file in path.iterdir()}
    assert {"config.yaml", "classes.json", "statistics.npz", "saved.json", "metrics.jsonl"} <= found
    assert open_run(path).checkpoint("latest").name == "step-00000003"
    steps = [fields["step"] for _, fields in read_lines(path / "metrics.jsonl")]
    assert steps == ([1, 2, 3] if "lock" in how else [2, 3])
    assert "being trained by another process" in refusal(lambda: opened(tiny_data, path))
    if how == "moved":
        assert open_run(path.with_name("elsewhere")).checkpoint("latest").name == "step-00000001"


def test_it_does_not_mix_with_a_training_in_its_place(training: TrainingFolder, tiny_data: Path) -> None:
    path = training.path
    path.rename(path.with_name("elsewhere"))
    with opened(tiny_data, path) as other:
        line = refusal(lambda: save(training, 2))
        assert f"run {path} was moved" in line and "another process trains in its place" in line
        save(other, 1)
    assert [folder.name for folder in other.checkpoints.found()] == ["step-00000001"]
    line = refusal(lambda: save(training, 1))
    assert "it is at step 1 now" in line
