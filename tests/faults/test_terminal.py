"""What a training prints to goes away: a closed terminal, a reader that leaves, a full disk. The training does not."""

import contextlib
import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from alexnet_tf.program.errors import STOPPED_AFTER_SAVING
from tests.alexnet_tf.training.run_files import metrics, steps_of, tensors
from tests.faults.conftest import STEPS
from tests.narrow_nets import NARROW_COMMAND

ROOT = Path(__file__).resolve().parents[2]
TALK = """
import sys, time
from alexnet_tf.program.standard_streams import outlive_readers
outlive_readers()
from tqdm import tqdm
sys.stdin.readline()
bar = tqdm(total=500, file=sys.stderr, mininterval=0)
for number in range(500):
    print("an Ångström of a line", number)
    bar.update()
bar.write("a line above the bar")
bar.close()
print("stderr is here", file=sys.stderr)
sys.exit(6)
"""
"""Waits for a line, prints much, and comes to its own end."""


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Two ends of a terminal, ours and the program's; ours may be closed meanwhile."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        for end in (ours, theirs):
            with contextlib.suppress(OSError):
                os.close(end)


def take_terminal() -> None:
    """Makes a new process the first of the terminal on its stdout, as a shell is: SIGHUP tells it when that closes."""
    os.setsid()
    fcntl.ioctl(1, termios.TIOCSCTTY, 0)


class TestStreams:
    """Without TensorFlow: whatever becomes of stdout and stderr, the program comes to its own end and status."""

    def run(self, **streams: object) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", TALK], cwd=ROOT, text=True, stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": "ascii:strict"}, **streams,
        )  # fmt: skip

    def test_full_disk(self) -> None:
        with open("/dev/full", "w") as full, self.run(stdout=full, stderr=subprocess.PIPE) as process:
            _, errors = process.communicate("go\n", timeout=30)
        assert process.returncode == 6
        assert errors.count("stdout cannot be written (No space left on device)") == 1
        assert errors.endswith("stderr is here\n") and "Traceback" not in errors

    def test_full_disk_for_both(self) -> None:
        with open("/dev/full", "w") as full, self.run(stdout=full, stderr=full) as process:
            process.communicate("go\n", timeout=30)
        assert process.returncode == 6

    def test_readers_that_left(self) -> None:
        with self.run(stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.close()
            process.stderr.close()
            process.stdin.write("go\n")
        assert process.returncode == 6

    def test_dead_terminal(self) -> None:
        with terminal() as (ours, theirs), self.run(stdout=theirs, stderr=theirs) as process:
            os.close(ours)
            process.stdin.write("go\n")
        assert process.returncode == 6

    def test_letters_that_the_stream_does_not_know(self) -> None:
        with self.run(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            out, _ = process.communicate("go\n", timeout=30)
        assert process.returncode == 6 and out.startswith("an \\xc5ngstr\\xf6m of a line 0\n")
        assert out.endswith("a line above the bar\n")


PRINT = """
import os, sys
from alexnet_tf.program.errors import run_command
from alexnet_tf.program.standard_streams import lines_dropped, outlive_readers
def main(arguments):
    if arguments:
        outlive_readers()
    sys.stdin.readline()
    print("\\n".join(["an Ångström of a line"] * int(os.environ["LINES"])), flush=bool(arguments))
    return 3 if lines_dropped() else 0
run_command(main)
"""


class TestWhatACommandPrints:
    """Of a command whose product is what it prints, and of one (with an argument) that has other work to do."""

    def run(self, arguments: list[str], lines: int = 1, unbuffered: str = "", **streams: object) -> subprocess.Popen:
        settings = {"PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": unbuffered, "LINES": str(lines)}
        return subprocess.Popen(
            [sys.executable, "-c", PRINT, *arguments], cwd=ROOT, text=True, stdin=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, **settings}, **streams,
        )  # fmt: skip

    @pytest.mark.parametrize(("arguments", "status"), [([], 1), (["work"], 3)])
    def test_full_disk(self, arguments: list[str], status: int) -> None:
        with open("/dev/full", "w") as full, self.run(arguments, stdout=full) as process:
            _, errors = process.communicate("go\n", timeout=30)
        assert process.returncode == status
        assert "stdout cannot be written" in errors and "No space left on device" in errors
        assert errors.count("\n") == 1 and "Traceback" not in errors

    @pytest.mark.parametrize("unbuffered", ["", "1"])
    @pytest.mark.parametrize("lines", [1, 1000])
    def test_reader_that_has_read_enough(self, lines: int, unbuffered: str) -> None:
        """As in `alexnet-tf configs | head -1`: no word about it, whether few lines wait for the end or many do not."""
        with self.run([], lines, unbuffered, stdout=subprocess.PIPE) as process:
            process.stdout.close()
            process.stdin.write("go\n")
            process.stdin.close()
            errors = process.stderr.read()
        assert (process.returncode, errors) == (141, "")

    def test_reader_that_left_the_work_to_go_on(self) -> None:
        with self.run(["work"], stdout=subprocess.PIPE) as process:
            process.stdout.close()
            process.stdin.write("go\n")
            process.stdin.close()
            errors = process.stderr.read()
        assert process.returncode == 3
        assert "stdout cannot be written" in errors and errors.count("\n") == 1 and "Traceback" not in errors

    def test_letters_that_the_stream_does_not_know(self) -> None:
        with self.run([], stdout=subprocess.PIPE) as process:
            out, errors = process.communicate("go\n", timeout=30)
        assert (process.returncode, out, errors) == (0, "an \\xc5ngstr\\xf6m of a line\n", "")


class Training:
    """train.py with the small network, as a process."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder = folder
        self.config = config

    def start(self, run: str, *overrides: str, **options: object) -> subprocess.Popen:
        arguments = ["train", "--config", str(self.config), "--run", str(self.folder / run), *overrides]
        return subprocess.Popen([sys.executable, "-c", NARROW_COMMAND, *arguments], cwd=ROOT, **options)

    def finish(self, run: str) -> dict[str, np.ndarray]:
        """Goes on to the last step; the weights and velocities there."""
        with self.start(run, f"train.steps={STEPS}", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            errors = process.stderr.read()
        assert process.returncode == 0, errors
        return tensors(self.folder / run, STEPS)

    def wait_for_step(self, run: str, process: subprocess.Popen) -> None:
        path = self.folder / run
        until = time.monotonic() + 120
        while not ((path / "metrics.jsonl").exists() and metrics(path, "train")):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Iterator[Training]:
    folder = tmp_path_factory.mktemp("terminal")
    yield Training(folder, config)
    shutil.rmtree(folder)


Compare = Callable[[dict[str, np.ndarray]], None]


@pytest.fixture
def same_bits(finished: Path) -> Compare:
    """Sees that weights and velocities are those of a run that nobody disturbed."""
    undisturbed = tensors(finished, STEPS)

    def compare(found: dict[str, np.ndarray]) -> None:
        assert found.keys() == undisturbed.keys()
        for name, value in undisturbed.items():
            assert value.tobytes() == found[name].tobytes(), name

    return compare


@pytest.mark.slow  # the fast one is in test_environment.py
def test_stdout_on_a_full_disk_loses_no_epoch(training: Training, same_bits: Compare) -> None:
    with (
        open("/dev/full", "w") as full,
        training.start("full", f"train.steps={STEPS}", stdout=full, stderr=subprocess.PIPE, text=True) as process,
    ):
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    line = "stdout cannot be written (No space left on device): its lines are dropped, the work continues"
    assert errors.splitlines().count(line) == 1
    same_bits(tensors(training.folder / "full", STEPS))


@pytest.mark.slow
def test_closed_terminal_stops_after_saving(training: Training, same_bits: Compare) -> None:
    with terminal() as (ours, theirs):
        process = training.start(
            "closed", "train.epochs=1000", stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=take_terminal
        )
        os.close(theirs)
        training.wait_for_step("closed", process)
        os.close(ours)
        assert process.wait(timeout=180) == STOPPED_AFTER_SAVING
    assert steps_of(training.folder / "closed")[-1] >= 1
    if steps_of(training.folder / "closed")[-1] < STEPS:
        same_bits(training.finish("closed"))


@pytest.mark.slow
def test_closed_terminal_under_nohup_changes_nothing(training: Training, same_bits: Compare) -> None:
    def ignoring() -> None:
        take_terminal()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with terminal() as (ours, theirs):
        process = training.start(
            "nohup", f"train.steps={STEPS}", stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=ignoring
        )
        os.close(theirs)
        time.sleep(3)
        os.close(ours)
        assert process.wait(timeout=120) == 0
    same_bits(tensors(training.folder / "nohup", STEPS))


@pytest.mark.slow
def test_without_any_stream_without_a_home_and_on_one_processor(training: Training, same_bits: Compare) -> None:
    """`env -u HOME taskset -c 0 train.py <&- >&- 2>&-`, as some schedulers start programs."""

    def bare() -> None:
        os.closerange(0, 3)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    process = training.start("bare", f"train.steps={STEPS}", preexec_fn=bare, env=environment)
    assert process.wait(timeout=180) == 0
    same_bits(tensors(training.folder / "bare", STEPS))


@pytest.mark.slow
def test_reader_that_leaves(training: Training, same_bits: Compare) -> None:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with training.start("head", f"train.steps={STEPS}", **options) as process:
        process.stdout.close()
        process.stderr.close()
    assert process.returncode == 0
    same_bits(tensors(training.folder / "head", STEPS))
