"""The readers that tfrecords/README.md shows, run as they stand there."""

import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.tfrecords.made_pictures import SIZE
from tfrecords.manifest import load_manifest, shard_paths
from tfrecords.record_parsing import parse_example

README = Path(__file__).parents[2] / "tfrecords" / "README.md"


def test_readers(converted: Path) -> None:
    plain, with_tfds = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len([line for line in plain.splitlines() if line.strip()]) <= 10
    shards = [str(path) for path in shard_paths(converted, load_manifest(converted), "train")]
    records = [parse_example(record) for record in tf.data.TFRecordDataset(shards)]
    expected = [(tf.io.decode_jpeg(record["image"]).numpy(), int(record["label"])) for record in records]
    names: dict = {}
    exec(plain.replace("DATA", str(converted)), names)
    found = [(image, int(label)) for image, label in names["pictures"].as_numpy_iterator()]
    assert len(found) == len(expected) == 42
    for (image, label), (pixels, index) in zip(found, expected, strict=True):
        assert label == index
        assert np.array_equal(image, pixels)
    exec(with_tfds.replace("DATA", str(converted)), names)
    pictures = list(names["pictures"].as_numpy_iterator())
    assert len(pictures) == 42
    assert sorted(int(picture["label"]) for picture in pictures) == sorted(label for _, label in expected)
    assert all(picture["image"].shape == (SIZE, SIZE, 3) for picture in pictures)
