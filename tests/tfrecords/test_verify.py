"""Each kind of damage is found, and named by shard and record."""

import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf.program.errors import UserError
from tests.tfrecords.made_pictures import SIZE
from tfrecords.convert import convert
from tfrecords.folder_source import FolderSource
from tfrecords.manifest import load_manifest
from tfrecords.plan import Settings
from tfrecords.sample import look_at_sample
from tfrecords.verify import main
from tfrecords.whole_check import find_faults

SHARD = "train-00001-of-00003"


def faults(data: Path) -> list[str]:
    return list(find_faults(data, load_manifest(data)))


def record_starts(path: Path) -> list[int]:
    """Offsets of the records, read from the framing: length, its CRC, data, their CRC."""
    content, starts, at = path.read_bytes(), [], 0
    while at < len(content):
        starts.append(at)
        at += 8 + 4 + struct.unpack_from("<Q", content, at)[0] + 4
    return starts


def rewrite(path: Path, number: int, change: Callable[[tf.train.Example], None]) -> None:
    """Changes one record and writes the shard anew, with valid checksums."""
    examples = [
        tf.train.Example.FromString(record) for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    change(examples[number])
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())


def sign_anew(data: Path, name: str) -> None:
    """Makes the manifest agree with a changed file, so that only the record can give it away."""
    content = json.loads((data / "manifest.json").read_text())
    for split in content["splits"].values():
        for shard in split["shards"]:
            if shard["file"] == name:
                changed = (data / name).read_bytes()
                shard["bytes"] = len(changed)
                shard["sha256"] = hashlib.sha256(changed).hexdigest()
    (data / "manifest.json").write_text(json.dumps(content))


def set_label(label: int) -> Callable[[tf.train.Example], None]:
    def change(example: tf.train.Example) -> None:
        example.features.feature["label"].int64_list.value[0] = label

    return change


def test_sound_data(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(converted) == []
    assert main([str(converted)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("ok: ")
    assert "42 train, 15 val" in told


def test_flipped_byte(data: Path) -> None:
    path = data / SHARD
    content = bytearray(path.read_bytes())
    content[record_starts(path)[5] + 60] ^= 0x10
    path.write_bytes(content)
    found = faults(data)
    assert any(f"{SHARD} was changed" in fault for fault in found)
    assert any(f"{SHARD}, record 5: damaged" in fault for fault in found)


def test_cut_at_a_record_boundary(data: Path) -> None:
    path = data / SHARD
    path.write_bytes(path.read_bytes()[: record_starts(path)[-2]])
    found = faults(data)
    assert any(f"{SHARD} was cut" in fault for fault in found)
    assert any(f"{SHARD}: 12 records, the manifest says 14" in fault for fault in found)


def test_missing_shard(data: Path) -> None:
    (data / SHARD).unlink()
    found = faults(data)
    assert any(f"{SHARD} is missing" in fault for fault in found)
    assert not any("train-00000" in fault for fault in found)


def test_changed_label(data: Path) -> None:
    manifest = load_manifest(data)
    first = next(tf.data.TFRecordDataset(str(data / SHARD)).as_numpy_iterator())
    label = tf.train.Example.FromString(first).features.feature["label"].int64_list.value[0]
    other = (label + 1) % 3
    rewrite(data / SHARD, 0, set_label(other))
    assert any(f"{SHARD} was changed" in fault for fault in faults(data))
    sign_anew(data, SHARD)
    assert faults(data) == [
        f"split train, class {manifest.class_keys[c]}: {n} records, the manifest says 14"
        for c, n in sorted([(label, 13), (other, 15)])
    ]


@pytest.mark.parametrize("label", [-1, 3])
def test_label_outside_the_classes(data: Path, label: int) -> None:
    rewrite(data / SHARD, 4, set_label(label))
    sign_anew(data, SHARD)
    assert f"{SHARD}, record 4: label {label} is outside 0-2" in faults(data)[0]


def test_damaged_or_wrong_picture_inside_a_sound_record(data: Path) -> None:
    def shorten(example: tf.train.Example) -> None:
        image = example.features.feature["image"].bytes_list
        image.value[0] = image.value[0][:200]

    def replace(example: tf.train.Example) -> None:
        small = tf.io.encode_jpeg(tf.zeros((8, 24, 3), tf.uint8)).numpy()
        example.features.feature["image"].bytes_list.value[0] = small

    def forget(example: tf.train.Example) -> None:
        del example.features.feature["image"]

    rewrite(data / SHARD, 2, shorten)
    rewrite(data / SHARD, 3, replace)
    rewrite(data / SHARD, 6, forget)
    sign_anew(data, SHARD)
    found = faults(data)
    assert f"{SHARD}, record 2: picture does not decode" in found[0]
    assert f"{SHARD}, record 3: picture of shape (8, 24, 3)" in found[1]
    assert f"{SHARD}, record 6: not a record of this format" in found[2]


def test_stray_shard_and_missing_statistics(data: Path) -> None:
    (data / "val-00001-of-00002").write_bytes(b"")
    (data / "statistics.npz").unlink()
    found = faults(data)
    assert len(found) == 2
    assert "val-00001-of-00002 is not in the manifest" in found[0]
    assert "statistics.npz is missing" in found[1]


def test_picture_in_both_splits(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same content under another name and label."""
    first = next(tf.data.TFRecordDataset(str(data / "val-00000-of-00001")).as_numpy_iterator())
    image = tf.train.Example.FromString(first).features.feature["image"].bytes_list.value[0]
    names: list[str] = []

    def replace(example: tf.train.Example) -> None:
        feature = example.features.feature
        feature["image"].bytes_list.value[0] = image
        key = load_manifest(data).class_keys[feature["label"].int64_list.value[0]]
        names.append(f"{key}/{feature['file_name'].bytes_list.value[0].decode()}")

    rewrite(data / SHARD, 7, replace)
    sign_anew(data, SHARD)
    (fault,) = faults(data)
    assert fault == (
        f"shard {data / SHARD}, record 7: train {names[0]} is the same picture as val ant/ant_0.png "
        "(val-00000-of-00001, record 0), in both splits: remove one of the two files, for converting alone does not "
        "part them"
    )
    assert main([str(data)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: 1 fault in {data}: remove one picture of each pair named above, then convert again"


def test_class_without_records(data: Path) -> None:
    content = json.loads((data / "manifest.json").read_text())
    content["class_keys"].append("dog")
    content["class_names"].append("dog")
    for split in content["splits"].values():
        split["class_counts"].append(0)
    (data / "manifest.json").write_text(json.dumps(content))
    assert faults(data) == [f"split {split}, class dog: no records at all" for split in ("val", "train")]


def test_class_balance_is_told(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(converted)]) == 0
    assert "train: 14 to 14 images a class" in capsys.readouterr().out


def test_sample_draws_a_contact_sheet(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(data), "--sample", "10"]) == 0
    assert "ok: a sample" in capsys.readouterr().out
    with Image.open(data / "contact_sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    # Ten colorful pictures on white, two rows of up to eight.
    assert 0.15 < (pixels.std(axis=1) > 5).mean() < 0.6
    assert main([str(data), "--sample", "--sheet", str(data.parent / "all.png")]) == 0
    assert (data.parent / "all.png").stat().st_size > (data / "contact_sheet.png").stat().st_size


def test_sample_finds_what_it_meets(data: Path) -> None:
    (data / SHARD).write_bytes((data / SHARD).read_bytes()[: record_starts(data / SHARD)[1]])
    found = list(look_at_sample(data, load_manifest(data), 84, data / "sheet.png"))
    assert f"shard {data / SHARD} was cut" in found[0]
    # All 42 training records are asked for; that shard has kept the first of its 14.
    assert [fault for fault in found if "missing, the shard has fewer records" in fault] == [
        f"shard {data / SHARD}, record {number}: missing, the shard has fewer records" for number in range(1, 14)
    ]
    with pytest.raises(UserError, match=r"--sheet \S+nowhere/sheet\.png cannot be written"):
        list(look_at_sample(data, load_manifest(data), 4, data / "nowhere/sheet.png"))


def test_sample_of_raw_pictures(pictures: Path, tmp_path: Path) -> None:
    source = FolderSource(pictures / "train", pictures / "val")
    convert(source, tmp_path / "raw", Settings(size=SIZE, encoding="raw"), workers=1)
    assert main([str(tmp_path / "raw"), "--sample=6"]) == 0
    assert (tmp_path / "raw/contact_sheet.png").is_file()


def test_command_status(data: Path) -> None:
    (data / SHARD).unlink()
    done = subprocess.run(
        [sys.executable, "-m", "tfrecords.verify", str(data)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 1
    assert f"{SHARD} is missing" in done.stdout
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
