"""Odd files, folders and lists of labels: each read right, or named; none stops a conversion or holds it."""

import inspect
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from alexnet_tf.program.errors import UserError, run_command
from tests.faults.time_limit import time_limit
from tests.heard_signals import signals_restored
from tfrecords import convert
from tfrecords.folder_source import DrawnFolderSource, FolderSource, LabelsSource
from tfrecords.ilsvrc2012 import _members, read_devkit
from tfrecords.manifest import load_manifest

COMPOSED, APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Ends a test that waits at a pipe or reads a device without end."""
    with time_limit(60):
        yield


def fill(folder: Path, *files: str) -> Path:
    for number, file in enumerate(files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / file, "PNG")
    return folder


def splits(root: Path, *keys: str) -> tuple[Path, Path]:
    return tuple(fill(root / split, *(f"{key}/{split}.png" for key in keys)) for split in ("train", "val"))


def convert_folders(root: Path, *options: str) -> int:
    places = [f"--train={root / 'train'}", f"--val={root / 'val'}", f"--out={root / 'data'}"]
    return convert.main(["folder", *places, "--workers=1", "--size=16", "--shards=1", *options])


def left_out(root: Path) -> dict[str, str]:
    report = json.loads((root / "data/report.json").read_text())
    return {entry["file"]: entry["reason"] for entry in report["left_out"]}


class TestFilesThatNeverEnd:
    def test_in_class_folders_each_is_named_and_left_out(self, tmp_path: Path) -> None:
        train, _ = splits(tmp_path, "ant")
        os.mkfifo(train / "ant/pipe.png")
        (train / "ant/zeros.png").symlink_to("/dev/zero")
        (train / "ant/circle.png").symlink_to(train / "ant/circle.png")
        (train / "ant/there.png").symlink_to(train / "ant/and_back.png")
        (train / "ant/and_back.png").symlink_to(train / "ant/there.png")
        (train / "ant/gone.png").symlink_to(train / "ant/nothing.png")
        assert convert_folders(tmp_path) == 0
        circle, device = "Too many levels of symbolic links", "it is a pipe or a device, no file"
        assert left_out(tmp_path) == {
            "ant/pipe.png": device,
            "ant/zeros.png": device,
            "ant/circle.png": circle,
            "ant/there.png": circle,
            "ant/and_back.png": circle,
            "ant/gone.png": "No such file or directory",
        }

    def test_in_a_list_of_labels_each_is_named_and_left_out(self, tmp_path: Path) -> None:
        fill(tmp_path / "train", "1.png", "2.png")
        os.mkfifo(tmp_path / "train/pipe.png")
        (tmp_path / "train/zeros.png").symlink_to("/dev/zero")
        (tmp_path / "train/folder.png").mkdir()
        (tmp_path / "train/circle.png").symlink_to(tmp_path / "train/circle.png")
        odd = ["pipe", "zeros", "folder", "circle", "gone", "x" * 300]
        rows = ["file,label,split", "1.png,ant,train", "2.png,ant,val", *(f"{name}.png,ant,train" for name in odd)]
        (tmp_path / "labels.csv").write_text("\n".join(rows))
        options = [f"--labels={tmp_path / 'labels.csv'}", f"--train={tmp_path / 'train'}", f"--out={tmp_path / 'data'}"]
        assert convert.main(["folder", *options, "--workers=1", "--size=16", "--shards=1"]) == 0
        found = left_out(tmp_path)
        assert list(found) == [f"ant/{name}.png" for name in sorted(odd)]
        assert found["ant/pipe.png"] == found["ant/zeros.png"] == "it is a pipe or a device, no file"
        assert found["ant/circle.png"] == "Too many levels of symbolic links"
        assert found[f"ant/{'x' * 300}.png"] == "File name too long"

    def test_a_circle_of_links_in_place_of_a_class_is_named(self, tmp_path: Path) -> None:
        train, val = splits(tmp_path, "ant")
        (train / "bee").symlink_to(train / "bee")
        with pytest.raises(UserError, match=r"train/bee leads nowhere \(Too many levels of symbolic links\): remove"):
            FolderSource(train, val)

    @pytest.mark.parametrize("place", ["synset_words.txt", "F.tar", "devkit.tar.gz"])
    def test_beside_the_pictures(self, tmp_path: Path, place: str) -> None:
        train, val = splits(tmp_path, "ant")
        os.mkfifo(tmp_path / place)
        with pytest.raises(UserError, match=rf"{place} (is a folder, a pipe|cannot be read: it is a pipe or a device)"):
            if place == "synset_words.txt":
                FolderSource(train, val)
            elif place == "F.tar":
                list(_members("--train-tar", tmp_path / place))
            else:
                read_devkit(tmp_path / place)

    def test_folders_in_each_other_beyond_what_python_nests(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train, val = splits(tmp_path, "ant")
        monkeypatch.chdir(train / "ant")
        for _ in range(400):  # more would be beyond what pytest itself can remove
            os.mkdir("f")
            os.chdir("f")
        fill(Path("."), "deep.png")
        monkeypatch.undo()
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(len(inspect.stack()) + 200)
        try:
            found = FolderSource(train, val).items("train")
        finally:
            sys.setrecursionlimit(limit)
        assert [item.file_name for item in found] == ["f/" * 400 + "deep.png", "train.png"]


class TestNames:
    def test_unicode_forms_of_one_name_are_one_class(self, tmp_path: Path) -> None:
        train = fill(tmp_path / "train", f"{COMPOSED}/1.png", "tea/2.png")
        val = fill(tmp_path / "val", f"{APART}/3.png", "tea/4.png")
        (tmp_path / "synset_words.txt").write_text(f"{APART} coffee house\ntea tea room\n", encoding="utf-8-sig")
        source = FolderSource(train, val)
        assert source.class_keys == [COMPOSED, "tea"] and source.class_names == ["coffee house", "tea room"]
        assert [item.file_name for item in source.items("val")] == ["3.png", "4.png"]
        assert all(item.read() for split in ("train", "val") for item in source.items(split))

    def test_unicode_forms_of_one_name_side_by_side_are_named(self, tmp_path: Path) -> None:
        train = fill(tmp_path / "train", f"{COMPOSED}/1.png", f"{APART}/2.png")
        with pytest.raises(
            UserError, match=r"train has two class folders café, .*'cafe\\u0301' and 'caf\\xe9'.*into one"
        ):
            DrawnFolderSource(train, 0.5, 0)

    def test_a_list_in_another_unicode_form_than_the_files(self, tmp_path: Path) -> None:
        fill(tmp_path, f"{APART}.png", "2.png")
        (tmp_path / "labels.csv").write_text(f"file,label,split\n{COMPOSED}.png,{COMPOSED},train\n2.png,{APART},val\n")
        source = LabelsSource(tmp_path / "labels.csv", dict.fromkeys(("train", "val"), tmp_path), None, 0)
        assert source.class_keys == [COMPOSED]
        assert source.items("train")[0].read() == (tmp_path / f"{APART}.png").read_bytes()

    def test_the_folder_in_which_the_user_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        splits(tmp_path, "ant")
        (tmp_path / "synset_words.txt").write_bytes(b"\xef\xbb\xbfant emmet\n")
        (tmp_path / "train/synset_words.txt").write_text("ant wrong\n")
        monkeypatch.chdir(tmp_path / "train")
        assert FolderSource(Path("."), Path("../val")).class_names == ["emmet"]
        assert (
            convert.main(["folder", "--train", ".", "--val", "../val", "--out", "../data", "--workers=1", "--size=16"])
            == 0
        )
        assert load_manifest(tmp_path / "data").class_names == ["emmet"]

    def test_what_a_terminal_cannot_print(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        train, val = splits(tmp_path, COMPOSED)
        broken = os.fsdecode(b"caf\xe9.png")
        (train / COMPOSED / broken).write_bytes(b"no picture")
        fill(val / COMPOSED, "ł" + broken)
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True) for _ in range(2))
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        options = [f"--train={train}", f"--val={val}", f"--out={tmp_path / 'data'}", "--workers=1", "--size=16"]
        monkeypatch.setattr(sys, "argv", ["convert", "folder", *options])
        with signals_restored(), pytest.raises(SystemExit) as ended:
            run_command(convert.main)
        told, lines = stdout.buffer.getvalue(), stderr.buffer.getvalue()
        assert ended.value.code == 0, lines
        assert rb"label 0: caf\xe9: 1 train, 2 val" in told
        assert rb"caf\xe9/caf\udce9.png (no picture of a known format)" in lines


class TestLists:
    @pytest.mark.parametrize(
        "text",
        [
            'file, label, split\n1.png, "ant, red", train\n2.png, "ant, red", val\n',
            "file;label;split\n1.png;ant, red;train\n2.png;ant, red;val\n",
            "file\tlabel\tsplit\n1.png\tant, red\ttrain\n2.png\tant, red\tval\n",
            '\ufeff"File" ; "Label" ; "Split"\r\n1.png ; ant, red ; train\r\n2.png ; ant, red ; val\r\n',
            'Split,Label,File\ntrain,"ant, red",1.png\nval,"ant, red",./2.png\n',
        ],
        ids=["blanks", "semicolons", "tabs", "spreadsheet", "capitals"],
    )
    def test_any_way_in_which_tables_are_saved(self, tmp_path: Path, text: str) -> None:
        fill(tmp_path, "1.png", "2.png")
        (tmp_path / "labels.csv").write_bytes(text.encode())
        source = LabelsSource(tmp_path / "labels.csv", dict.fromkeys(("train", "val"), tmp_path), None, 0)
        assert source.class_keys == ["ant, red"]
        assert all(source.items(split)[0].read() for split in ("train", "val"))

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("file,label,split\na\0b.png,ant,train\n", "line 2: file 'a\\\\x00b.png' holds a byte 0"),
            (
                "file,label,split\n1.png,ant,train\n./1.png,ant,val\n",
                "line 3: ./1.png stands here a second time",
            ),
            ("file:label:split\n1.png:ant:train\n", "needs a column 'file' in its first line; columns stand between"),
        ],
    )
    def test_faults_are_told_by_line(self, tmp_path: Path, text: str, told: str) -> None:
        (tmp_path / "labels.csv").write_text(text)
        with pytest.raises(UserError) as fault:
            LabelsSource(tmp_path / "labels.csv", dict.fromkeys(("train", "val"), tmp_path), None, 0)
        assert told in str(fault.value) and "labels.csv" in str(fault.value)

    def test_two_folders_may_hold_files_of_one_name(self, tmp_path: Path) -> None:
        fill(tmp_path / "train", "1.png")
        fill(tmp_path / "val", "1.png")
        (tmp_path / "labels.csv").write_text("file,label,split\n1.png,ant,train\n1.png,ant,val\n")
        folders = {"train": tmp_path / "train", "val": tmp_path / "val"}
        source = LabelsSource(tmp_path / "labels.csv", folders, None, 0)
        assert [len(source.items(split)) for split in folders] == [1, 1]


class TestFolders:
    @pytest.mark.parametrize("second", ["train", "link", "train/../train"])
    def test_one_folder_for_both_splits_is_refused(self, tmp_path: Path, second: str) -> None:
        splits(tmp_path, "ant")
        (tmp_path / "link").symlink_to(tmp_path / "train")
        with pytest.raises(UserError, match=r"--train \S+ and --val \S+ are the same folder.*--val-fraction in place"):
            FolderSource(tmp_path / "train", tmp_path / second)

    @pytest.mark.parametrize("out", ["train/data", "val/ant/data", "train/../val/data"])
    def test_an_output_among_the_classes_is_refused(self, tmp_path: Path, out: str) -> None:
        train, val = splits(tmp_path, "ant")
        with pytest.raises(UserError, match=r"--out \S+ lies inside \S+(train|val), among the class folders"):
            convert.main(["folder", f"--train={train}", f"--val={val}", f"--out={tmp_path / out}"])
        assert not (tmp_path / out).exists()
