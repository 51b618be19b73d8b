"""What can be wrong with a shard and with each of its records."""

import hashlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from tfrecords.manifest import Manifest, Shard, shard_problem
from tfrecords.record_parsing import parse_example
from tfrecords.schema import KEY_FILE_NAME, KEY_IMAGE, KEY_LABEL
from tfrecords.sources import printable


@dataclass
class ShardCheck:
    """What was found in a shard."""

    class_counts: list[int]
    faults: list[str] = field(default_factory=list)
    """A line each, naming the file and, within it, the record (from 0)."""
    pictures: dict[int, "Stored"] = field(default_factory=dict)
    """By record number."""


class Stored(NamedTuple):
    """A picture as it is stored."""

    digest: bytes
    """Of its bytes."""
    name: str
    """Its class and the file that it was made from."""
    label: int
    """-1 where there is no such class."""


def check_shard(path: Path, shard: Shard, manifest: Manifest) -> ShardCheck:
    """Reads a whole shard: its size and SHA-256, every record with its picture, and how many there are."""
    check = ShardCheck([0] * manifest.num_classes)
    if problem := shard_problem(path, shard, hashing=True):
        check.faults.append(problem)
    if not path.is_file():
        return check
    number = 0
    try:
        for serialized in tf.data.TFRecordDataset(str(path)):
            record = check_record(serialized, manifest)
            if record.fault:
                check.faults.append(f"shard {path}, record {number}: {record.fault}")
            if record.label is not None:
                check.class_counts[record.label] += 1
            if record.image:
                key = "?" if record.label is None else manifest.class_keys[record.label]
                digest = hashlib.sha256(record.image).digest()[:16]
                name = f"{key}/{printable(record.file_name)}"
                check.pictures[number] = Stored(digest, name, -1 if record.label is None else record.label)
            number += 1
    except tf.errors.OpError as fault:
        # The length of the next record is lost with this one, so the rest cannot be read.
        check.faults.append(f"shard {path}, record {number}: damaged, nothing after it can be read ({one_line(fault)})")
    else:
        if number != shard.records:
            check.faults.append(f"shard {path}: {number} records, the manifest says {shard.records}")
    return check


@dataclass(frozen=True)
class CheckedRecord:
    """A record as far as it could be read.

    Attributes:
      fault: in a few words; None where all is well.
      label: class index from 0; None where there is no such class.
      image: the picture's bytes as stored.
      file_name: of the picture file that it was made from.
    """

    fault: str | None
    label: int | None = None
    image: bytes = b""
    file_name: str = ""


def check_record(serialized: tf.Tensor, manifest: Manifest) -> CheckedRecord:
    """Reads a record and decodes its picture.

    Args:
      serialized: scalar string, as the shard holds it.
      manifest: what the record should be like.
    """
    try:
        record = parse_example(serialized)
    except tf.errors.OpError as fault:
        return CheckedRecord(f"not a record of this format ({one_line(fault)})")
    label, image = int(record[KEY_LABEL]), record[KEY_IMAGE].numpy()
    file_name = record[KEY_FILE_NAME].numpy().decode("utf-8", "surrogateescape")
    if not 0 <= label < manifest.num_classes:
        return CheckedRecord(f"label {label} is outside 0-{manifest.num_classes - 1}", None, image, file_name)
    if not file_name:
        return CheckedRecord("no file name", label, image)
    return CheckedRecord(_picture_fault(record[KEY_IMAGE], manifest), label, image, file_name)


def label_of(serialized: tf.Tensor) -> int:
    """A record's label, whatever else it holds."""
    return int(tf.io.parse_single_example(serialized, {KEY_LABEL: tf.io.FixedLenFeature([], tf.int64)})[KEY_LABEL])


def one_line(fault: tf.errors.OpError) -> str:
    """The beginning of TensorFlow's message, without the names that its operations have."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(fault.message))
    return " ".join(message.split())[:200] or "no reason given"


def _picture_fault(image: tf.Tensor, manifest: Manifest) -> str | None:
    shape = manifest.picture_shape
    if manifest.encoding == "raw":
        length, expected = len(image.numpy()), math.prod(shape)
        return None if length == expected else f"picture of {length} bytes, not {expected}"
    try:
        decoded = tuple(tf.io.decode_jpeg(image).shape)
    except tf.errors.OpError as fault:
        return f"picture does not decode ({one_line(fault)})"
    return None if decoded == shape else f"picture of shape {decoded}, not {shape}"
