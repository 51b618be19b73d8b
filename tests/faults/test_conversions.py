"""Conversions: labels in the order of their numbers, and faults told with their own cause, not the output's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from alexnet_tf.program.errors import UserError
from tfrecords import convert
from tfrecords.folder_source import FolderSource, LabelsSource
from tfrecords.manifest import load_manifest
from tfrecords.output_folder import IDENTITY_FILE, LOCK_FILE, WORK_FOLDER
from tfrecords.sources import in_label_order

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = [str(number) for number in range(12)]


def fill(root: Path, *keys: str) -> Path:
    for split in ("train", "val"):
        for key in keys:
            (root / split / key).mkdir(parents=True)
            Image.new("RGB", (9, 9)).save(root / split / key / "1.png")
    return root


def write_list(root: Path, *keys: str) -> Path:
    rows = [f"{split}/{key}/1.png,{key},{split}" for split in ("train", "val") for key in keys]
    (root / "labels.csv").write_text("\n".join(["file,label,split", *rows]))
    return root / "labels.csv"


class TestLabelOrder:
    @pytest.mark.parametrize(
        "order",
        [
            NUMBERS,
            ["1", "2", "10", "100"],
            ["-1", "0", "1", "10"],
            ["0001", "0002", "0010"],
            ["1.0", "2.0", "10.0"],
            ["0", "1", "10", "2", "x"],  # not all are numbers
            ["1", "10", "2", "²"],  # a digit of another kind is none
            ["1", "10", "2", "٣"],
            ["1", "10", "1e1", "2"],
            ["8", "9" * 19],
        ],
    )
    def test_whole_numbers_as_numbers_all_else_as_text(self, order: list[str]) -> None:
        assert in_label_order(reversed(order)) == order

    @pytest.mark.parametrize("keys", [["1", "01", "2"], ["0", "-0"], ["3", "3.0"]])
    def test_same_number_twice(self, tmp_path: Path, keys: list[str]) -> None:
        fill(tmp_path, *keys)
        for make, where in (
            (lambda: FolderSource(tmp_path / "train", tmp_path / "val"), "train: "),
            (lambda: LabelsSource(write_list(tmp_path, *keys), {"train": tmp_path, "val": tmp_path}, None, 0), "csv: "),
        ):
            with pytest.raises(UserError, match=rf"{where}classes \S+ and \S+ are the same number"):
                make()

    def test_folders_and_lists_alike(self, tmp_path: Path) -> None:
        fill(tmp_path, *NUMBERS)
        folder = FolderSource(tmp_path / "train", tmp_path / "val")
        listed = LabelsSource(write_list(tmp_path, *NUMBERS), {"train": tmp_path, "val": tmp_path}, None, 0)
        for source in (folder, listed):
            assert source.class_keys == NUMBERS
            assert [item.label for item in source.items("val")] == list(range(12))
        assert {item.file_name: item.label for item in listed.items("val")}["val/10/1.png"] == 10

    def test_summary_shows_every_label(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        root = fill(tmp_path, "1", "2", "10")
        folders = [f"--train={root / 'train'}", f"--val={root / 'val'}", f"--out={root / 'data'}"]
        assert convert.main(["folder", *folders, "--workers=1"]) == 0
        told = capsys.readouterr().out
        assert re.findall(r"label (\d): (\d+): 1 train, 1 val", told) == [("0", "1"), ("1", "2"), ("2", "10")]
        assert "your class 1 is label 0" in told
        assert load_manifest(root / "data").class_keys == ["1", "2", "10"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("file,label,split\n1.png,ä,train\n".encode("latin-1"), "is no UTF-8 text (byte 0xe4 at 23): save it as UTF-8"),
        ("file,label,split\n1.png,a,train\n".encode("utf-16"), "is no UTF-8 text (byte 0xff at 0): save it as UTF-8"),
        (b"file,label,split\n1.png," + b"9" * 200_000 + b",train\n", "is no table of commas and lines"),
        (b'file,label,split\n"1.png,' + b"[" * 200_000, "is no table of commas and lines"),
        (b"\0\0\0\0", "needs a column 'file'"),
    ],
)
def test_list_of_labels_that_cannot_be_read(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=re.escape(told)) as fault:
        LabelsSource(tmp_path / "labels.csv", {"train": tmp_path, "val": tmp_path}, None, 0)
    assert str(tmp_path / "labels.csv") in str(fault.value) and len(str(fault.value)) < 400


def command(root: Path, *options: str) -> list[str]:
    return [
        sys.executable, "-m", "tfrecords.convert", "folder", f"--train={root / 'train'}", f"--val={root / 'val'}",
        f"--out={root / 'data'}", *options,
    ]  # fmt: skip


def in_own_mounts(script: str) -> subprocess.CompletedProcess[str]:
    """A shell script in mounts of its own, where /dev/shm can be made useless."""
    whole = ["unshare", "--mount", "--propagation=private", "sh", "-c", script]
    return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def mounts() -> None:
    if os.geteuid() or in_own_mounts("mount -t tmpfs none /dev/shm").returncode:
        pytest.skip("needs a system on which this user may mount")


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(
            "mount -t tmpfs -o size=4k none /dev/shm && dd if=/dev/zero of=/dev/shm/full 2>/dev/null", id="full"
        ),
        pytest.param("mount -t tmpfs -o ro none /dev/shm", id="read-only", marks=pytest.mark.slow),
    ],
)
def test_memory_that_processes_share(tmp_path: Path, spoil: str) -> None:
    root = fill(tmp_path, "a", "b")
    done = in_own_mounts(f"{spoil}; exec {' '.join(command(root, '--workers=2'))}")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]  # below the bar
    assert line.startswith("error: /dev/shm, where processes share their locks, cannot be used (")
    assert line.endswith("): mend that, or convert with --workers 1") and str(root / "data") not in done.stderr
    assert not (root / "data").exists()
    if " ro " in spoil:  # the slow one, for TensorFlow is loaded at the end of a conversion
        done = in_own_mounts(f"{spoil}; exec {' '.join(command(root, '--workers=1'))}")
        assert done.returncode == 0, done.stderr


def test_broken_record_of_an_interrupted_conversion(tmp_path: Path) -> None:
    root = fill(tmp_path, "a", "b")
    work = root / "data" / WORK_FOLDER
    work.mkdir(parents=True)
    (work / LOCK_FILE).touch()
    (work / "train-00000-of-00002.finished.npz").write_bytes(b"")
    for content in (b"", b"\xff", b"[" * 100_000, b'{"options": 3}', None):
        (work / IDENTITY_FILE).unlink(missing_ok=True)
        if content is not None:
            (work / IDENTITY_FILE).write_bytes(content)
        with pytest.raises(UserError, match=r"conversion\.json is missing or broken, .* remove \S*data$"):
            convert.main(command(root, "--workers=1")[3:])
