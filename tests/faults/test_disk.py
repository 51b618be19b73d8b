"""Disks: full, read-only, and without power. Real ones, in memory; skipped where they cannot be mounted."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alexnet_tf.program.whole_files import put_in_place, write_whole
from alexnet_tf.runs.metrics import Metrics
from tests.faults.broken_runs import ROOT, assert_same_bits, checkpoint, names, refusal

Resume = Callable[..., None]
Disk = Callable[[str], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; `resize` changes it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True).returncode:
        pytest.skip("NO DISK OF ITS OWN: mounting one in memory takes root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


class TestFull:
    @pytest.mark.usefixtures("small_net")
    def test_at_the_start(self, disk: Path, resume: Resume) -> None:
        remount(disk, "size=1m")
        run = disk / "run"
        line = refusal(lambda: resume(run))
        assert f"{run / 'statistics.npz'} cannot be written: No space left on device; free some space there" in line
        assert not list(run.rglob(".unfinished*"))

    @pytest.mark.usefixtures("small_net")
    @pytest.mark.parametrize("inodes", [2, 5, 9])
    def test_out_of_inodes(self, disk: Path, resume: Resume, inodes: int) -> None:
        remount(disk, f"nr_inodes={inodes}")
        line = refusal(lambda: resume(disk / "run", steps=2))
        assert "cannot be written: No space left on device; free some space there" in line

    def test_at_a_checkpoint_and_with_room_again_to_the_same_bits(
        self, disk: Path, run_at_4: Path, resume: Resume, finished: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = shutil.move(run_at_4, disk / "run")
        used = shutil.disk_usage(disk).used
        size = sum(path.stat().st_size for path in checkpoint(run, 4).iterdir())
        for left in (0, 4096, size // 2):
            remount(disk, f"size={used + left}")
            line = refusal(lambda: resume(run))
            assert "cannot be written: No space left on device; free some space there" in line
            # Its name and nothing of it: what a half checkpoint holds is wanted on a full disk.
            assert str(run) in line
            assert not list(run.rglob(".unfinished*"))
            assert names(run)[-1] == "step-00000004"
            assert f"warning: {run} has room for " in capsys.readouterr().err  # before the first step
        remount(disk, "size=1g")
        resume(run)
        assert "warning" not in capsys.readouterr().err
        assert_same_bits(run, finished)

    @pytest.mark.parametrize("option", ["size=4k", "nr_inodes=1"])
    def test_tensorboard_ends_no_run(
        self, disk: Path, run_at_4: Path, resume: Resume, finished: Path, option: str
    ) -> None:
        remount(disk, option)
        shutil.rmtree(run_at_4 / "tensorboard")
        (run_at_4 / "tensorboard").symlink_to(disk)
        resume(run_at_4)
        assert_same_bits(run_at_4, finished)

    def test_metrics_wait_for_room(self, disk: Path) -> None:
        remount(disk, "size=64k")
        metrics = Metrics(disk / "metrics.jsonl", 0, validated=True)
        filler = (disk / "filler").open("wb")
        with pytest.raises(OSError, match="No space"):
            for _ in range(100):
                filler.write(bytes(1024))
                filler.flush()
        steps = range(1, 200)
        faults = 0
        for step in steps:
            try:
                metrics.log(kind="train", step=step, text="x" * 100)
            except OSError:
                faults += 1
        assert faults
        (disk / "filler").unlink()
        with pytest.raises(OSError, match="No space"):
            filler.close()
        metrics.to_disk()
        metrics.close()
        lines = [json.loads(line)["step"] for line in (disk / "metrics.jsonl").read_text().splitlines()]
        assert lines == list(steps)


class TestReadOnly:
    def test_run(self, disk: Path, run: Path, resume: Resume) -> None:
        moved = shutil.move(run, disk / "run")
        remount(disk, "ro")
        line = refusal(lambda: resume(moved, steps=10))
        assert f"{moved / 'lock'} cannot be written: Read-only file system; make its folder writable" in line

    @pytest.mark.usefixtures("small_net")
    def test_place_for_a_run(self, disk: Path, resume: Resume) -> None:
        remount(disk, "ro")
        assert f"{disk / 'run'} cannot be written: Read-only file system" in refusal(lambda: resume(disk / "run"))


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The calls of a process that saves a checkpoint, adds its validation, and writes a whole file."""
    if not shutil.which("strace"):
        pytest.skip("NO strace: the order of system calls is not seen")
    folder = tmp_path_factory.mktemp("strace")
    trace = folder / "trace"
    # Only these calls are stopped at, or TensorFlow's import would take long.
    traced = "trace=fsync,fdatasync,rename,renameat,renameat2"
    command = ["strace", "--seccomp-bpf", "-f", "-y", "-o", trace, "-e", traced]
    done = subprocess.run(
        [*command, sys.executable, "-c", SAVING, folder / "run"], cwd=ROOT, capture_output=True, text=True
    )
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip("NO strace: this process may not be traced")
    assert done.returncode == 0, done.stderr
    return trace.read_text().splitlines()


class TestPowerCut:
    """What a power cut leaves is not made here, but the order of system calls that decides it is seen."""

    @pytest.mark.parametrize(
        ("file", "unfinished"),
        [
            ("checkpoints/step-00000001/variables.data-00000-of-00001", "checkpoints/.unfinished-step-00000001"),
            ("checkpoints/step-00000001/variables.index", "checkpoints/.unfinished-step-00000001"),
            ("checkpoints/step-00000001/state.json", "checkpoints/.unfinished-step-00000001"),
            ("config.yaml", None), ("classes.json", None), ("statistics.npz", None), ("saved.json", None),
            ("best.json", None), ("metrics.jsonl", None), ("checkpoints/step-00000001/state.json", None),
        ],
    )  # fmt: skip
    def test_first_the_content_then_the_name_then_the_folder(
        self, calls: list[str], file: str, unfinished: str | None
    ) -> None:
        path = Path(file)
        if unfinished:  # a folder is renamed as a whole
            before, written = unfinished, f"{unfinished}/{path.name}"
            final = str(path.parent)
        else:
            before = written = str(path.with_name(f".unfinished-{path.name}"))
            final = file
        synced = self._find(calls, rf"f(data)?sync\(\d+<[^>]*/run/{re.escape(written)}>")
        renamed = self._find(calls, rf'rename.*"[^"]*/run/{re.escape(before)}".*"[^"]*/run/{re.escape(final)}"')
        parent = str(Path("run", final).parent)
        in_folder = [
            number for number in self._all(calls, rf"fsync\(\d+<[^>]*/{re.escape(parent)}>") if number > renamed
        ]
        assert synced < renamed and in_folder and in_folder[0] - renamed <= 3

    def test_lines_of_metrics_are_on_the_disk_when_a_checkpoint_is(self, calls: list[str]) -> None:
        renamed = self._find(calls, r'rename.*"[^"]*/\.unfinished-step-00000001"')
        assert any(number > renamed for number in self._all(calls, r"fsync\(\d+<[^>]*/run/metrics.jsonl>"))

    def _find(self, calls: list[str], pattern: str) -> int:
        found = self._all(calls, pattern)
        assert found, f"no call like {pattern}"
        return found[0]

    def _all(self, calls: list[str], pattern: str) -> list[int]:
        return [number for number, call in enumerate(calls) if re.search(pattern, call)]


SAVING = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
from alexnet_tf.settings.config import Config
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.records import TrainingState
from tfrecords.statistics import Statistics
statistics = Statistics.of_mean_image(np.zeros((8, 8, 3)))
with TrainingFolder(Path(sys.argv[1]), Config(), Classes(keys=["a"], names=["a"]), statistics) as folder:
    folder.start_metrics(TrainingState())
    folder.log(kind="train", step=1)
    folder.save(tf.train.Checkpoint(w=tf.Variable(1.0)), TrainingState(step=1, validation_due=True))
    folder.add_validation(TrainingState(step=1, best_top1_error=0.5), 0.5)
"""


class TestWholeFiles:
    def test_an_older_file_stays_where_the_new_one_has_no_room(self, disk: Path) -> None:
        remount(disk, "size=64k")
        write_whole(disk / "file", b"old")
        assert "No space left on device" in refusal(lambda: write_whole(disk / "file", bytes(1 << 20)))
        assert (disk / "file").read_bytes() == b"old" and len(list(disk.iterdir())) == 1

    def test_what_is_no_file_is_written_as_it_stands(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        write_whole(tmp_path / "pipe", b"content")
        assert os.read(reader, 100) == b"content"
        os.close(reader)
        (tmp_path / "link").symlink_to(tmp_path / "target")
        write_whole(tmp_path / "link", b"content")
        assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"content"
        assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link", "target"}

    def test_a_folder_that_cannot_be_flushed_is_no_fault(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fsync = os.fsync

        def of_files_only(descriptor: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{descriptor}"):
                raise OSError(22, os.strerror(22))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", of_files_only)
        (tmp_path / "new").mkdir()
        (tmp_path / "new/file").write_bytes(b"content")
        put_in_place(tmp_path / "new", tmp_path / "final")
        assert (tmp_path / "final/file").read_bytes() == b"content"
