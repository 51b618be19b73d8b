"""Named pipes and links in the place of a run's files: no command waits at a pipe, none writes into another's file."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alexnet_tf import evaluate
from alexnet_tf.program import text_files, whole_files
from alexnet_tf.program.errors import run_command
from alexnet_tf.program.whole_files import hold, read_whole, write_whole
from alexnet_tf.runs.metrics import Metrics, read_lines
from alexnet_tf.runs.run import open_run
from alexnet_tf.serving.metadata import write_metadata
from alexnet_tf.serving.versions import MODEL_FILE
from alexnet_tf.settings.config import load_config
from tests.faults.broken_runs import assert_same_bits, back_to, checkpoint, refusal
from tests.faults.time_limit import time_limit
from tests.heard_signals import signals_restored
from tfrecords.manifest import MANIFEST_FILE, load_manifest

Resume = Callable[..., None]
FILES = [
    "config.yaml", "classes.json", "statistics.npz", "lock",
    "checkpoints/step-00000009/state.json", "checkpoints/step-00000009/variables.index",
]  # fmt: skip
"""Of a run, without which it cannot go on."""
NOBODY = 54321


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

    def test_lock(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "lock")
        assert f"{tmp_path / 'lock'} cannot be written" in refusal(lambda: hold(tmp_path / "lock", "busy"))

    def test_what_is_no_pipe_is_read_as_ever(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"content")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        assert read_whole(tmp_path / "file") == read_whole(tmp_path / "link") == b"content"


@contextlib.contextmanager
def as_nobody(run: Path) -> Iterator[None]:
    """Meanwhile this process is another user, to whom the run belongs, though not the right to read all of it."""
    if os.geteuid():
        pytest.skip("NOT ROOT: only root may become another user")
    for path in (run, *run.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    for folder in run.parents:
        if not (mode := folder.stat().st_mode) & 0o001:
            folder.chmod(mode & 0o7777 | 0o011)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


class TestPermissions:
    @pytest.mark.parametrize("name", ["checkpoints", "checkpoints/step-00000009", *FILES[:3], *FILES[4:]])
    def test_what_this_user_may_not_read_is_named(self, run: Path, name: str) -> None:
        (run / name).chmod(0)
        with as_nobody(run):
            line = refusal(lambda: open_run(run).checkpoint("latest"))
        assert str(run / name) in line and "cannot be read: Permission denied; make it, and the folders above" in line

    def test_a_folder_that_this_user_may_not_enter(
        self, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["evaluate", "--run", str(run)])
        run.chmod(0)
        with as_nobody(run), signals_restored(), pytest.raises(SystemExit) as ended:
            run_command(evaluate.main)
        told = (
            f"error: {run / 'config.yaml'}: Permission denied; let this user into it, and into the folders above it\n"
        )
        assert (ended.value.code, capsys.readouterr().err) == (1, told)


@pytest.mark.parametrize(
    "what",
    [
        "folder", "link to nowhere",
        *(pytest.param(what, marks=pytest.mark.slow) for what in ("pipe", "device", "links in a circle")),
    ],
)  # fmt: skip
def test_what_is_in_the_place_of_a_runs_log_ends_no_run(
    run_at_4: Path, resume: Resume, finished: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told and left as it is; once it is gone, later lines are taken."""
    path, run = run_at_4 / "metrics.jsonl", run_at_4
    path.unlink()
    if what == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"link to nowhere": "gone/file", "device": "/dev/zero"}.get(what, path))
    was = path.lstat().st_ino
    resume(run)
    told = capsys.readouterr().err
    assert told.count(f"{path} cannot be used (") == 1 and "the run continues" in told
    assert f"{path} lacks the lines that waited" in told
    assert path.lstat().st_ino == was
    assert_same_bits(run, finished)


def test_nor_an_evaluation(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a checkpoint whose error only the log could tell, for it was not validated."""
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").mkdir()
    assert evaluate.main(["--run", str(run), "--checkpoint", "latest"]) == 0
    assert "not validated" in capsys.readouterr().out


def test_nor_an_export(run: Path, tmp_path: Path) -> None:
    """At the end of whose work the metadata are written."""
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").mkdir()
    write_metadata(tmp_path, [open_run(run)], [checkpoint(run, 5)], "apply", None)
    assert json.loads((tmp_path / MODEL_FILE).read_text())["nets"][0]["validation"] is None


def test_lines_that_waited_for_a_folder_to_go_are_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.mkdir()
    metrics = Metrics(path, 0, validated=True)
    for act in (metrics.begin, lambda: metrics.log(kind="train", step=1), metrics.to_disk):
        assert "Is a directory" in refusal(act)
    path.rmdir()
    metrics.log(kind="train", step=2)
    metrics.close()
    assert [fields and fields["step"] for _, fields in read_lines(path)] == [1, 2]


@pytest.mark.parametrize("left", ["pipe", "link"])
def test_what_bears_the_name_of_an_unfinished_file_is_not_written_into(tmp_path: Path, left: str) -> None:
    other, unfinished = tmp_path / "other", tmp_path / ".unfinished-file"
    other.write_bytes(b"theirs")
    os.mkfifo(unfinished) if left == "pipe" else unfinished.symlink_to(other)
    write_whole(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours" and not (tmp_path / "file").is_symlink()
    assert other.read_bytes() == b"theirs" and not unfinished.exists()


def test_resolved_yaml_ends_no_run(
    run_at_4: Path, resume: Resume, finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_files, "READER_SECONDS", 0.1)
    pipe_in_place_of(run_at_4 / "resolved.yaml")
    resume(run_at_4)
    assert f"{run_at_4 / 'resolved.yaml'} cannot be written" in capsys.readouterr().err
    assert_same_bits(run_at_4, finished)


class TestStreams:
    """`--json /dev/stdout | jq`: the path's real name is that of no file."""

    def test_into_a_pipe(self) -> None:
        reader, writer = os.pipe()
        write_whole(Path(f"/dev/fd/{writer}"), b"content")
        os.close(writer)
        assert os.read(reader, 100) == b"content"
        os.close(reader)

    def test_into_a_file_behind_what_was_printed(self, tmp_path: Path) -> None:
        with (tmp_path / "out").open("wb", buffering=0) as out:
            out.write(b"before, ")
            write_whole(Path(f"/proc/self/fd/{out.fileno()}"), b"content, ")
            out.write(b"after")
        assert (tmp_path / "out").read_bytes() == b"before, content, after"

    def test_one_that_is_not_open_is_named(self) -> None:
        assert "/dev/fd/999 cannot be written: Bad file descriptor" in refusal(
            lambda: write_whole(Path("/dev/fd/999"), b"content")
        )

    def test_a_reader_that_comes_a_little_later_is_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with ThreadPoolExecutor() as pool:
            written = pool.submit(write_whole, tmp_path / "pipe", b"content")
            time.sleep(0.3)
            assert (tmp_path / "pipe").read_bytes() == b"content"
            written.result()


@pytest.mark.parametrize("place", ["gone/figures.json", "folder", "file/figures.json", "x" * 250])
def test_figures_that_could_be_written_nowhere_are_told_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr("alexnet_tf.runs.run.open_run", lambda path: pytest.fail("the work has begun"))
    line = refusal(lambda: evaluate.main(["--run", str(run), "--json", str(tmp_path / place)]))
    assert line.startswith(f"{tmp_path / place} cannot be written: ")
    assert not list(tmp_path.glob(".unfinished*"))


def test_a_config_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MOST", 1000)
    assert "config /dev/zero has more than 1000 bytes" in refusal(lambda: load_config(Path("/dev/zero")))


def test_links_that_lead_in_a_circle_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours" and not (tmp_path / "file").is_symlink()


def test_link_to_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "gone/file")
    line = refusal(lambda: write_whole(tmp_path / "file", b"ours"))
    assert f"{tmp_path / 'file'} cannot be written: No such file or directory; the folder that it goes to" in line
    assert (tmp_path / "file").is_symlink()
