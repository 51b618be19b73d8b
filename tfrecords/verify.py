"""Checks a converted folder against its manifest: `python -m tfrecords.verify DATA [--sample]`.

Every shard's presence, size and SHA-256, every record's checksum, label and picture, the counts,
that no picture is in two splits, and that the statistics belong to the records. Each fault is one
line that names the shard and the record. For a quick look `--sample` (sample.py) takes a few records.

Shards are read one by one: tf.data's own error for a damaged record does not name the file, and a
shard cut between two records looks to it like a shorter one.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from tfrecords.command_line import whole_number
from tfrecords.manifest import Manifest, load_manifest
from tfrecords.record_check import Stored, check_shard
from tfrecords.sample import SAMPLE, SHEET_FILE, look_at_sample
from tfrecords.statistics import STATISTICS_FILE, Statistics


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status: 1 where there is any fault."""
    options = _parse(argv)
    manifest = load_manifest(options.data)
    with contextlib.suppress(RuntimeError):  # already in use, then so be it
        tf.config.set_visible_devices([], "GPU")  # decoding needs none, and a training may use it
    found = find_faults(options.data, manifest)
    if options.sample is not None:
        found = look_at_sample(options.data, manifest, options.sample, options.sheet)
    faults = doubles = 0
    for fault in found:
        tqdm.write(fault)
        faults += 1
        doubles += fault.endswith(REMOVE_ONE)
    if faults:
        advice = "remove one picture of each pair named above, then convert again" if doubles else "convert again"
        print(f"error: {faults} fault{'s' * (faults > 1)} in {options.data}: {advice}", file=sys.stderr)
        return FAULT
    records = {name: split.records for name, split in manifest.splits.items()}
    counted = ", ".join(f"{count} {name}" for name, count in records.items())
    if options.sample is not None:
        print(f"ok: a sample of {options.data}, sound; it should hold {counted} records; see {options.sheet}")
        return DONE
    print(f"ok: {options.data} holds {counted} records of {manifest.num_classes} classes, all sound")
    for name, split in manifest.splits.items():
        print(f"  {name}: {min(split.class_counts)} to {max(split.class_counts)} images a class")
    return DONE


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tfrecords.verify", description="Check converted data.")
    add = parser.add_argument
    add("data", type=Path, help="folder that tfrecords.convert wrote")
    add(
        "--sample",
        type=whole_number(1),
        nargs="?",
        const=SAMPLE,
        metavar="N",
        help=f"look at N records ({SAMPLE})",
    )
    add("--sheet", type=Path, metavar="FILE.png", help=f"where --sample draws them (DATA/{SHEET_FILE})")
    options = parser.parse_args(argv)
    if options.sheet is None:
        options.sheet = options.data / SHEET_FILE
    return options


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
        statistics = Statistics.of_data(data_dir, manifest)
    except UserError as fault:
        yield str(fault)
        return
    pixels = manifest.splits["train"].records * manifest.size**2
    if statistics.pixels != pixels:
        yield f"{path} was made from {statistics.pixels} pixels, the training records have {pixels}"


if __name__ == "__main__":
    run_command(main)
