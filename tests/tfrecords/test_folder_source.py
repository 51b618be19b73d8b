"""Listing of folders and of lists of labels, and the order of the training records."""

import os
from pathlib import Path

import pytest
from PIL import Image

from alexnet_tf.program.errors import UserError
from tfrecords import folder_source
from tfrecords.convert import main
from tfrecords.folder_source import DrawnFolderSource, FolderItem, FolderSource, LabelsSource
from tfrecords.pictures import UnreadablePicture
from tfrecords.sources import printable, shuffled


def fill(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(root / path, "PNG")


def make(root: Path, *paths: str) -> FolderSource:
    fill(root, *paths)
    return FolderSource(root / "train", root / "val")


def test_lists_all_that_is_not_hidden_sorted(tmp_path: Path) -> None:
    source = make(tmp_path, "train/b/2.png", "train/b/10.png", "train/a/x.jpg", "val/a/1", "val/b/1")
    (tmp_path / "train/a/.DS_Store").write_bytes(b"hidden")
    for left in ("Thumbs.db", "desktop.ini", "Icon\r", "__MACOSX/._1.png", "deep/thumbs.DB"):
        (tmp_path / "train/b" / left).parent.mkdir(exist_ok=True)
        (tmp_path / "train/b" / left).write_bytes(b"left by a system")
    (tmp_path / "train/__MACOSX").mkdir()
    (tmp_path / "train/@eaDir").mkdir()
    (tmp_path / "train/a/folder").mkdir()
    (tmp_path / "train/.hidden").mkdir()
    (tmp_path / "train/readme.txt").write_text("not a class")
    os.mkfifo(tmp_path / "train/a/pipe")
    (tmp_path / "train/b/link.png").symlink_to("2.png")
    assert source.class_keys == source.class_names == ["a", "b"]
    found = [(item.label, item.file_name) for item in source.items("train")]
    assert found == [(0, "pipe"), (0, "x.jpg"), (1, "10.png"), (1, "2.png"), (1, "link.png")]
    assert source.items("train")[1].where == "a/x.jpg"


def test_faults_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train cannot be read: No such file"):
        FolderSource(tmp_path / "train", tmp_path / "val")
    (tmp_path / "train").mkdir()
    (tmp_path / "train/picture.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="train has no class folders"):
        FolderSource(tmp_path / "train", tmp_path / "val")
    make(tmp_path, "train/a/1.png", "val/a/1.png")
    (tmp_path / "train/extra").mkdir()
    with pytest.raises(UserError, match=r"extra of \S*train is missing in \S*val"):
        FolderSource(tmp_path / "train", tmp_path / "val")
    (tmp_path / "val/extra").mkdir()
    (tmp_path / "val/more").mkdir()
    with pytest.raises(UserError, match=r"more of \S*val is missing in \S*train"):
        FolderSource(tmp_path / "train", tmp_path / "val")
    (tmp_path / "val/more").rmdir()
    (tmp_path / "train/extra/.hidden").touch()
    with pytest.raises(UserError, match="train/extra is empty"):
        FolderSource(tmp_path / "train", tmp_path / "val").items("train")


def test_nested_folders(tmp_path: Path) -> None:
    fill(tmp_path, "train/a/x/2.png", "train/a/x/y/1.png", "train/a/3.png", "train/a/.git/1.png")
    source = make(tmp_path, "val/a/z/1.png")
    assert [item.file_name for item in source.items("train")] == ["3.png", "x/2.png", "x/y/1.png"]
    assert source.items("val")[0].where == "a/z/1.png"
    assert source.items("train")[1].read() == (tmp_path / "train/a/x/2.png").read_bytes()
    (tmp_path / "train/a/again").symlink_to(tmp_path / "train/a/x")
    with pytest.raises(UserError, match="train/a/again is a link to a folder"):
        source.items("train")


def test_drawn_validation_pictures(tmp_path: Path) -> None:
    for key, count in (("a", 20), ("b", 7), ("c", 2)):
        fill(tmp_path, *(f"train/{key}/{number}.png" for number in range(count)))
    source = DrawnFolderSource(tmp_path / "train", 0.2, seed=0)
    train, val = ([(item.label, item.file_name) for item in source.items(split)] for split in ("train", "val"))
    assert [sum(label == one for label, _ in val) for one in range(3)] == [4, 1, 1]
    assert not set(train) & set(val)
    assert len(train) + len(val) == 29
    # Settled for good, or the same command would divide the same pictures otherwise elsewhere.
    assert val == DRAWN
    other = DrawnFolderSource(tmp_path / "train", 0.2, seed=1)
    assert [item.file_name for item in other.items("val")] != [name for _, name in val]
    for number in range(1, 20):
        (tmp_path / "train/a" / f"{number}.png").unlink()
    with pytest.raises(UserError, match="class a has a single picture"):
        DrawnFolderSource(tmp_path / "train", 0.2, seed=0)


DRAWN = [(0, "0.png"), (0, "18.png"), (0, "3.png"), (0, "6.png"), (1, "2.png"), (2, "1.png")]


def labels_file(tmp_path: Path, text: str) -> Path:
    fill(tmp_path, "all/1.png", "all/2.png", "all/deep/3.png", "all/4.png")
    (tmp_path / "labels.csv").write_text(text)
    return tmp_path / "labels.csv"


def labels_source(path: Path, val_fraction: float | None = None) -> LabelsSource:
    return LabelsSource(path, dict.fromkeys(("train", "val"), path.parent / "all"), val_fraction, 0)


def test_list_of_labels(tmp_path: Path) -> None:
    text = "label,file,split,note\ncat,1.png,train,x\n ant ,2.png,train,\ncat,deep/3.png,val,\nant,4.png,val,\n"
    source = labels_source(labels_file(tmp_path, text))
    assert source.class_keys == ["ant", "cat"]
    assert [(item.label, item.file_name) for item in source.items("train")] == [(0, "2.png"), (1, "1.png")]
    assert [(item.label, item.file_name) for item in source.items("val")] == [(0, "4.png"), (1, "deep/3.png")]
    assert source.items("val")[1].where == "cat/deep/3.png"
    assert source.items("val")[1].read() == (tmp_path / "all/deep/3.png").read_bytes()


def test_list_of_labels_without_split(tmp_path: Path) -> None:
    path = labels_file(tmp_path, "file,label\n1.png,cat\n2.png,ant\ndeep/3.png,cat\n4.png,ant\n")
    source = labels_source(path, 0.5)
    for split in ("train", "val"):
        assert [item.label for item in source.items(split)] == [0, 1]
    with pytest.raises(UserError, match=r"labels\.csv needs a column 'split' .*--val-fraction"):
        labels_source(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "needs a column 'file'"),
        ("file,split\n1.png,train\n", "needs a column 'label'"),
        ("file,label,split\n", "lists no pictures"),
        ("file,label,split\n1.png,a,train\n1.png,b,train\n", "line 3: 1.png stands here a second time"),
        ("file,label,split\n../1.png,a,train\n", r"line 2: file '\.\./1\.png' must be a path inside"),
        ("file,label,split\n/1.png,a,train\n", "must be a path inside"),
        ("file,label,split\n1.png,,train\n", "line 2: label '' must be"),
        ("file,label,split\n1.png,a,test\n", "line 2: split 'test' must be train or val"),
        ("file,label,split\n1.png\n", "line 2: label '' must be"),
        ("file,label,split\n1.png,a,train\n2.png,b,val\n", "no train picture of class b"),
    ],
)
def test_faults_in_a_list_of_labels(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as fault:
        labels_source(labels_file(tmp_path, text))
    assert "labels.csv" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_missing_list_of_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.csv cannot be read: No such file"):
        labels_source(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    "options", [[], ["--val=b", "--val-fraction=0.1"], ["--val-fraction=1"], ["--val-fraction=0"], ["--val-fraction=x"]]
)
def test_wrong_usage(options: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["folder", "--train=a", "--out=c", *options])
    assert stopped.value.code == 2


def test_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big").write_bytes(b"12345678")
    item = FolderItem(0, "big", str(tmp_path))
    assert item.read() == b"12345678"
    monkeypatch.setattr(folder_source, "MAX_FILE_BYTES", 7)
    with pytest.raises(UnreadablePicture, match="file larger than 256 MiB"):
        item.read()


def test_names_stay_on_one_line() -> None:
    assert printable("plain ä.jpg") == "plain ä.jpg"
    assert printable("two\nlines") == "two\\nlines"
    assert printable(os.fsdecode(b"broken\xff")) == "broken\\udcff"


def test_order_comes_from_the_seed_alone() -> None:
    items = [FolderItem(label, f"{n}.jpg", "f") for label in range(3) for n in range(30)]
    first = shuffled(items, 0)
    assert first == shuffled(items[::-1], 0)
    assert sorted(first, key=lambda i: (i.label, i.file_name)) == sorted(items, key=lambda i: (i.label, i.file_name))
    assert first != items
    assert first != shuffled(items, 1)
    # Settled for good: a change here changes every converted data set.
    assert [(i.label, i.file_name) for i in first[:3]] == EXPECTED_START


EXPECTED_START = [(0, "3.jpg"), (0, "5.jpg"), (0, "18.jpg")]
