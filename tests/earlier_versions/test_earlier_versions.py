"""Records, a run and an exported model that an earlier version made still open, resume and serve, with its numbers.

`files.tar.xz` is what commit 8426980 (2026-11-24) left behind: records of 12 and 9 generated pictures, a run of four
steps of preset 2012-code whose convolutions have 4 kernels in each tower and fc6 and fc7 4 units, an export of it, and
`expected.json`, what that version said of them: its error rates, its losses when it trained on to step 7, and its
predictions.
"""

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import export
import train
from alexnet_tf import evaluate, predict
from alexnet_tf.settings.presets import PRESETS, Widths
from tests.alexnet_tf.training.run_files import metrics, steps_of
from tfrecords import verify

FILES = Path(__file__).with_name("files.tar.xz")
NARROW = Widths(conv1=4, conv2=4, conv3=4, conv4=4, conv5=4, fc6=4, fc7=4)
CLOSE = 1e-3
"""In proportion: float32 on another processor, and several steps of it."""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(FILES) as archive:
        archive.extractall(folder, filter="data")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def files(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the files, in which the run's own paths lead to its data."""
    program = PRESETS["2012-code"]
    monkeypatch.setitem(PRESETS, "2012-code", replace(program, network=replace(program.network, widths=NARROW)))
    monkeypatch.chdir(unpacked)
    return unpacked


@pytest.fixture(scope="module")
def expected(unpacked: Path) -> dict:
    return json.loads((unpacked / "expected.json").read_text())


def test_records_are_sound(files: Path) -> None:
    assert verify.main(["data"]) == 0


@pytest.mark.parametrize("views", [1, 10])
def test_run_has_its_error_rates(files: Path, expected: dict, views: int) -> None:
    of_run = ["--run", "run", "--checkpoint", "latest", f"--views={views}", "--json", "found.json"]
    assert evaluate.main(of_run) == 0
    found = json.loads((files / "found.json").read_text())
    assert {key: found[key] for key in expected[f"{views} views"]} == pytest.approx(
        expected[f"{views} views"], rel=CLOSE
    )


def test_run_resumes_with_its_losses(files: Path, expected: dict) -> None:
    shutil.copytree(files / "run", files / "longer")
    settings = ["data.dir=data", "model.preset=2012-code", "data.batch_size=4", "data.eval_batch_size=4"]
    settings += ["train.learning_rate=0.0001", "train.log_every=1", "devices.towers=two-cpus", "train.steps=7"]
    (files / "empty.yaml").write_text("")
    assert train.main(["--config", "empty.yaml", "--run", "longer", *settings]) == 0
    assert steps_of(files / "longer")[-1] == 7
    losses = {str(line["step"]): line["loss"] for line in metrics(files / "longer", "train")}
    assert losses == pytest.approx({step: expected["losses"][step] for step in losses}, rel=CLOSE)
    assert {"6", "7"} <= losses.keys()


def test_exported_model_has_its_predictions(files: Path, expected: dict, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main(["--model", "models/alexnet", *expected["predict"], "--json"]) == 0
    assert_same_predictions(json.loads(capsys.readouterr().out), expected["predict"])


def test_run_is_exported_beside_it(files: Path, expected: dict, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--run", "run", "--out", "models/alexnet", "--keep", "5"]) == 0
    assert sorted(path.name for path in (files / "models/alexnet").glob("[0-9]*")) == ["1", "2"]
    capsys.readouterr()
    assert predict.main(["--model", "models/alexnet/2", *expected["predict"], "--json"]) == 0
    assert_same_predictions(json.loads(capsys.readouterr().out), expected["predict"])


def assert_same_predictions(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for picture, classes in expected.items():
        assert [one["label"] for one in found[picture]] == [one["label"] for one in classes]
        probabilities = [[one["probability"] for one in each] for each in (found[picture], classes)]
        assert probabilities[0] == pytest.approx(probabilities[1], rel=CLOSE, abs=2e-6)  # six decimals are printed
