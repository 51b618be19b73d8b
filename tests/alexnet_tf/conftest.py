"""Runs in folders that are removed at once, and a narrow network."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import train
from tests.narrow_nets import shrink_net


def switch_dropout_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks made from now on keep every unit."""
    from alexnet_tf.networks import alexnet as model

    layer = model.dropout_layer
    monkeypatch.setattr(model, "dropout_layer", lambda scaled, rate, **options: layer(scaled, 0.0, **options))


@pytest.fixture(scope="module")
def small_nets() -> Iterator[None]:
    """Networks made by a module's tests and fixtures are narrow."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_net(patch)
        yield


@pytest.fixture
def float64() -> Iterator[None]:
    """Layers made meanwhile compute in float64, where two right programs agree to 14 digits."""
    import keras

    keras.mixed_precision.set_global_policy("float64")
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    """A folder for runs; pytest would keep 3 sessions' checkpoints."""
    folder = tmp_path / "runs"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def arguments(tmp_path: Path, tiny_data: Path) -> Callable[..., list[str]]:
    """Of train.py: for a run, with overrides. 24 pictures, so 5 steps of batch 5 end an epoch."""
    config = tmp_path / "tiny.yaml"
    config.write_text(
        f"model: {{preset: 2012-code}}\ndata: {{dir: {tiny_data}, batch_size: 5, eval_batch_size: 5}}\n"
        "train: {learning_rate: 0.003, log_every: 1}\ndevices: {towers: two-cpus}\n"
    )

    def of(run: Path, *overrides: str) -> list[str]:
        return ["--config", str(config), "--run", str(run), *overrides]

    return of


@pytest.fixture
def run_training(arguments: Callable[..., list[str]]) -> Callable[..., None]:
    """train.py in this process."""

    def run(folder: Path, *overrides: str) -> None:
        assert train.main(arguments(folder, *overrides)) == 0

    return run
