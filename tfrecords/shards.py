"""One shard, written from its list of pictures; this is what a worker process runs.

Third stop in the path of an image: bytes -> pictures.py -> record -> shard file, and on the way
into the exact sums of statistics.py. Memory is one picture and one set of sums, however large the
data set is.

TensorFlow writes the records: its start costs a worker some seconds, but the framing (length,
masked CRC-32C) stays TensorFlow's own instead of a copy of ours.
"""

import os
from pathlib import Path

import tensorflow as tf

from alexnet_tf.errors import UserError
from tfrecords.manifest import Shard, Unreadable, file_sha256
from tfrecords.pictures import Pixels, UnreadablePicture, encode_picture, load_picture
from tfrecords.plan import Report, ShardResult, ShardTask
from tfrecords.schema import encode_example
from tfrecords.sources import Item
from tfrecords.statistics import PixelSums


def write_shard(task: ShardTask, report: Report) -> ShardResult:
    """Writes a shard under a temporary name and renames it when it is whole.

    Raises:
        UserError: the file cannot be written (disk full, no permission).
    """
    final = task.data_dir / task.file
    unfinished = task.data_dir / f".unfinished-{task.file}"
    counts = [0] * task.num_classes
    unreadable: list[Unreadable] = []
    sums = PixelSums(task.size) if task.split == "train" else None
    try:
        with tf.io.TFRecordWriter(str(unfinished)) as writer:
            for item in task.items:
                pixels = _load(item, task, unreadable)
                if pixels is not None:
                    image = encode_picture(pixels, task.encoding, task.quality)
                    writer.write(encode_example(image, item.label, item.file_name))
                    counts[item.label] += 1
                    if sums is not None:
                        sums.add(pixels)
                report(unreadable[-1] if pixels is None else None)
        shard = _finish(unfinished, final, sum(counts))
    except (OSError, tf.errors.OpError) as fault:
        raise UserError(f"{final} cannot be written: {_reason(fault)}") from fault
    finally:
        unfinished.unlink(missing_ok=True)
    return ShardResult(task.split, shard, counts, unreadable, sums)


def _load(item: Item, task: ShardTask, unreadable: list[Unreadable]) -> Pixels | None:
    """The picture's pixels, or None with one more entry in `unreadable`."""
    try:
        return load_picture(item.read(), task.size)
    except UnreadablePicture as fault:
        reason = str(fault)
    except OSError as fault:
        reason = fault.strerror or type(fault).__name__
    unreadable.append(Unreadable(split=task.split, file=item.where, reason=reason))
    return None


def _finish(unfinished: Path, final: Path, records: int) -> Shard:
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())  # the manifest must never outlive a shard that a power cut ate
    shard = Shard(
        file=final.name,
        records=records,
        bytes=unfinished.stat().st_size,
        sha256=file_sha256(unfinished),
    )
    os.replace(unfinished, final)
    return shard


def _reason(fault: OSError | tf.errors.OpError) -> str:
    if isinstance(fault, OSError):
        return fault.strerror or str(fault)
    return str(fault.message).splitlines()[0]
