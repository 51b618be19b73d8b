"""report.json in the output: what was repaired, what was left out, and the counts of every class."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.whole_files import write_whole
from tfrecords.manifest import MANIFEST_FILE, Manifest
from tfrecords.plan import Repaired
from tfrecords.sources import WHOLE_NUMBER

REPORT_FILE = "report.json"

FEW_CLASSES = 20
"""Up to so many are counted one by one in the summary; all are in the report."""


def write_report(out: Path, manifest: Manifest, repaired: Sequence[Repaired], doubles: Sequence[list[str]]) -> None:
    """Writes the report whole or not at all.

    Args:
      out: the data folder.
      manifest: of the finished conversion; it knows the pictures left out.
      repaired: pictures that are in, with what was odd about them.
      doubles: names of pictures that are the same and have different labels.
    """
    report = {
        "class_counts": {
            name: dict(zip(manifest.class_keys, split.class_counts, strict=True))
            for name, split in manifest.splits.items()
        },
        "repair_counts": repair_counts(repaired),
        "under_different_labels": list(doubles),
        "left_out": [entry.model_dump() for entry in manifest.unreadable],
        "repaired": [entry.model_dump() for entry in sorted(repaired, key=lambda entry: (entry.split, entry.file))],
    }
    write_whole(out / REPORT_FILE, (json.dumps(report, indent=1) + "\n").encode())


def repair_counts(repaired: Sequence[Repaired]) -> dict[str, int]:
    """How often each kind of repair was made, the most frequent first."""
    counts = Counter(what for entry in repaired for what in entry.what)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def summary(out: Path, manifest: Manifest, repaired: Sequence[Repaired], pictures_now: int, seconds: float) -> str:
    """The lines that end a conversion.

    Args:
      out: the data folder.
      manifest: what was written.
      repaired: the pictures of which the report lists repairs.
      pictures_now: converted in this call; an earlier one may have done the others.
      seconds: that this call took.
    """
    quality = f" of quality {manifest.quality}" if manifest.encoding == "jpeg" else ""
    side = f"{manifest.size}x{manifest.size}" + " gray" * (manifest.channels == 1)
    lines = [f"{out}: {manifest.num_classes} classes, {side} pixels, {manifest.encoding}{quality}"]
    for name, split in manifest.splits.items():
        megabytes = sum(shard.bytes for shard in split.shards) / 1e6
        counts = split.class_counts
        lines.append(
            f"  {name:5} {split.records} images in {len(split.shards)} shards, {megabytes:.1f} MB, "
            f"{min(counts)} to {max(counts)} a class"
        )
    lines += _labels(manifest)
    kinds = ", ".join(f"{count} {what}" for what, count in repair_counts(repaired).items())
    lines.append(f"  repaired: {len(repaired)}{f' ({kinds})' * bool(kinds)}")
    lines.append(f"  left out as unreadable: {len(manifest.unreadable)}; both are listed in {REPORT_FILE}")
    lines.append(f"  {seconds:.1f} s, {pictures_now / seconds:.0f} images/s")
    return "\n".join(lines)


def _labels(manifest: Manifest) -> list[str]:
    """Which class has which label; all of them where they are few."""
    keys = manifest.class_keys
    if manifest.num_classes <= FEW_CLASSES:
        lines = [
            f"    label {label}: {key}: "
            + ", ".join(f"{split.class_counts[label]} {name}" for name, split in manifest.splits.items())
            for label, key in enumerate(keys)
        ]
    else:
        shown = ", ".join(f"{label} = {keys[label]}" for label in (0, 1, 2))
        last = manifest.num_classes - 1
        lines = [f"  labels: {shown} ... {last} = {keys[last]}; all in {MANIFEST_FILE}, class_keys"]
    moved = next((label for label, key in enumerate(keys) if WHOLE_NUMBER.fullmatch(key) and float(key) != label), None)
    if moved is not None:
        lines.append(f"  note: labels count from 0 without gaps, so your class {keys[moved]} is label {moved}")
    return lines
