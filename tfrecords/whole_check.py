"""Everything that can be wrong with a converted folder: each fault is one line that names the shard and the record.

Shards are read one by one: tf.data's own error for a damaged record does not name the file, and a shard cut between two
records looks to it like a shorter one.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from tfrecords.doubts import same_under_two_labels
from tfrecords.manifest import Manifest, Shard
from tfrecords.record_check import Stored, check_record, check_shard
from tfrecords.sources import printable
from tfrecords.statistics import STATISTICS_FILE, Statistics

REMOVE_ONE = "in both splits: remove one of the two files, for converting alone does not part them"
REMOVE_WRONG = "under different labels: remove the one that is labeled wrongly"
NOTES = 20
"""Pictures of a published set under different labels that are named."""


def find_faults(data_dir: AnyPath, manifest: Manifest, notes: list[str] | None = None) -> Iterator[str]:
    """Yields a line for each fault, naming the file and, within a shard, the record (from 0).

    Args:
      data_dir: the data folder.
      manifest: what `load_manifest` returned.
      notes: gets a line for each picture of a published set that is there under different labels. In own pictures
        that is a fault.
    """
    notes = [] if notes is None else notes
    data_dir = Path(data_dir)
    total = sum(split.records for split in manifest.splits.values())
    # The small split first: its pictures are remembered while the large one is read.
    order = sorted(manifest.splits, key=lambda name: manifest.splits[name].records)
    elsewhere: dict[bytes, tuple[str, str, int]] = {}
    with tqdm(total=total, unit=" records", disable=None) as bar:
        for name in order:
            split = manifest.splits[name]
            counts = [0] * manifest.num_classes
            here: dict[bytes, tuple[str, str, int]] = {}
            seen = _Seen(name, data_dir, split.shards)
            # Threads suffice, decoding and hashing let go of Python's lock.
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
                checks = threads.map(lambda shard: check_shard(data_dir / shard.file, shard, manifest), split.shards)
                for shard, check in zip(split.shards, checks, strict=True):
                    yield from check.faults
                    yield from _in_two_splits(name, data_dir / shard.file, check.pictures, elsewhere)
                    seen.add(check.pictures)
                    if name != order[-1]:
                        here |= {one.digest: (f"{name} {one.name}", shard.file, n) for n, one in check.pictures.items()}
                    counts = [sum(pair) for pair in zip(counts, check.class_counts, strict=True)]
                    bar.update(shard.records)
            elsewhere |= here
            if manifest.source == "folder":
                yield from seen.under_two_labels(manifest)
            else:
                notes += seen.under_two_labels(manifest)
            yield from _count_faults(name, manifest.class_keys, counts, split.class_counts)
    yield from _unlisted_shards(data_dir, manifest)
    yield from _statistics_faults(data_dir, manifest)


def _in_two_splits(
    split: str, path: Path, pictures: dict[int, Stored], elsewhere: dict[bytes, tuple[str, str, int]]
) -> Iterator[str]:
    for number, one in pictures.items():
        if one.digest in elsewhere:
            other, shard, record = elsewhere[one.digest]
            yield (
                f"shard {path}, record {number}: {split} {one.name} is the same picture as {other} ({shard}, record "
                f"{record}), {REMOVE_ONE}"
            )


class _Seen:
    """All pictures of a split, in few bytes each: a large one has more than a million."""

    def __init__(self, split: str, data_dir: Path, shards: Sequence[Shard]) -> None:
        self._split = split
        self._paths = [data_dir / shard.file for shard in shards]
        self._parts: list[np.ndarray] = []

    def add(self, pictures: dict[int, Stored]) -> None:
        """Takes in those of the next shard."""
        shard = len(self._parts)
        rows = [(shard, number, one.label, one.digest[:8]) for number, one in pictures.items() if one.label >= 0]
        self._parts.append(np.array(rows, [("shard", "i4"), ("record", "i4"), ("label", "i4"), ("digest", "S8")]))

    def under_two_labels(self, manifest: Manifest) -> Iterator[str]:
        """A line for each picture that is there under different labels."""
        if not self._parts:
            return
        rows = np.concatenate(self._parts)
        digests = np.frombuffer(rows["digest"].tobytes(), np.uint64)
        for group in same_under_two_labels(digests, rows["label"].astype(np.int64)):
            first, *others = [self._place(rows[place], manifest) for place in group]
            path, record, name = first
            also = ", ".join(f"{other} ({shard.name}, record {number})" for shard, number, other in others)
            yield f"shard {path}, record {record}: {self._split} {name} is the same picture as {also}, {REMOVE_WRONG}"

    def _place(self, row: np.void, manifest: Manifest) -> tuple[Path, int, str]:
        """Shard, record, and class and file name, which are read once more."""
        path, number = self._paths[row["shard"]], int(row["record"])
        serialized = next(iter(tf.data.TFRecordDataset(str(path)).skip(number).take(1)))
        record = check_record(serialized, manifest)
        return path, number, f"{manifest.class_keys[row['label']]}/{printable(record.file_name)}"


def _count_faults(split: str, class_keys: list[str], counts: list[int], expected: list[int]) -> Iterator[str]:
    for key, found, listed in zip(class_keys, counts, expected, strict=True):
        if found != listed:
            yield f"split {split}, class {key}: {found} records, the manifest says {listed}"
        elif not found:
            yield f"split {split}, class {key}: no records at all"


def _unlisted_shards(data_dir: Path, manifest: Manifest) -> Iterator[str]:
    """Shards that a reader with a wildcard would take in."""
    for name, split in manifest.splits.items():
        listed = {shard.file for shard in split.shards}
        for path in sorted(data_dir.glob(f"{name}-*-of-*")):
            if path.name not in listed:
                yield f"shard {path} is not in the manifest: remove it"


def _statistics_faults(data_dir: Path, manifest: Manifest) -> Iterator[str]:
    path = data_dir / STATISTICS_FILE
    try:
        statistics = Statistics.load(path)
    except UserError as fault:
        yield str(fault)
        return
    pixels = manifest.splits["train"].records * manifest.size**2
    if statistics.pixels != pixels:
        yield f"{path} was made from {statistics.pixels} pixels, the training records have {pixels}"
