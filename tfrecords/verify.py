"""Checks a converted folder against its manifest: `python -m tfrecords.verify DATA`.

Every shard's presence, size and SHA-256, every record's checksum, label and picture, the counts,
and that the statistics belong to the records. Each fault is one line that names the shard and the
record.

Shards are read one by one: tf.data's own error for a damaged record does not name the file, and a
shard cut between two records looks to it like a shorter one.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.errors import DONE, FAULT, UserError, run_command
from tfrecords.manifest import Manifest, Shard, load_manifest, shard_problem
from tfrecords.schema import KEY_FILE_NAME, KEY_IMAGE, KEY_LABEL, parse_example
from tfrecords.statistics import STATISTICS_FILE, Statistics


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status: 1 where there is any fault."""
    parser = argparse.ArgumentParser(prog="python -m tfrecords.verify", description="Check converted data.")
    parser.add_argument("data", type=Path, help="folder that tfrecords.convert wrote")
    data_dir = parser.parse_args(argv).data
    manifest = load_manifest(data_dir)
    with contextlib.suppress(RuntimeError):  # already in use, then so be it
        tf.config.set_visible_devices([], "GPU")  # decoding needs none, and a training may use it
    faults = 0
    for fault in find_faults(data_dir, manifest):
        tqdm.write(fault)
        faults += 1
    if faults:
        print(
            f"error: {faults} fault{'s' * (faults > 1)} in {data_dir}: convert again",
            file=sys.stderr,
        )
        return FAULT
    records = {name: split.records for name, split in manifest.splits.items()}
    counted = ", ".join(f"{count} {name}" for name, count in records.items())
    print(f"ok: {data_dir} holds {counted} records of {manifest.num_classes} classes, all sound")
    return DONE


def find_faults(data_dir: Path, manifest: Manifest) -> Iterator[str]:
    """Yields a line for each fault, naming the file and, within a shard, the record (from 0)."""
    total = sum(split.records for split in manifest.splits.values())
    with tqdm(total=total, unit=" records", disable=None) as bar:
        for name, split in manifest.splits.items():
            counts = [0] * manifest.num_classes
            # Threads suffice, decoding and hashing let go of Python's lock.
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
                checks = threads.map(lambda shard: _check_shard(data_dir / shard.file, shard, manifest), split.shards)
                for shard, check in zip(split.shards, checks, strict=True):
                    yield from check.faults
                    counts = [sum(pair) for pair in zip(counts, check.class_counts, strict=True)]
                    bar.update(shard.records)
            yield from _count_faults(name, manifest.class_keys, counts, split.class_counts)
    yield from _unlisted_shards(data_dir, manifest)
    yield from _statistics_faults(data_dir, manifest)


@dataclass
class _ShardCheck:
    class_counts: list[int]
    faults: list[str] = field(default_factory=list)


def _check_shard(path: Path, shard: Shard, manifest: Manifest) -> _ShardCheck:
    check = _ShardCheck([0] * manifest.num_classes)
    if problem := shard_problem(path, shard, hashing=True):
        check.faults.append(problem)
    if not path.is_file():
        return check
    number = 0
    try:
        for serialized in tf.data.TFRecordDataset(str(path)):
            if fault := _record_fault(serialized, manifest, check.class_counts):
                check.faults.append(f"shard {path}, record {number}: {fault}")
            number += 1
    except tf.errors.OpError as fault:
        # The length of the next record is lost with this one, so the rest cannot be read.
        check.faults.append(f"shard {path}, record {number}: damaged, nothing after it can be read ({_line(fault)})")
    else:
        if number != shard.records:
            check.faults.append(f"shard {path}: {number} records, the manifest says {shard.records}")
    return check


def _record_fault(serialized: tf.Tensor, manifest: Manifest, counts: list[int]) -> str | None:
    """What is wrong with one record; counts its class."""
    try:
        record = parse_example(serialized)
    except tf.errors.OpError as fault:
        return f"not a record of this format ({_line(fault)})"
    label = int(record[KEY_LABEL])
    if not 0 <= label < manifest.num_classes:
        return f"label {label} is outside 0-{manifest.num_classes - 1}"
    counts[label] += 1
    if not record[KEY_FILE_NAME].numpy():
        return "no file name"
    return _picture_fault(record[KEY_IMAGE], manifest)


def _picture_fault(image: tf.Tensor, manifest: Manifest) -> str | None:
    shape = (manifest.size, manifest.size, 3)
    if manifest.encoding == "raw":
        length, expected = len(image.numpy()), manifest.size**2 * 3
        return None if length == expected else f"picture of {length} bytes, not {expected}"
    try:
        decoded = tuple(tf.io.decode_jpeg(image).shape)
    except tf.errors.OpError as fault:
        return f"picture does not decode ({_line(fault)})"
    return None if decoded == shape else f"picture of shape {decoded}, not {shape}"


def _line(fault: tf.errors.OpError) -> str:
    return str(fault.message).splitlines()[0][:200]


def _count_faults(split: str, class_keys: list[str], counts: list[int], expected: list[int]) -> Iterator[str]:
    for key, found, listed in zip(class_keys, counts, expected, strict=True):
        if found != listed:
            yield f"split {split}, class {key}: {found} records, the manifest says {listed}"


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


if __name__ == "__main__":
    run_command(main)
