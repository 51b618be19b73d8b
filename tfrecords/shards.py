"""One shard, written from its list of pictures; this is what a worker process runs.

Third station of an image: bytes -> pictures.py -> record -> shard file, and on the way
into the exact sums of statistics.py. Memory is one picture and one set of sums, however large the
data set is.
"""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet_tf.program.file_faults import cannot_be_written
from alexnet_tf.program.whole_files import put_in_place
from tfrecords.finished_shards import save_result
from tfrecords.manifest import Shard, Unreadable, file_sha256
from tfrecords.output_folder import WORK_FOLDER
from tfrecords.pictures import UnreadablePicture, encode_picture, load_square
from tfrecords.plan import Advance, Repaired, Report, ShardResult, ShardSummary, ShardTask
from tfrecords.record_writer import RecordWriter
from tfrecords.schema import encode_example
from tfrecords.sources import Item
from tfrecords.statistics import PixelSums

REPORT_SECONDS = 0.25


def write_shard(task: ShardTask, report: Report) -> ShardResult:
    """Writes a shard in the work folder, renames it when it is whole, and leaves a record of it.

    Raises:
      UserError: the file cannot be written (disk full, no permission).
    """
    final = task.data_dir / task.file
    work = task.data_dir / WORK_FOLDER
    # Of this process alone: one that was orphaned may write the same shard for a moment longer.
    unfinished = work / f"{task.file}.{os.getpid()}"
    try:
        writing = _Writing(task, report)
        with RecordWriter(unfinished) as writer:
            for item in task.items:
                writing.add(item, writer)
        writing.report_now()
        result = writing.result(_finish(unfinished, final, sum(writing.class_counts)))
        save_result(work, result)
    except OSError as fault:
        raise cannot_be_written(final, fault) from fault
    finally:
        unfinished.unlink(missing_ok=True)
    return result


class _Writing:
    """A shard under way: what has been counted and what is still to be reported."""

    def __init__(self, task: ShardTask, report: Report) -> None:
        self.class_counts = [0] * task.num_classes
        self._task = task
        self._report = report
        self._unreadable: list[Unreadable] = []
        self._repaired: list[Repaired] = []
        self._sums = PixelSums(task.size, task.channels) if task.split == "train" else None
        self._digests: list[int] = []
        self._advance = Advance()
        self._reported = time.monotonic()

    def add(self, item: Item, writer: RecordWriter) -> None:
        """Takes one picture from file to record."""
        square = self._load(item)
        if square is None:
            self._digests.append(0)
        else:
            image = encode_picture(square, self._task.encoding, self._task.quality)
            self._digests.append(int.from_bytes(hashlib.sha256(image).digest()[:8], "little"))
            writer.write(encode_example(image, item.label, item.file_name))
            self.class_counts[item.label] += 1
            self._advance.bytes += len(image)
            if self._sums is not None:
                bands = square.getbands()
                self._sums.add([np.frombuffer(square.tobytes("raw", band), np.uint8) for band in bands])
        self._advance.pictures += 1
        if time.monotonic() - self._reported >= REPORT_SECONDS:
            self.report_now()

    def _load(self, item: Item) -> Image.Image | None:
        """The picture, ready to be stored, or None where it has to be left out."""
        repairs: list[str] = []
        try:
            task = self._task
            square = load_square(item.read(), task.size, repairs, item.file_name, task.channels, task.exif)
        except (UnreadablePicture, OSError) as fault:
            reason = (isinstance(fault, OSError) and fault.strerror) or str(fault) or type(fault).__name__
            entry = Unreadable(split=self._task.split, file=item.where, reason=reason)
            self._unreadable.append(entry)
            self._advance.unreadable.append(entry)
            return None
        if repairs:
            self._repaired.append(Repaired(split=self._task.split, file=item.where, what=repairs))
        return square

    def report_now(self) -> None:
        """Reports what has been done since the last report."""
        advance, self._advance = self._advance, Advance()
        self._reported = time.monotonic()
        self._report(advance)

    def result(self, shard: Shard) -> ShardResult:
        """What the finished shard adds to the whole."""
        summary = ShardSummary(
            split=self._task.split,
            shard=shard,
            class_counts=self.class_counts,
            unreadable=self._unreadable,
            repaired=self._repaired,
        )
        return ShardResult(summary, self._sums, np.array(self._digests, np.uint64))


def _finish(unfinished: Path, final: Path, records: int) -> Shard:
    shard = Shard(
        file=final.name,
        records=records,
        bytes=unfinished.stat().st_size,
        sha256=file_sha256(unfinished),
    )
    put_in_place(unfinished, final)  # after a power cut the manifest must not exist without one of its shards
    return shard
