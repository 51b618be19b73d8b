"""The system's limits on a process (ulimit): on memory addresses, threads, open files and the size of files."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.limits import NEEDS, check_limits
from alexnet_tf.program.whole_files import write_whole
from tests.faults.broken_runs import INTERNAL, ROOT, assert_same_bits, names, refusal
from tests.faults.conftest import STEPS
from tests.faults.few_files import lowered
from tests.slow_cases import slow

Resume = Callable[..., None]
COMMANDS = {
    "train": ["-m", "alexnet_tf.train", "--config", "demo", "--run", "new", "data.dir=data"],
    "evaluate": ["-m", "alexnet_tf.evaluate", "--run", "run"],
    "predict": ["-m", "alexnet_tf.predict", "--model", "model", "x.jpg"],
    "export": ["-m", "alexnet_tf.export", "--run", "run", "--out", "model"],
    "serve": ["-m", "alexnet_tf.serve", "--model", "model"],
}
OTHER_COMMANDS = list(COMMANDS)[1:]
NOBODY = 54321
"""A user of whom no process runs."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A folder with what the commands look for first: data, a run and a model."""
    folder = tmp_path_factory.mktemp("limited")
    (folder / "data").symlink_to(tiny_data)
    for file in ("run/config.yaml", "model/1/saved_model.pb"):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).touch()
    return folder


def run_limited(arguments: list[str], limit: int, value: int, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """A command under a limit, as a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, preexec_fn=lambda: resource.setrlimit(limit, (value, value)),
    )  # fmt: skip


class TestMemory:
    """A limit that TensorFlow would not survive is told before it is loaded."""

    @pytest.mark.parametrize("command", ["train", *slow(*OTHER_COMMANDS)])
    def test_too_few_addresses_for_tensorflow(self, command: str, place: Path) -> None:
        limit = NEEDS["tensorflow"].memory["-v"] - (100 << 20)
        ended = run_limited(COMMANDS[command], resource.RLIMIT_AS, limit, place)
        assert ended.returncode == 1, ended.stderr
        [line] = ended.stderr.splitlines()
        assert line.startswith(f"error: this process may take {limit / 1e9:.1f} GB of memory addresses (ulimit -v ")
        assert line.endswith("lift the limit with ulimit -v unlimited")

    def test_a_limit_that_may_turn_out_too_low_is_told(self) -> None:
        assert check_limits("tensorflow") is None
        with lowered(resource.RLIMIT_AS, 15_000_000_000):
            assert "15.0 GB of memory addresses (ulimit -v 14648437)" in str(check_limits("tensorflow"))

    @pytest.mark.parametrize(("option", "limit"), [("-v", resource.RLIMIT_AS), ("-d", resource.RLIMIT_DATA)])
    def test_too_few_for_numpy(self, option: str, limit: int) -> None:
        ended = run_limited(["-m", "alexnet_tf.learning_curve", "--run", "run", "--out", "x.png"], limit, 60 << 20)
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == 1 and f"ulimit {option} unlimited" in ended.stderr


@pytest.mark.parametrize("command", ["serve", *slow("train", *OTHER_COMMANDS[:-1])])
def test_too_few_open_files_for_tensorflow(command: str, place: Path) -> None:
    ended = run_limited(COMMANDS[command], resource.RLIMIT_NOFILE, 40, place)
    assert ended.returncode == 1, ended.stderr
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: this process may have 40 files open") and line.endswith("(ulimit -n)")


def test_too_few_threads() -> None:
    """The superuser may always start more, so the process becomes another user's first."""
    become = f"os.setuid({NOBODY}); " if os.geteuid() == 0 else ""
    code = f"import os, alexnet_tf; {become}import tensorflow"
    ended = run_limited(["-c", code], resource.RLIMIT_NPROC, 5)
    assert ended.returncode == 1, ended.stderr
    [line] = ended.stderr.splitlines()
    assert "more threads can be started here, tensorflow needs" in line and "ulimit -u" in line


@pytest.mark.slow
def test_too_few_open_files(run_at_4: Path, resume: Resume, finished: Path, config: Path) -> None:
    """From none on, until there are enough: whichever file it is that is one too many."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faults.few_files", str(config), str(run_at_4), str(STEPS)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line)["told"] for line in ended.stdout.splitlines() if line.startswith('{"told"')]
    assert len(lines) > 3
    for line in lines:
        assert "Too many open files; raise the limit on open files (ulimit -n)" in line and "damaged" not in line
        assert "\n" not in line and not [part for part in INTERNAL if part in line]
    resume(run_at_4)
    assert_same_bits(run_at_4, finished)


@pytest.mark.usefixtures("capsys")  # the tests' own file of what is printed has that limit, too
def test_files_too_large(run_at_4: Path, resume: Resume, finished: Path) -> None:
    for size in (0, 1000, 100_000):
        with lowered(resource.RLIMIT_FSIZE, size):
            line = refusal(lambda: resume(run_at_4))
        assert line.startswith("a checkpoint takes a file of ") and line.endswith("size of files (ulimit -f)")
        with lowered(resource.RLIMIT_FSIZE, size), pytest.raises(UserError, match="File too large; raise the limit on"):
            write_whole(run_at_4 / "statistics.npz", bytes(200_000))
    assert names(run_at_4)[-1] == "step-00000004" and not list(run_at_4.rglob(".unfinished*"))
    resume(run_at_4)
    assert_same_bits(run_at_4, finished)
