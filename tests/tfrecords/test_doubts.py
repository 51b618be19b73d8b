"""What is told of pictures that are probably a mistake; they are converted nevertheless."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from alexnet_tf.program.errors import UserError
from tests.tfrecords.made_pictures import SIZE, write_pictures
from tfrecords.convert import main
from tfrecords.doubts import class_doubts, pictures_under_two_labels, two_label_doubts
from tfrecords.folder_source import FolderItem
from tfrecords.manifest import load_manifest, write_manifest
from tfrecords.verify import main as verify


@pytest.mark.parametrize(
    ("keys", "counts", "told"),
    [
        (["ant"], [5], "one class alone, ant"),
        (["train", "val"], [9, 3], r"are called train and val: .*--train \.\.\./train and --val \.\.\./val,"),
        (["Test", "Train", "Validation"], [3, 9, 3], r"--train \.\.\./Train and --val \.\.\./Test,"),
        (["ant", "bee"], [19, 1], r"1 of 2 classes \(ant\) has 95% of the training pictures.*class_weights=balanced"),
        (list("abcdef"), [1, 50, 1, 1, 45, 1], r"2 of 6 classes \(b, e\) have 96%"),
        (["ant", "bee"], [8, 2], None),
        (["ant", "train"], [8, 8], None),
        (list("abcdef"), [30, 25, 20, 15, 10, 5], None),
        ([str(number) for number in range(1000)], [732 + number % 569 for number in range(1000)], None),
    ],
)
def test_classes(keys: list[str], counts: list[int], told: str | None) -> None:
    lines = list(class_doubts(keys, counts))
    assert len(lines) == (told is not None)
    assert all(line.startswith("warning: ") for line in lines)
    if told:
        assert re.search(told, lines[0])


def test_same_pictures_count_under_different_labels_only() -> None:
    items = [FolderItem(label, f"{number}.png", "f", f"c{label}") for number, label in enumerate([0, 1, 1, 0, 0, 2])]
    digests = np.array([7, 7, 8, 0, 0, 8], np.uint64)
    parts = [("train", items[:3], digests[:3]), ("val", items[3:], digests[3:])]
    found = pictures_under_two_labels(parts)
    assert found == [["train c0/0.png", "train c1/1.png"], ["train c1/2.png", "val c2/5.png"]]
    assert pictures_under_two_labels([("train", items[3:5], digests[3:5])]) == pictures_under_two_labels([]) == []
    assert list(two_label_doubts(found * 4))[-1].startswith("warning: 3 more pictures")
    (line,) = two_label_doubts([[f"train {number}.png" for number in range(200)]])
    assert "train 3.png, train 4.png and 195 more; remove" in line


def test_convert_warns_and_verify_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --train alone, and from the records of finished shards, too."""
    write_pictures(tmp_path / "all", ("ant", "bee"), 6, seed=0)
    shutil.copy(tmp_path / "all/ant/ant_3.jpg", tmp_path / "all/bee/twin.jpg")
    (tmp_path / "all/bee/late.jpg").write_bytes(b"broken")
    for name in ("gold.JPG", "list.txt", ".hidden.jpg"):
        (tmp_path / "all" / name).touch()
    command = ["folder", f"--train={tmp_path / 'all'}", "--val-fraction=0.1", f"--out={tmp_path / 'data'}"]
    command += [f"--size={SIZE}", "--workers=1", "--shards=3"]
    with pytest.raises(UserError, match="max-unreadable 0"):
        main([*command, "--max-unreadable=0"])
    assert list((tmp_path / "data/.unfinished").glob("*.finished.npz"))
    shutil.copy(tmp_path / "all/ant/ant_2.jpg", tmp_path / "all/bee/late.jpg")
    assert main([*command, "--max-unreadable=0"]) == 0
    told = capsys.readouterr().err
    loose = [line for line in told.splitlines() if "gold.JPG" in line]  # of both calls
    assert len(loose) == 2 and all("holds 1 picture beside its class folders (gold.JPG)" in line for line in loose)
    for twins in (("ant_3.jpg", "twin.jpg"), ("ant_2.jpg", "late.jpg")):
        (line,) = [line for line in told.splitlines() if twins[0] in line]
        assert line.startswith("warning: the same picture under different labels: ") and twins[1] in line
    groups = json.loads((tmp_path / "data/report.json").read_text())["under_different_labels"]
    assert len(groups) == 2
    assert verify([str(tmp_path / "data")]) == 1
    told = capsys.readouterr()
    faults = [line for line in told.out.splitlines() if line.startswith("shard ")]
    assert len(faults) == 2
    for group in groups:
        names = [name.split()[1] for name in group]
        assert sum(all(name in line for name in names) for line in faults) == 1
    assert "remove one picture of each pair named above, then convert again" in told.err


def test_published_pictures_under_two_labels_are_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "train", ("ant", "bee"), 3, seed=0)
    write_pictures(tmp_path / "val", ("ant", "bee"), 2, seed=50)
    shutil.copy(tmp_path / "train/ant/ant_2.jpg", tmp_path / "train/bee/twin.jpg")
    data = tmp_path / "data"
    line = [f"--train={tmp_path / 'train'}", f"--val={tmp_path / 'val'}", f"--out={data}", f"--size={SIZE}"]
    assert main(["folder", *line, "--workers=1"]) == 0
    write_manifest(data, load_manifest(data).model_copy(update={"source": "ilsvrc2012"}))
    capsys.readouterr()
    assert verify([str(data)]) == 0
    told = capsys.readouterr()
    assert "note: shard" in told.err and "ant_2.jpg" in told.err and "twin.jpg" in told.err
    assert "1 pictures are under different labels, as they were published" in told.out
