"""TFRecord files that hold exactly what their manifest lists; a difference ends reading, with the name of the file.

TensorFlow takes a file that was cut between two records for a shorter one and says of no damaged record which file it
is in. Here every file is looked at when it is opened, its records are counted as they are read, and once something is
wrong the files that were open are searched for it.
"""

import atexit
import contextlib
import os
import weakref
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read, system_fault
from tfrecords.manifest import ADVICE, Manifest, Shard, listed_shards, shard_problem
from tfrecords.record_check import check_shard, label_of, one_line

CheckRecords = Callable[[Path, Shard], list[str]]
"""What is wrong with the records of a file that is as listed, a line a fault."""
SEARCHED = 32
"""Files that are searched for a fault, from the one last opened back: more cannot be between reading and use."""
_being_read: weakref.WeakSet[Generator[Any]] = weakref.WeakSet()


class RecordFiles:
    """The files of one split, in stored order, and what is known of them.

    Args:
      folder: where they are.
      shards: what the manifest lists.
      num_classes: labels go from 0 to one less.
      check: finds what is wrong with records.
      kind: what to call a file in messages.
      advice: what mends such a file; ends a message.
    """

    def __init__(
        self, folder: Path, shards: list[Shard], num_classes: int, check: CheckRecords,
        kind: str = "shard", advice: str = ADVICE,
    ) -> None:  # fmt: skip
        self.paths = [folder / shard.file for shard in shards]
        self.shards = shards
        self.num_classes = num_classes
        self.check = check
        self.kind = kind
        self.advice = advice
        self._known = [_looks(path) for path in self.paths]
        self._opened: dict[int, None] = {}  # in the order of their last opening
        self._problem: str | None = None

    @staticmethod
    def of_split(data_dir: Path, manifest: Manifest, split: str) -> "RecordFiles":
        """Those of a split of converted data.

        Raises:
          UserError: the data have no such split, or nothing is in it.
        """
        check = partial(_shard_faults, manifest=manifest)
        return RecordFiles(data_dir, listed_shards(data_dir, manifest, split), manifest.num_classes, check)

    @property
    def records(self) -> list[int]:
        """How many each file holds."""
        return [shard.records for shard in self.shards]

    def read(self, number: tf.Tensor, skipped: tf.Tensor, read: tf.Tensor) -> tf.data.Dataset:
        """Records of file `number`: after the first `skipped`, `read` of them; fails where the file has fewer.

        Where they reach to the file's end it fails if there are more, too. All arguments are int64 scalars.
        """
        path = tf.ensure_shape(tf.numpy_function(self._open, (number,), tf.string, stateful=False), ())
        to_end = skipped + read == tf.gather(tf.constant(self.records, tf.int64), number)
        records = tf.data.TFRecordDataset(path).skip(skipped).take(tf.where(to_end, tf.constant(-1, tf.int64), read))
        return records.apply(tf.data.experimental.assert_cardinality(read))

    def fault_behind(self, fault: tf.errors.OpError) -> UserError:
        """The file that made reading fail and what is wrong with it."""
        latest = list(reversed(self._opened))[:SEARCHED]
        problem = self._problem or next(filter(None, map(self._file_problem, latest)), None)
        if problem:
            return UserError(problem)
        if system_fault(fault).errno:  # such as too many open files: no fault of the files'
            return cannot_be_read(self.paths[0].parent, fault)
        for number in latest:
            if faults := self.check(self.paths[number], self.shards[number]):
                return UserError(f"{faults[0]}; {self.advice}")
        return UserError(
            f"reading {self.paths[0].parent} failed ({one_line(fault)}), though its files are as they should be; "
            "mend what the reason names, then run the same command again"
        )

    def fault_of_labels(self, labels: np.ndarray) -> UserError | None:
        """What is wrong with labels that were read, naming a file with such a one; None if all are 0 to classes - 1."""
        fault, where = label_fault(labels, self.num_classes), f"{self.paths[0].parent}"
        if not fault:
            return None
        for number in list(reversed(self._opened))[:SEARCHED]:
            found = np.array([label_of(record) for record in tf.data.TFRecordDataset(str(self.paths[number]))])
            if its_fault := label_fault(found, self.num_classes):
                fault, where = its_fault, f"{self.kind} {self.paths[number]}"
                break
        return UserError(f"{where} {fault}; {self.advice}")

    def _open(self, number: np.ndarray) -> bytes:
        """The path of a file that is about to be read; none, so that reading fails, where it is not as listed."""
        index = int(number)
        self._opened.pop(index, None)
        self._opened[index] = None
        now = _looks(self.paths[index])
        if now is None or now != self._known[index]:
            if problem := self._file_problem(index):
                self._problem = self._problem or problem
                return b""
            self._known[index] = now
        return os.fsencode(self.paths[index])

    def _file_problem(self, number: int) -> str | None:
        path, shard = self.paths[number], self.shards[number]
        return shard_problem(path, shard, hashing=True, kind=self.kind, advice=self.advice)


class RecordBatches:
    """Batches from such files: a data set whose faults name the file.

    Args:
      files: that it reads.
      dataset: of batches whose last part is the labels, int64 (n,).
    """

    def __init__(self, files: RecordFiles, dataset: tf.data.Dataset) -> None:
        self.files = files
        self.dataset = dataset

    def take(self, count: int) -> "RecordBatches":
        """The first `count` of them."""
        return RecordBatches(self.files, self.dataset.take(count))

    def __iter__(self) -> Iterator[Any]:
        """Yields the batches.

        Raises:
          UserError: a file is missing, cut, changed or damaged, or holds another number of records than it should or
            a label that is none; names it.
        """
        batches = self._batches()
        _being_read.add(batches)
        return batches

    def _batches(self) -> Generator[Any]:
        batches = iter(self.dataset)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except tf.errors.OpError as fault:
                raise self.files.fault_behind(fault) from fault
            if fault_of_labels := self.files.fault_of_labels(batch[-1].numpy()):
                raise fault_of_labels
            yield batch


@atexit.register
def _stop_reading() -> None:
    """Ends what a script or notebook has not read to its end, while Python functions of the pipeline can still run.

    Otherwise TensorFlow would wait for them without end when the interpreter, on its way out, frees the iterator.
    """
    for batches in list(_being_read):
        with contextlib.suppress(ValueError):  # another thread is just reading
            batches.close()


def _looks(path: Path) -> tuple[int, ...] | None:
    """What shows cheaply whether a file is still the same; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def label_fault(labels: np.ndarray, num_classes: int) -> str | None:
    """What is wrong with labels that are not all 0 to num_classes - 1, and whether they seem to count from 1."""
    if not len(labels):
        return None
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < num_classes:
        return None
    fault = high if high >= num_classes else low
    hint = "; they seem to count from 1" if high == num_classes and low >= 1 else ""
    return f"holds label {fault}, labels go from 0 to {num_classes - 1}{hint}"


def _shard_faults(path: Path, shard: Shard, manifest: Manifest) -> list[str]:
    return check_shard(path, shard, manifest).faults
