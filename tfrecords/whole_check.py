"""Everything that can be wrong with a converted folder: each fault is one line that names the shard and the record.

Shards are read one by one: tf.data's own error for a damaged record does not name the file, and a shard cut between two
records looks to it like a shorter one.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from alexnet_tf.program.errors import UserError
from tfrecords.manifest import Manifest
from tfrecords.record_check import Stored, check_shard
from tfrecords.statistics import STATISTICS_FILE, Statistics

REMOVE_ONE = "in both splits: remove one of the two files, for converting alone does not part them"


def find_faults(data_dir: Path, manifest: Manifest) -> Iterator[str]:
    """Yields a line for each fault, naming the file and, within a shard, the record (from 0)."""
    total = sum(split.records for split in manifest.splits.values())
    # The small split first: its pictures are remembered while the large one is read.
    order = sorted(manifest.splits, key=lambda name: manifest.splits[name].records)
    elsewhere: dict[bytes, tuple[str, str, int]] = {}
    with tqdm(total=total, unit=" records", disable=None) as bar:
        for name in order:
            split = manifest.splits[name]
            counts = [0] * manifest.num_classes
            here: dict[bytes, tuple[str, str, int]] = {}
            # Threads suffice, decoding and hashing let go of Python's lock.
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
                checks = threads.map(lambda shard: check_shard(data_dir / shard.file, shard, manifest), split.shards)
                for shard, check in zip(split.shards, checks, strict=True):
                    yield from check.faults
                    yield from _in_two_splits(name, data_dir / shard.file, check.pictures, elsewhere)
                    if name != order[-1]:
                        here |= {one.digest: (f"{name} {one.name}", shard.file, n) for n, one in check.pictures.items()}
                    counts = [sum(pair) for pair in zip(counts, check.class_counts, strict=True)]
                    bar.update(shard.records)
            elsewhere |= here
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
