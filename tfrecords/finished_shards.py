"""Records of finished shards, from which an interrupted conversion resumes.

A shard that stands under its final name and has its record here is finished. The record is written
after the shard was renamed, so a process killed in between leaves a shard that is written again.
"""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from alexnet_tf.program.whole_files import put_in_place
from tfrecords.plan import ShardResult, ShardSummary, ShardTask
from tfrecords.statistics import PixelSums, npz_bytes

RECORD_END = ".finished.npz"


def save_result(work_dir: Path, result: ShardResult) -> None:
    """Writes a shard's record, whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    arrays: dict[str, Any] = {"summary": np.frombuffer(result.summary.model_dump_json().encode(), np.uint8)}
    if result.sums is not None:
        arrays |= {
            "pictures": np.int64(result.sums.pictures),
            "pixel_sum": result.sums.pixel_sum.astype(np.uint32),  # a shard has far fewer than 2**24 pictures
            "products": result.sums.products,
        }
    if result.digests is not None:
        arrays["digests"] = result.digests
    final = work_dir / (result.summary.shard.file + RECORD_END)
    # Of this process alone: an orphan may write the same record for a moment longer.
    unfinished = final.with_name(f"{final.name}.{os.getpid()}")
    unfinished.write_bytes(npz_bytes(arrays))
    put_in_place(unfinished, final)


def load_results(work_dir: Path, tasks: Sequence[ShardTask]) -> list[ShardResult]:
    """The results of those shards that need not be written again.

    A shard from which pictures were left out is not among them: they may have been mended since.
    """
    found = [_load_result(work_dir / (task.file + RECORD_END), task) for task in tasks]
    return [result for result in found if result is not None and not result.summary.unreadable]


def _load_result(path: Path, task: ShardTask) -> ShardResult | None:
    sums = PixelSums(task.size, task.channels) if task.split == "train" else None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            summary = ShardSummary.model_validate_json(arrays["summary"].tobytes())
            digests = arrays.get("digests")
            if sums is not None:
                sums.restore(int(arrays["pictures"]), arrays["pixel_sum"], arrays["products"])
        if digests is not None and digests.shape != (len(task.items),):
            return None
        whole = (task.data_dir / task.file).stat().st_size == summary.shard.bytes
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, ValidationError):
        return None  # missing or damaged: the shard is written again
    return ShardResult(summary, sums, digests) if whole else None
