"""Real damage to TFRecord files: cut between two records, emptied, deleted, a bit flipped, a record too many."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfrecords.manifest import MANIFEST_FILE, file_sha256

FRAME = 8 + 4 + 4
"""Bytes around a record: its length, and a checksum each of length and record."""


def cut_between_records(path: Path) -> None:
    """Leaves out the last record, so that the file ends as a whole one does."""
    content, offset, last = path.read_bytes(), 0, 0
    while offset < len(content):
        last = offset
        offset += FRAME + struct.unpack_from("<Q", content, offset)[0]
    path.write_bytes(content[:last])


def cut_within_a_record(path: Path) -> None:
    """Leaves out the last 7 bytes."""
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    """Leaves 0 bytes."""
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    """In the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def add_a_record(path: Path) -> None:
    """The first one a second time, at the end."""
    content = path.read_bytes()
    path.write_bytes(content + content[: FRAME + struct.unpack_from("<Q", content)[0]])


def put_another_in_place(path: Path) -> None:
    """The neighbor's content: whole, and as many records."""
    neighbor = next(other for other in sorted(path.parent.glob(f"{path.name[:6]}*")) if other != path)
    path.write_bytes(neighbor.read_bytes())


FAULTS: list[Callable[[Path], None]] = [
    cut_between_records, cut_within_a_record, empty, flip_a_bit, add_a_record, put_another_in_place, Path.unlink,
]  # fmt: skip


def relabel(data: Path, split: str, label: int) -> Path:
    """Gives the last record of a split another label, and lists the shard as it is then; returns the shard."""
    manifest = json.loads((data / MANIFEST_FILE).read_text())
    entry = manifest["splits"][split]["shards"][-1]
    path = data / entry["file"]
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    example = tf.train.Example.FromString(records[-1])
    example.features.feature["label"].int64_list.value[:] = [label]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in [*records[:-1], example.SerializeToString(deterministic=True)]:
            writer.write(record)
    entry |= {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    (data / MANIFEST_FILE).write_text(json.dumps(manifest))
    return path
