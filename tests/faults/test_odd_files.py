"""Named pipes and links in the place of a run's files: no command waits at a pipe, none writes into another's file."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alexnet_tf.program.whole_files import hold, read_whole, write_whole
from alexnet_tf.runs.run import open_run
from tests.faults.broken_runs import assert_same_bits, back_to, checkpoint, refusal
from tests.faults.time_limit import time_limit
from tfrecords.manifest import MANIFEST_FILE, load_manifest

Resume = Callable[..., None]
FILES = [
    "config.yaml", "classes.json", "statistics.npz", "metrics.jsonl", "lock",
    "checkpoints/step-00000009/state.json", "checkpoints/step-00000009/variables.index",
]  # fmt: skip
"""Of a run, without which it cannot go on."""


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Ends a test that waits at a pipe."""
    with time_limit(60):
        yield


def pipe_in_place_of(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


class TestPipes:
    @pytest.mark.parametrize("name", FILES)
    def test_is_named(self, run: Path, resume: Resume, name: str) -> None:
        pipe_in_place_of(run / name)
        line = refusal(lambda: resume(run, steps=10))
        assert str((run / name).parent) in line and Path(name).name in line
        assert (run / name).is_fifo()

    def test_best_json_ends_no_run(
        self, run: Path, resume: Resume, finished: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        back_to(run, 6)
        pipe_in_place_of(run / "best.json")
        resume(run)
        assert capsys.readouterr().err.count(f"{run / 'best.json'} cannot be written") == 1
        (run / "best.json").unlink()
        resume(run)  # writes it anew
        assert_same_bits(run, finished)

    def test_an_older_checkpoint_ends_no_run(self, run: Path, resume: Resume) -> None:
        pipe_in_place_of(checkpoint(run, 8) / "state.json")
        resume(run, steps=10)
        assert checkpoint(run, 10).exists()

    def test_of_a_run_that_is_read(self, run: Path) -> None:
        pipe_in_place_of(run / "config.yaml")
        assert f"{run / 'config.yaml'} cannot be read: it is a pipe or a device, no file" in refusal(
            lambda: open_run(run)
        )

    def test_manifest(self, tiny_data: Path, tmp_path: Path) -> None:
        data = shutil.copytree(tiny_data, tmp_path / "data")
        pipe_in_place_of(data / MANIFEST_FILE)
        assert f"{data / MANIFEST_FILE} is a named pipe" in refusal(lambda: load_manifest(data))

    def test_device_that_never_ends(self, run: Path, resume: Resume) -> None:
        (run / "metrics.jsonl").unlink()
        (run / "metrics.jsonl").symlink_to("/dev/zero")
        assert "metrics.jsonl cannot be read: it is a pipe or a device" in refusal(lambda: resume(run, steps=10))

    def test_lock(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "lock")
        assert f"{tmp_path / 'lock'} cannot be written" in refusal(lambda: hold(tmp_path / "lock", "busy"))

    def test_what_is_no_pipe_is_read_as_ever(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"content")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        assert read_whole(tmp_path / "file") == read_whole(tmp_path / "link") == b"content"


@pytest.mark.parametrize("left", ["pipe", "link"])
def test_what_bears_the_name_of_an_unfinished_file_is_not_written_into(tmp_path: Path, left: str) -> None:
    other, unfinished = tmp_path / "other", tmp_path / ".unfinished-file"
    other.write_bytes(b"theirs")
    os.mkfifo(unfinished) if left == "pipe" else unfinished.symlink_to(other)
    write_whole(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours" and not (tmp_path / "file").is_symlink()
    assert other.read_bytes() == b"theirs" and not unfinished.exists()


def test_links_that_lead_in_a_circle_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours" and not (tmp_path / "file").is_symlink()


def test_link_to_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "gone/file")
    line = refusal(lambda: write_whole(tmp_path / "file", b"ours"))
    assert f"{tmp_path / 'file'} cannot be written: No such file or directory; the folder that it goes to" in line
    assert (tmp_path / "file").is_symlink()
