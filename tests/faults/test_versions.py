"""Folders of exported versions beside what is not ours, killed exports, odd names: nothing of a user's is removed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_tf.program.errors import UserError
from alexnet_tf.serving.versions import HIGHEST, model_name, new_version, newest_version, version_folders
from tests.alexnet_tf.serving.made_exports import OLDER, OLDEST, write_export


def export(out: Path, version: int | None = None, keep: int | None = None) -> list[str]:
    """What export.py does with folders; returns what it tells."""
    told: list[str] = []
    with new_version(out, version, keep=keep, report=told.append) as (folder, _):
        write_export(folder)
    return told


def snapshot(out: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(out)): path.read_bytes() if path.is_file() else None
        for path in sorted(out.rglob("*"))
        if path.name != ".lock"
    }


def test_keep_removes_our_exports_only(tmp_path: Path) -> None:
    """Numbered runs, another program's model, one of ours with a file of the user's in it, a link, a file, 0003."""
    out = tmp_path / "alexnet"
    for version, model in ((1, None), (2, OLDER), (4, OLDEST), (5, None)):
        write_export(out / str(version), model)
    theirs = tmp_path / "theirs"
    write_export(theirs / "linked")
    (out / "6").mkdir()
    (out / "6" / "config.yaml").write_text("a run")
    (out / "7" / "assets.extra").mkdir(parents=True)
    (out / "7" / "saved_model.pb").write_text("another program's")
    for version, model in ((8, {"made_by": "somebody"}), (9, ["alexnet-tf"]), (10, {"nets": []})):
        write_export(out / str(version), model)
    (write_export(out / "11") / "notes.txt").write_text("mine")
    (write_export(out / "12") / "assets.extra" / "mine.json").write_text("mine")
    (out / "13").symlink_to(theirs / "linked")
    (out / "14").write_text("a file")
    write_export(out / "0003")
    (write_export(out / "15") / "variables" / "variables.backup").symlink_to(theirs / "linked")
    (write_export(out / "16") / "assets.extra" / "model.json").write_bytes(b"[" * 100_000)
    (write_export(out / "17") / "variables" / "variables-of-mine.txt").write_text("mine")
    pipe = write_export(out / "18") / "assets.extra" / "model.json"
    pipe.unlink()
    os.mkfifo(pipe)
    write_export(out / "step-7")
    before, linked = snapshot(out), snapshot(theirs)
    told = export(out, 20, keep=1)
    assert told == [
        "left alone and not counted, for alexnet-tf export did not make it as it stands: "
        f"0003, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18 in {out}"
    ]
    after = snapshot(out)
    gone = {"1", "2", "4"}
    assert {name: after[name] for name in before if name.split("/")[0] not in gone} == {
        name: content for name, content in before.items() if name.split("/")[0] not in gone
    }
    assert {name.split("/")[0] for name in after} == {name.split("/")[0] for name in before} - gone | {"20"}
    assert snapshot(theirs) == linked


@pytest.mark.parametrize(("keep", "left"), [(0, [3, 5]), (1, [3, 4, 5]), (2, [2, 3, 4, 5]), (9, [1, 2, 3, 4, 5])])
def test_the_version_just_written_stays(tmp_path: Path, keep: int, left: list[int]) -> None:
    for version in (1, 2, 4, 5):
        write_export(tmp_path / str(version))
    told = export(tmp_path, 3, keep)
    assert told == [f"a server loads version 5 of {tmp_path}, the highest number there, and not 3"]
    assert list(version_folders(tmp_path)) == left


def test_the_highest_may_be_somebody_elses(tmp_path: Path) -> None:
    write_export(tmp_path / "1")
    (tmp_path / "2024").mkdir()
    told = export(tmp_path, 2, keep=0)
    assert any("a server loads version 2024" in line for line in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "2", "2024"]


def test_leading_zeros_are_read_and_never_written(tmp_path: Path) -> None:
    write_export(tmp_path / "0001")
    write_export(tmp_path / "0010")
    assert newest_version(tmp_path) == tmp_path / "0010"
    assert version_folders(tmp_path) == {1: tmp_path / "0001", 10: tmp_path / "0010"}
    with pytest.raises(UserError, match=r"/0010 exists and stays"):
        export(tmp_path, 10)
    export(tmp_path)
    assert newest_version(tmp_path) == tmp_path / "11"
    write_export(tmp_path / "011")
    assert newest_version(tmp_path) == tmp_path / "11"


def test_numbers_that_no_server_reads_are_passed_over(tmp_path: Path) -> None:
    write_export(tmp_path / "3")
    for name in ("99999999999999999999", "9" * 250, "٤", "-5", "6.0"):
        write_export(tmp_path / name)
    assert list(version_folders(tmp_path)) == [3] and newest_version(tmp_path) == tmp_path / "3"
    with pytest.raises(UserError, match=f"--version {2**63} is beyond {HIGHEST}"):
        export(tmp_path, 2**63)
    export(tmp_path)
    assert newest_version(tmp_path) == tmp_path / "4"
    export(tmp_path, HIGHEST)
    with pytest.raises(UserError, match="give a lower --version"):
        export(tmp_path)


def test_folders_without_a_model_are_passed_over(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no exported model"):
        newest_version(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        newest_version(tmp_path / "missing")
    write_export(tmp_path / "1")
    (tmp_path / "2").mkdir()  # a copy that has only begun
    (tmp_path / "3").symlink_to(tmp_path / "gone")
    assert newest_version(tmp_path) == tmp_path / "1"
    with pytest.raises(UserError, match=r"/3 exists and stays"):
        export(tmp_path, 3)


def test_a_linked_model_has_the_links_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_export(tmp_path / "models" / "alexnet-2024" / "1")
    (tmp_path / "alexnet").symlink_to(tmp_path / "models" / "alexnet-2024")
    monkeypatch.chdir(tmp_path)
    assert model_name(Path("alexnet")) == model_name(tmp_path / "alexnet/") == "alexnet"
    assert newest_version(Path("alexnet")) == Path("alexnet/1")
    monkeypatch.chdir(tmp_path / "models" / "alexnet-2024")
    assert model_name(Path(".")) == "alexnet-2024"


def test_only_leftovers_of_exports_are_removed(tmp_path: Path) -> None:
    left = write_export(tmp_path / ".unfinished-2")
    (left / "variables" / "variables_temp").mkdir()
    (left / "variables" / "variables_temp" / "part-00000-of-00001.data-00000-of-00001").touch()
    write_export(tmp_path / "elsewhere")
    (tmp_path / ".unfinished-3").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".unfinished-4").write_text("a file")
    (tmp_path / ".unfinished-5").mkdir()
    (tmp_path / ".unfinished-5" / "thesis.tex").write_text("mine")
    write_export(tmp_path / ".unfinished-poem")
    told = export(tmp_path, 1)
    assert [line.rpartition("/")[2] for line in told] == [f".unfinished-{name}" for name in ("3", "4", "5", "poem")]
    assert not left.exists() and newest_version(tmp_path) == tmp_path / "1"
    assert (tmp_path / ".unfinished-5" / "thesis.tex").read_text() == "mine"
    assert (tmp_path / "elsewhere" / "saved_model.pb").exists()
    with pytest.raises(UserError, match=r"unfinished-5 is in the way"):
        export(tmp_path, 5)


KILLED = """
import os, signal, sys
from pathlib import Path
from alexnet_tf.serving.versions import new_version
from tests.alexnet_tf.serving.made_exports import write_export
with new_version(Path(sys.argv[1]), None) as (folder, _):
    write_export(folder)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_export_is_never_taken_for_a_version(tmp_path: Path) -> None:
    write_export(tmp_path / "1")
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / ".unfinished-2").is_dir() and newest_version(tmp_path) == tmp_path / "1"
    assert export(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "1", "2"]


def test_versions_are_on_the_disk_before_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor: int) -> None:
        order.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def recorded_replace(source: Path, target: Path) -> None:
        order.append(f"rename to {os.path.basename(target)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    export(tmp_path / "alexnet", 1)
    renamed = order.index("rename to 1")
    assert {"saved_model.pb", "variables.data-00000-of-00001", "model.json", "assets.extra"} <= set(order[:renamed])
    assert order[renamed - 1] == ".unfinished-1" and order[renamed + 1 :] == ["alexnet"]
