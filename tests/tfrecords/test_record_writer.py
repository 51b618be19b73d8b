"""Records and their files are, byte for byte, those that TensorFlow writes."""

import subprocess
import sys
from pathlib import Path

import tensorflow as tf
from PIL import Image

from tfrecords.record_writer import RecordWriter
from tfrecords.schema import KEY_FILE_NAME, KEY_IMAGE, KEY_LABEL, encode_example

ROOT = Path(__file__).resolve().parents[2]
PICTURES = [(b"\xff\xd8 no picture", 0, "a.jpg"), (b"", 999, "caf\udce9 \u00e9.png"), (bytes(70_000), 2**31, "")]


def by_tensorflow(image: bytes, label: int, file_name: str) -> bytes:
    example = tf.train.Example()
    feature = example.features.feature
    feature[KEY_IMAGE].bytes_list.value.append(image)
    feature[KEY_LABEL].int64_list.value.append(label)
    feature[KEY_FILE_NAME].bytes_list.value.append(file_name.encode("utf-8", "surrogateescape"))
    return example.SerializeToString(deterministic=True)


def test_records_are_tensorflows() -> None:
    for picture in PICTURES:
        assert encode_example(*picture) == by_tensorflow(*picture)


def test_files_are_tensorflows(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "ours") as ours, tf.io.TFRecordWriter(str(tmp_path / "tensorflows")) as theirs:
        for picture in PICTURES:
            ours.write(encode_example(*picture))
            theirs.write(by_tensorflow(*picture))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "tensorflows").read_bytes()


CONVERTING = """
import sys
from tfrecords import convert

convert.main(sys.argv[1:])
loaded = {"tensorflow", "keras"} & set(sys.modules)
assert not loaded, loaded
"""


def test_converting_loads_no_tensorflow(tmp_path: Path) -> None:
    """Its start would take a worker longer than a shard."""
    for number in range(4):
        folder = tmp_path / "pictures" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (60 * number, 0, 0)).save(folder / f"{number}.png")
    options = ["folder", "--train", tmp_path / "pictures", "--val-fraction", "0.5", "--out", tmp_path / "data"]
    subprocess.run([sys.executable, "-c", CONVERTING, *map(str, options), "--workers", "1"], check=True, cwd=ROOT)
    shards = sorted(map(str, (tmp_path / "data").glob("train-*")))
    assert len(list(tf.data.TFRecordDataset(shards))) == 2
