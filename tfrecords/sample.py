"""A quick look at converted data: a few records of shards all over, and a contact sheet of them.

`alexnet-tf verify DATA --sample` takes seconds where the whole check reads everything.
"""

import math
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from alexnet_tf.program.file_faults import cannot_be_written
from tfrecords.manifest import Manifest, Shard, shard_problem
from tfrecords.record_check import CheckedRecord, check_record, one_line
from tfrecords.sources import draw

COLUMNS = 8


def look_at_sample(data_dir: Path, manifest: Manifest, count: int, sheet: Path) -> Iterator[str]:
    """Checks `count` records, half of them of each split, and draws them.

    Which records is settled by the data alone. Of every shard the size is checked.

    Yields:
      A line for each fault.

    Raises:
      UserError: the sheet cannot be written.
    """
    shown: list[tuple[str, CheckedRecord]] = []
    for position, (name, split) in enumerate(manifest.splits.items()):
        for shard in split.shards:
            if problem := shard_problem(data_dir / shard.file, shard, hashing=False):
                yield problem
        share = min(split.records, math.ceil(count / 2) if position == 0 else count // 2)
        for shard, number in _chosen(split.shards, share):
            where = f"shard {data_dir / shard.file}, record {number}"
            try:
                (serialized,) = tf.data.TFRecordDataset(str(data_dir / shard.file)).skip(number).take(1)
            except ValueError:
                yield f"{where}: missing, the shard has fewer records"
                continue
            except tf.errors.OpError as fault:
                yield f"{where}: cannot be reached ({one_line(fault)})"
                continue
            record = check_record(serialized, manifest)
            if record.fault:
                yield f"{where}: {record.fault}"
            else:
                shown.append((name, record))
    _draw_sheet(shown, manifest, sheet)


def _chosen(shards: list[Shard], count: int) -> list[tuple[Shard, int]]:
    """So many different records of shards spread evenly, in stored order."""
    filled = [shard for shard in shards if shard.records]
    chosen = set()
    for number in range(count):
        shard = filled[number * len(filled) // count]
        shuffled = sorted(range(shard.records), key=lambda record, file=shard.file: draw(file, record))  # type: ignore[misc]
        chosen.add(next((shard.file, record) for record in shuffled if (shard.file, record) not in chosen))
    by_name = {shard.file: shard for shard in filled}
    return [(by_name[file], record) for file, record in sorted(chosen)]


def _draw_sheet(shown: list[tuple[str, CheckedRecord]], manifest: Manifest, sheet: Path) -> None:
    rows = max(1, math.ceil(len(shown) / COLUMNS))
    figure = Figure(figsize=(COLUMNS * 1.5, rows * 1.9 + 0.3), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (split, record) in zip(grid.flat, shown, strict=False):
        assert record.label is not None
        name = textwrap.shorten(manifest.class_names[record.label], 40, placeholder=" ...")
        axes.imshow(_pixels(record.image, manifest))
        axes.set_title(textwrap.fill(f"{record.label} {name} ({split})", 22), fontsize=7)
    try:
        figure.savefig(sheet, dpi=150)
    except OSError as fault:
        raise cannot_be_written(f"--sheet {sheet}", fault) from fault


def _pixels(image: bytes, manifest: Manifest) -> np.ndarray:
    if manifest.encoding == "raw":
        stored = np.frombuffer(image, np.uint8).reshape(manifest.picture_shape)
        return np.broadcast_to(stored, (*stored.shape[:2], 3))
    return tf.io.decode_jpeg(image, channels=3).numpy()
