"""SIGTERM in the middle of a training: saved, told, taken up again."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import train
from alexnet_tf.program.errors import STOPPED_AFTER_SAVING, StoppedBySignal, UserError
from alexnet_tf.training.loop import Trainer
from tests.alexnet_tf.training.run_files import metrics, steps_of
from tests.heard_signals import hear_signals
from tests.narrow_nets import NARROW_COMMAND, shrink_net
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = [
    pytest.param(["-c", NARROW_COMMAND, "train"], id="small network"),
    pytest.param(["train.py"], id="train.py", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_sigterm_saves_and_the_same_command_goes_on(
    runs: Path, arguments: Callable[..., list[str]], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that is stopped is one of its own; what follows shares the test's."""
    if NARROW_COMMAND in command:
        shrink_net(monkeypatch)
    run = runs / "run"
    line = [sys.executable, *command, *arguments(run, "train.epochs=1000", "train.checkpoint_every=100000")]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: (run / "metrics.jsonl").exists() and metrics(run, "train"), process, seconds=600)
        with pytest.raises(UserError, match=r"is being trained by another process"):
            train.main(arguments(run, "train.epochs=1000"))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == STOPPED_AFTER_SAVING
    step = int(re.search(r"stopped by SIGTERM, saved at step (\d+)", errors)[1])
    assert steps_of(run)[-1] == step
    assert train.main(arguments(run, "train.epochs=1000", f"train.steps={step + 1}")) == 0
    assert steps_of(run)[-1] == step + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_tensorflow_is_loaded(tmp_path: Path, number: signal.Signals) -> None:
    """Commands load it once their arguments are read; a signal may come anywhere on the way."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1/saved_model.pb").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "alexnet_tf", "predict", "--model", str(tmp_path), "x.jpg"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=hear_signals,
    )  # fmt: skip
    try:
        wait_until(lambda: "libtensorflow" in Path(f"/proc/{process.pid}/maps").read_text(), process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (STOPPED_AFTER_SAVING, "interrupted; nothing was left half-written\n")


@pytest.mark.usefixtures("small_net")
def test_signal_at_any_moment_is_saved_first(
    runs: Path, run_training: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_to_save = Trainer._has_to_save

    def interrupted(trainer: Trainer) -> bool:
        answer = has_to_save(trainer)
        if trainer.state.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return answer

    monkeypatch.setattr(Trainer, "_has_to_save", interrupted)
    with pytest.raises(StoppedBySignal) as stopped:
        run_training(runs / "run", "train.steps=4")
    step = int(re.search(r"saved at step (\d+)", str(stopped.value))[1])
    assert step in steps_of(runs / "run")
