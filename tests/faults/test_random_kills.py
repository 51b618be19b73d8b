"""A training that is killed, stopped and frozen at random moments ends in the bits of one that nobody disturbed."""

import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_tf.program.errors import STOPPED_AFTER_SAVING
from tests.alexnet_tf.training.run_files import metrics
from tests.faults.broken_runs import names, start
from tests.faults.conftest import train_small

KILLS = 25
STEPS = 90
"""An end of an epoch every 4.8 steps, and a save every other step: most moments fall into a save or a validation."""
PLATEAU = ("train.schedule=plateau", "train.patience=2")
"""So that the rates hang on the validations, too."""
SEED = 2012


@pytest.mark.slow
@pytest.mark.usefixtures("small_net")
def test_25_kills(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undisturbed, run = tmp_path / "undisturbed", tmp_path / "run"
    train_small(config, undisturbed, STEPS, *PLATEAU)
    draw = random.Random(SEED)
    arguments = ["--config", str(config), "--run", str(run), f"train.steps={STEPS}", *PLATEAU]
    for number in range(1, KILLS + 1):
        # Enough steps are left for all kills, and every moment between two of them is as likely as any other.
        earliest = STEPS * (number - 1) // (KILLS + 1)
        how = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
        delay = draw.uniform(0, 0.8)
        before = _inode(run)
        process = start(arguments)
        try:
            _until(lambda before=before, step=earliest: _inode(run) != before and _last_step(run) > step, process)
            time.sleep(delay)
            status = _end(process, how)
        finally:
            process.kill()
        step = int(names(run)[-1].rpartition("-")[2]) if names(run) else 0
        with capsys.disabled():
            print(f"\n{number}: {how.name} {delay:.3f} s after step {earliest}, status {status}, saved: {step}", end="")
    process = start(arguments)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    last = f"checkpoints/step-{STEPS:08d}"
    for name in (f"{last}/variables.data-00000-of-00001", f"{last}/state.json", "best.json"):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert names(run) == names(undisturbed)
    validated, expected = ([line["step"] for line in metrics(each, "validation")] for each in (run, undisturbed))
    assert validated == expected
    saved = [line["step"] for line in metrics(run, "checkpoint")]  # those that a SIGTERM asked for are among them
    assert saved == sorted(set(saved)) and set(saved) >= {line["step"] for line in metrics(undisturbed, "checkpoint")}


def _end(process: subprocess.Popen, how: signal.Signals) -> int:
    process.send_signal(how)
    if how == signal.SIGSTOP:  # frozen, as by a full machine, and then gone on with; killed a moment later
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    expected = {signal.SIGTERM: (STOPPED_AFTER_SAVING, 0)}.get(how, (-signal.SIGKILL, 0))
    assert process.returncode in expected, errors
    return process.returncode


def _inode(run: Path) -> int:
    """Of metrics.jsonl, which each process writes anew when it begins to train."""
    path = run / "metrics.jsonl"
    return path.stat().st_ino if path.exists() else 0


def _last_step(run: Path) -> int:
    path = run / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return max((int(step) for step in re.findall(r'"step": (\d+)[,}]', text)), default=0)


def _until(happened: Callable[[], bool], process: subprocess.Popen) -> None:
    for _ in range(12_000):
        if happened() or process.poll() is not None:
            return
        time.sleep(0.02)
    pytest.fail("nothing happened in four minutes")
