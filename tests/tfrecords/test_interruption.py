"""Conversions that are killed, stopped or run out of disk, and the same command once more."""

import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tf.program.errors import UserError
from tests.heard_signals import hear_signals
from tests.tfrecords.made_pictures import noise
from tfrecords import finished_shards
from tfrecords.convert import main

ROOT = Path(__file__).parents[2]
TRAIN, SHARDS = 20, 10
TRAIN_SHARDS = [f"train-{number:05d}-of-{SHARDS:05d}" for number in range(SHARDS)]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that take a while, so that a conversion is still at work when something happens to it."""
    root = tmp_path_factory.mktemp("large")
    for split, count in (("train", TRAIN), ("val", 2)):
        (root / split / "one").mkdir(parents=True)
        for number in range(count):
            pixels = np.roll(noise(0, 1200, 1200), number, axis=0)
            Image.fromarray(pixels).save(root / split / "one" / f"{number}.jpg", quality=95)
    return root


def arguments(root: Path, out: Path, *more: object) -> list[str]:
    line = ["folder", "--train", root / "train", "--val", root / "val", "--out", out, "--encoding=raw", "--size=64"]
    return [str(part) for part in (*line, "--shards", SHARDS, *more)]


@pytest.fixture(scope="module")
def clean(large: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted conversion of `large` writes."""
    out = tmp_path_factory.mktemp("clean") / "out"
    assert main(arguments(large, out, "--workers=1")) == 0
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def start(*line: str, **options: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "tfrecords.convert", *line]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **{"preexec_fn": hear_signals, **options},
    )


def wait_for(process: subprocess.Popen, happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(process: subprocess.Popen) -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in found.split()]


def alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize(
    ("workers", "moments"),
    [(2, [3]), pytest.param(1, [1, 3, 6], marks=pytest.mark.slow)],
    ids=["2 workers", "1 worker"],
)
def test_killed_outright(
    workers: int, moments: list[int], large: Path, clean: dict[str, bytes], tmp_path: Path
) -> None:
    """kill -9 while it works; the last run finishes the job to the same bytes."""
    out = tmp_path / "out"
    line = arguments(large, out, "--workers", workers)
    for shards in moments:
        process = start(*line)
        wait_for(process, lambda shards=shards: len(finished(out)) >= shards)
        workers_then = children(process)
        process.kill()
        process.communicate()
        wait_for_end(workers_then)
        left = contents(out)
        assert "manifest.json" not in left
        assert all(clean[name] == data for name, data in left.items())
    before = {name: (out / name).stat().st_mtime_ns for name in finished(out)}
    assert main(arguments(large, out, "--workers=1")) == 0
    assert contents(out) == clean
    assert {path.name for path in out.iterdir()} == clean.keys()
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before, "a finished shard was written again"


def finished(out: Path) -> list[str]:
    return [path.name.removesuffix(".finished.npz") for path in out.glob(".unfinished/*.finished.npz")]


def wait_for_end(processes: list[int]) -> None:
    """Workers notice by themselves that their parent is gone."""
    deadline = time.monotonic() + 60
    while any(map(alive, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("workers", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_a_signal_is_answered(workers: int, large: Path, clean: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = arguments(large, out, "--workers", workers)
    process = start(*line)
    wait_for(process, lambda: finished(out))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):  # those of a terminal reach every process of it
        os.killpg(process.pid, number)
        time.sleep(0.05)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 75
    assert "Traceback" not in told
    assert f"of {SHARDS + 1} shards are finished; run the same command again" in told.splitlines()[-1]
    half_done = [path.name for path in (out / ".unfinished").iterdir() if not path.name.endswith(".finished.npz")]
    assert sorted(half_done) == ["conversion.json", "lock"]
    assert main(arguments(large, out, "--workers=1")) == 0
    assert contents(out) == clean


@pytest.mark.slow
def test_a_signal_before_the_first_shard_leaves_nothing(large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(*arguments(large, out, "--workers=1", "--shards=1"))
    wait_for(process, lambda: list(out.glob(".unfinished/train-*")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode == 75
    assert not out.exists()


@pytest.fixture
def begun(large: Path, clean: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that an interrupted conversion left, with four shards finished."""
    saves = itertools.count(1)

    def save_three(*arguments: object) -> None:
        finished_shards.save_result(*arguments)
        if next(saves) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("tfrecords.shards.save_result", save_three)
    with pytest.raises(BaseException, match=r"of 11 shards are finished"):
        main(arguments(large, tmp_path / "out", "--workers=1"))
    monkeypatch.undo()
    return tmp_path / "out"


def test_another_command_is_refused(begun: Path, large: Path, tmp_path: Path) -> None:
    before = contents(begun)
    with pytest.raises(UserError, match="unfinished conversion of other options, size 64 instead of 32"):
        main(arguments(large, begun, "--size=32"))
    with pytest.raises(UserError, match="other options, shards 10 instead of 3"):
        main(arguments(large, begun, "--shards=3"))
    fewer = Path(shutil.copytree(large, tmp_path / "fewer"))
    (fewer / "train/one/3.jpg").unlink()
    with pytest.raises(UserError, match="other pictures"):
        main(arguments(fewer, begun))
    identity = json.loads((begun / ".unfinished/conversion.json").read_text())
    identity["libraries"]["pillow"] = "1.0"
    (begun / ".unfinished/conversion.json").write_text(json.dumps(identity))
    with pytest.raises(UserError, match=r"other libraries, pillow 1\.0 instead of"):
        main(arguments(large, begun))
    assert contents(begun) == before


@pytest.mark.parametrize("damage", ["record", "shard", "shard cut"])
def test_damaged_work_is_done_again(damage: str, begun: Path, large: Path, clean: dict[str, bytes]) -> None:
    if damage == "record":
        record = begun / ".unfinished" / f"{TRAIN_SHARDS[1]}.finished.npz"
        record.write_bytes(record.read_bytes()[:-100])
    elif damage == "shard":
        (begun / TRAIN_SHARDS[1]).unlink()
    else:
        os.truncate(begun / TRAIN_SHARDS[1], 1000)
    assert main(arguments(large, begun, "--workers=1")) == 0
    assert contents(begun) == clean


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("NO SMALL DISK: this user may not mount one; a limit on the size of files is tested nevertheless")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_full_disk_and_more_room(large: Path, clean: dict[str, bytes], tmp_path: Path) -> None:
    """A real one, of 600 kB: some shards fit."""
    with small_disk(tmp_path / "disk", 600):
        out = tmp_path / "disk/out"
        process = start(*arguments(large, out, "--workers=2"))
        _, told = process.communicate(timeout=300)
        assert process.returncode == 1
        assert "Traceback" not in told
        assert "cannot be written: " in told.splitlines()[-1]
        assert "No space left on device" in told.splitlines()[-1]
        left = contents(out)
        assert left
        assert "manifest.json" not in left
        assert all(clean[name] == data for name, data in left.items())
        subprocess.run(["mount", "-o", "remount,size=20m", tmp_path / "disk"], check=True)
        assert main(arguments(large, out, "--workers=1")) == 0
        assert contents(out) == clean


def test_limit_on_file_sizes_is_one_line(large: Path, tmp_path: Path) -> None:
    limit = 4096
    process = start(
        *arguments(large, tmp_path / "out", "--workers=1"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    _, told = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "cannot be written" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_two_at_once(begun: Path, large: Path) -> None:
    process = start(*arguments(large, begun, "--workers=1"))
    wait_for(process, lambda: list(begun.glob(".unfinished/train-*.[0-9]*")))
    with pytest.raises(UserError, match="is being written by another conversion"):
        main(arguments(large, begun))
    process.kill()
    process.communicate()
