"""How a training ends from outside: a closed terminal, a full disk behind stdout. Nothing that was trained is lost."""

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_tf.errors import STOPPED_AFTER_SAVING
from tests.alexnet_tf.run_files import metrics
from tests.faults.broken_runs import assert_same_bits, names, start

Resume = Callable[..., None]
OWN_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
SLOWLY = """
import time
from alexnet_tf.trainer import Trainer
read_loss = Trainer._read_loss
def slowly(trainer, told):
    time.sleep(1)
    read_loss(trainer, told)
Trainer._read_loss = slowly
"""
"""So that a signal comes between two steps and not after the last."""


def test_a_closed_terminal_is_saved_first(run_at_4: Path, config: Path, resume: Resume, finished: Path) -> None:
    before = len(metrics(run_at_4, "train"))
    terminal, own = pty.openpty()
    process = start(
        ["--config", str(config), "--run", str(run_at_4), "train.steps=9"],
        before=OWN_TERMINAL + SLOWLY, stdin=own, stdout=own, stderr=own, start_new_session=True,
    )  # fmt: skip
    os.close(own)
    try:
        wait_until(lambda: len(metrics(run_at_4, "train")) > before, process)
        os.close(terminal)  # the kernel sends SIGHUP, and every further line to the terminal is refused
        assert process.wait(timeout=120) == STOPPED_AFTER_SAVING
    finally:
        process.kill()
    assert int(names(run_at_4)[-1][5:]) in range(5, 9)
    resume(run_at_4)
    assert_same_bits(run_at_4, finished)


def test_nohup_outlives_the_terminal(run_at_4: Path, config: Path, finished: Path) -> None:
    process = start(
        ["--config", str(config), "--run", str(run_at_4), "train.steps=9"],
        before=f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN){SLOWLY}",
    )
    try:
        wait_until(lambda: names(run_at_4)[-1] == "step-00000005", process)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=120) == 0
    finally:
        process.kill()
    assert_same_bits(run_at_4, finished)


def test_stdout_on_a_full_disk_loses_nothing(run_at_4: Path, config: Path, finished: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start(["--config", str(config), "--run", str(run_at_4), "train.steps=9"], stdout=full)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.search(r"^error: the output cannot be written: No space left on device$", errors, re.MULTILINE)
    assert_same_bits(run_at_4, finished)


def wait_until(happened: Callable[[], object], process: subprocess.Popen) -> None:
    for _ in range(1200):
        if happened():
            return
        assert process.poll() is None, "it ended before"
        time.sleep(0.1)
    pytest.fail("nothing happened in two minutes")
