"""Pictures to TFRecord shards.

    python -m tfrecords.convert folder --train DIR --val DIR --out DATA

The start of an image's path: a source lists the pictures (sources.py), the training list is
shuffled across classes and cut into shards (plan.py), worker processes write them (workers.py,
shards.py), and their exact sums become the mean image and the RGB covariance (statistics.py). The
manifest comes last: a folder that has one is finished. The bytes do not depend on --workers.

Departure from the paper, which trains on the raw pixels of 256x256 pictures: records hold them as
JPEG of quality 95, unless --encoding raw.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from alexnet_tf.errors import DONE, UserError, run_command
from tfrecords.manifest import Manifest, Shard, Split, Unreadable, write_manifest
from tfrecords.output_folder import unfinished_output
from tfrecords.plan import Settings, ShardResult, plan_shards
from tfrecords.sources import FolderSource, Source, shuffled
from tfrecords.statistics import STATISTICS_FILE, PixelSums
from tfrecords.workers import run_shards


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = _parse(argv)
    settings = Settings(
        options.size,
        options.encoding,
        options.quality,
        options.seed,
        options.shards,
        options.max_unreadable,
    )
    # A polite kill ends like Ctrl-C: cleaned up, and with the status that says "run me again".
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        started = time.monotonic()
        manifest = convert(options.make_source(options), options.out, settings, options.workers)
        print(_summary(options.out, manifest, time.monotonic() - started))
    finally:
        signal.signal(signal.SIGTERM, before)
    return DONE


def convert(source: Source, out: Path, settings: Settings, workers: int) -> Manifest:
    """Writes a data folder from a source.

    Args:
        source: lists classes and pictures.
        out: folder to write; absent, empty, or left unfinished by an earlier call.
        settings: what shapes the output.
        workers: number of processes; changes nothing in the output.

    Returns:
        The manifest, as written.

    Raises:
        UserError: bad input, too many unreadable pictures, `out` in use, disk full.
    """
    items = {"train": shuffled(source.items("train"), settings.seed), "val": source.items("val")}
    with unfinished_output(out):
        tasks = plan_shards(items, out, len(source.class_keys), settings)
        merged = _Merged(PixelSums(settings.size), len(source.class_keys))
        with _Progress(sum(map(len, items.values())), settings.max_unreadable) as progress:
            run_shards(tasks, workers, progress.report, merged.collect)
        manifest = _manifest(source, settings, merged)
        merged.sums.statistics().save(out / STATISTICS_FILE)
        # Late, as it loads TensorFlow: a fault in the options should be told at once.
        from tfrecords.tfds_metadata import write_tfds_metadata

        write_tfds_metadata(out, manifest)
        write_manifest(out, manifest)
    return manifest


class _Progress:
    """Progress bar, names of the pictures left out, and the limit on them."""

    def __init__(self, total: int, max_unreadable: int) -> None:
        self._max_unreadable = max_unreadable
        self._unreadable = 0
        self._bar = tqdm(
            total=total,
            unit=" pictures",
            file=sys.stderr,
            dynamic_ncols=True,
            # In a log file a line a minute is enough.
            mininterval=0.2 if sys.stderr.isatty() else 60,
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def report(self, unreadable: Unreadable | None) -> None:
        """Counts one picture."""
        self._bar.update()
        if unreadable is None:
            return
        self._unreadable += 1
        name = f"{unreadable.split}/{unreadable.file} ({unreadable.reason})"
        self._bar.write(f"unreadable, left out: {name}", file=sys.stderr)
        if self._unreadable > self._max_unreadable:
            raise UserError(
                f"more than --max-unreadable {self._max_unreadable} pictures cannot be read, "
                f"the last was {name}: mend or remove them, or raise the limit"
            )


@dataclass
class _Merged:
    """What the shards' results add up to, in whichever order they come."""

    sums: PixelSums
    num_classes: int
    shards: dict[str, list[Shard]] = field(default_factory=dict)
    class_counts: dict[str, list[int]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)

    def collect(self, result: ShardResult) -> None:
        self.shards.setdefault(result.split, []).append(result.shard)
        counts = self.class_counts.setdefault(result.split, [0] * self.num_classes)
        self.class_counts[result.split] = [sum(pair) for pair in zip(counts, result.class_counts, strict=True)]
        self.unreadable += result.unreadable
        if result.sums is not None:
            self.sums.merge(result.sums)


def _manifest(source: Source, settings: Settings, merged: _Merged) -> Manifest:
    splits = {}
    for split in ("train", "val"):
        counts = merged.class_counts[split]
        for key, count in zip(source.class_keys, counts, strict=True):
            if count == 0:
                raise UserError(f"class {key} has no readable picture in {split}: mend or remove it")
        shards = sorted(merged.shards[split], key=lambda shard: shard.file)
        splits[split] = Split(records=sum(counts), class_counts=counts, shards=shards)
    return Manifest(
        source=source.kind,
        size=settings.size,
        encoding=settings.encoding,
        quality=settings.quality if settings.encoding == "jpeg" else None,
        seed=settings.seed,
        class_keys=source.class_keys,
        class_names=source.class_names,
        splits=splits,
        unreadable=sorted(merged.unreadable, key=lambda entry: (entry.split, entry.file)),
    )


def _summary(out: Path, manifest: Manifest, seconds: float) -> str:
    lines = [f"{out}: {manifest.num_classes} classes, {manifest.size}x{manifest.size} pixels"]
    for name, split in manifest.splits.items():
        megabytes = sum(shard.bytes for shard in split.shards) / 1e6
        lines.append(f"  {name:5} {split.records} pictures in {len(split.shards)} shards, {megabytes:.1f} MB")
    pictures = sum(split.records for split in manifest.splits.values())
    lines.append(f"  left out as unreadable: {len(manifest.unreadable)}")
    lines.append(f"  {seconds:.1f} s, {pictures / seconds:.0f} pictures/s")
    return "\n".join(lines)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tfrecords.convert", description="Convert pictures to TFRecord shards."
    )
    sources = parser.add_subparsers(title="sources", metavar="SOURCE", required=True)
    folder = sources.add_parser("folder", help="folders of pictures, one per class")
    folder.add_argument("--train", type=Path, required=True, help="folder of class folders")
    folder.add_argument("--val", type=Path, required=True, help="folder of the same class folders")
    folder.set_defaults(make_source=lambda options: FolderSource(options.train, options.val))
    _add_output_options(folder)
    return parser.parse_args(argv)


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    """Options that every source shares."""
    defaults = Settings()
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder to write")
    add(
        "--workers",
        type=_whole(1),
        default=len(os.sched_getaffinity(0)),
        help="processes (one per core)",
    )
    add("--encoding", choices=("jpeg", "raw"), default=defaults.encoding)
    add("--size", type=_whole(8, 2048), default=defaults.size, help="side in pixels (256)")
    add("--quality", type=_whole(1, 100), default=defaults.quality, help="of JPEG (95)")
    add("--seed", type=_whole(0), default=defaults.seed, help="of the training order (0)")
    add("--shards", type=_whole(1, 99_999), help="training shards (by size, about 64 MiB each)")
    add(
        "--max-unreadable",
        type=_whole(0),
        default=defaults.max_unreadable,
        help="more pictures than this that cannot be read fail the conversion (20)",
    )


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            limit = f"at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {limit}, not {value}")
        return value

    return whole_number


if __name__ == "__main__":
    run_command(main)
