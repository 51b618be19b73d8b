"""Pictures to TFRecord shards.

    alexnet-tf convert folder --train DIR --val DIR --out DATA
    alexnet-tf convert ilsvrc2012 --train-tar F --val-tar F --devkit F --out DATA
    alexnet-tf convert tfds --name NAME --out DATA

The start of an image's path: a source lists the pictures (sources.py), the training list is
shuffled across classes and cut into shards (plan.py), worker processes write them (workers.py,
shards.py), and their exact sums become the mean image and the RGB covariance (statistics.py). The
manifest comes last: a folder that has one is finished. The bytes depend neither on --workers nor on
interruptions: the same command resumes with the shards that are not finished.

Departure from the paper, which trains on the raw pixels of 256x256 pictures: records hold them as
JPEG of quality 95, unless --encoding raw.
"""

import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from alexnet_tf.program.errors import DONE, StoppedBySignal, UserError, run_command
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.pattern_paths import refuse_no_text
from alexnet_tf.program.standard_streams import outlive_readers
from tfrecords.command_line import make_source, parse_arguments, source_doubts
from tfrecords.doubts import Digests, class_doubts, pictures_under_two_labels, two_label_doubts
from tfrecords.finished_shards import load_results
from tfrecords.manifest import Manifest, Shard, Split, Unreadable, write_manifest
from tfrecords.output_folder import Identity, unfinished_output
from tfrecords.plan import Repaired, Settings, ShardResult, ShardTask, plan_shards
from tfrecords.progress import Progress
from tfrecords.report import summary, write_report
from tfrecords.sources import Source, class_counts, shuffled
from tfrecords.statistics import STATISTICS_FILE, PixelSums
from tfrecords.workers import run_shards

LIBRARIES = ("cykooz-resizer", "numpy", "pillow", "simplejpeg")
"""Those whose version may change the bytes of a record."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parse_arguments(argv)
    outlive_readers()
    settings = Settings(
        options.size,
        options.channels,
        options.encoding,
        options.quality,
        options.seed,
        options.shards,
        options.max_unreadable,
        options.exif,
    )
    refuse_no_text("--out", options.out)
    source = make_source(options)
    _tell(source_doubts(options))
    convert(source, options.out, settings, options.workers, tell=True)
    return DONE


def convert(source: Source, out: AnyPath, settings: Settings, workers: int, *, tell: bool = False) -> Manifest:
    """Writes a data folder from a source, or resumes one that was interrupted.

    Args:
      source: lists classes and pictures.
      out: folder to write; absent, empty, or left unfinished by an earlier call.
      settings: what shapes the output.
      workers: number of processes; changes nothing in the output.
      tell: whether to print a summary at the end, and what is probably a mistake.

    Returns:
      The manifest, as written.

    Raises:
      UserError: bad input, too many unreadable pictures, `out` in use, disk full.
      StoppedBySignal: by Ctrl-C; finished shards are kept.
    """
    out = Path(out)
    started = time.monotonic()
    items = {"train": shuffled(source.items("train"), settings.seed), "val": source.items("val")}
    if tell:
        _tell(class_doubts(source.class_keys, class_counts(items["train"], len(source.class_keys))))
    tasks = plan_shards(items, out, len(source.class_keys), settings)
    with unfinished_output(out, _identity(source, settings, tasks)) as work:
        merged = _Merged(PixelSums(settings.size, settings.channels), len(source.class_keys))
        for result in load_results(work, tasks):
            merged.collect(result)
        todo = [task for task in tasks if task.file not in merged.files]
        _write_shards(todo, len(tasks), workers, settings, merged)
        manifest = _manifest(source, settings, merged)
        statistics = merged.sums.statistics()
        statistics.save(out / STATISTICS_FILE)
        manifest = manifest.model_copy(update={"statistics": statistics.digest()})
        # Late, as it loads TFDS: a fault in the options should be told at once.
        from tfrecords.tfds_metadata import write_tfds_metadata

        write_tfds_metadata(out, manifest)
        doubles = merged.under_two_labels(tasks)
        write_report(out, manifest, merged.repaired, doubles)
        write_manifest(out, manifest)
    if tell:
        pictures_now = sum(len(task.items) for task in todo)
        print(summary(out, manifest, merged.repaired, pictures_now, time.monotonic() - started))
        _tell(two_label_doubts(doubles))
    return manifest


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)


def _identity(source: Source, settings: Settings, tasks: Sequence[ShardTask]) -> Identity:
    """What the bytes depend on, to be compared with what an interrupted conversion was begun with."""
    options = asdict(settings)
    del options["max_unreadable"]  # it may be raised half-way
    digest = hashlib.sha256(repr((source.kind, source.class_keys)).encode())
    for task in tasks:
        digest.update(task.file.encode())
        for item in task.items:
            digest.update(repr(item).encode("utf-8", "surrogateescape"))
    return {
        "options": options,
        "pictures": {"list": digest.hexdigest()[:16]},
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _write_shards(todo: Sequence[ShardTask], shards: int, workers: int, settings: Settings, merged: "_Merged") -> None:
    done = merged.pictures
    if merged.files:
        print(f"going on: {len(merged.files)} of {shards} shards are finished", file=sys.stderr)
    try:
        with Progress(done + sum(len(task.items) for task in todo), done, settings.max_unreadable) as progress:
            run_shards(todo, workers, progress.report, merged.collect)
    except KeyboardInterrupt:
        raise StoppedBySignal(
            f"stopped: {len(merged.files)} of {shards} shards are finished; run the same command again to resume"
        ) from None
    except UserError as fault:
        if not merged.files:
            raise
        raise UserError(
            f"{fault}; {len(merged.files)} of {shards} shards are finished, run the same command again to resume"
        ) from fault


@dataclass
class _Merged:
    """The sum of the shards' results, in whichever order they come."""

    sums: PixelSums
    num_classes: int
    digests: dict[str, Digests | None] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    shards: dict[str, list[Shard]] = field(default_factory=dict)
    class_counts: dict[str, list[int]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    repaired: list[Repaired] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        return sum(map(sum, self.class_counts.values()))

    def collect(self, result: ShardResult) -> None:
        found = result.summary
        self.files.add(found.shard.file)
        self.digests[found.shard.file] = result.digests
        self.shards.setdefault(found.split, []).append(found.shard)
        counts = self.class_counts.setdefault(found.split, [0] * self.num_classes)
        self.class_counts[found.split] = [sum(pair) for pair in zip(counts, found.class_counts, strict=True)]
        self.unreadable += found.unreadable
        self.repaired += found.repaired
        if result.sums is not None:
            self.sums.merge(result.sums)

    def under_two_labels(self, tasks: Sequence[ShardTask]) -> list[list[str]]:
        """Names of pictures that are the same and have different labels."""
        known = [(task.split, task.items, self.digests[task.file]) for task in tasks]
        return pictures_under_two_labels([(split, items, own) for split, items, own in known if own is not None])


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
        channels=settings.channels,
        encoding=settings.encoding,
        quality=settings.quality if settings.encoding == "jpeg" else None,
        exif=settings.exif,
        seed=settings.seed,
        class_keys=source.class_keys,
        class_names=source.class_names,
        splits=splits,
        unreadable=sorted(merged.unreadable, key=lambda entry: (entry.split, entry.file)),
    )


if __name__ == "__main__":
    run_command(main)
