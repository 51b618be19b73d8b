"""One small finished run, of which every test breaks a copy of its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import train
from alexnet_tf.runs.records import TrainingState
from tests.faults.broken_runs import config_text
from tests.narrow_nets import shrink_net

STEPS = 9
"""Of the finished run, of batches of 5 from 24 pictures: saved at 2, 4, 5 (end of an epoch, the best), 6, 8 and 9."""


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A config for the small data set."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(config_text(tiny_data))
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Iterator[Path]:
    """A run of 9 steps; not to be changed."""
    from alexnet_tf.runs.folder import TrainingFolder
    from tests.traced_once import trace_once

    folder = tmp_path_factory.mktemp("finished") / "run"
    save = TrainingFolder.save

    def saving(saved: TrainingFolder, checkpoint: object, state: TrainingState, **options: object) -> None:
        save(saved, checkpoint, state, **options)
        if state.step == 4:
            shutil.copytree(folder, folder.with_name("at 4"))

    with pytest.MonkeyPatch.context() as patch:
        shrink_net(patch)
        trace_once(patch)
        patch.setattr(TrainingFolder, "save", saving)
        train_small(config, folder, STEPS)
    yield folder
    shutil.rmtree(folder.parent)


@pytest.fixture
def run(tmp_path: Path, finished: Path, small_net: None) -> Iterator[Path]:
    """A copy of the finished run, to be broken."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def run_at_4(tmp_path: Path, finished: Path, small_net: None) -> Iterator[Path]:
    """A copy of the same run as it was after its fourth step, the last before an epoch ends."""
    folder = tmp_path / "run"
    shutil.copytree(finished.with_name("at 4"), folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fresh(tmp_path: Path, small_net: None) -> Iterator[Path]:
    """A folder for a run that is not there yet."""
    yield tmp_path / "fresh"
    shutil.rmtree(tmp_path / "fresh", ignore_errors=True)


@pytest.fixture
def resume(config: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Trains on, in this process."""
    from tests.traced_once import trace_once

    trace_once(monkeypatch)

    def resuming(folder: Path, *overrides: str, steps: int = STEPS) -> None:
        train_small(config, folder, steps, *overrides)

    return resuming


def train_small(config: Path, folder: Path, steps: int, *overrides: str) -> None:
    """train.py in this process."""
    assert train.main(["--config", str(config), "--run", str(folder), f"train.steps={steps}", *overrides]) == 0
