"""Cuts the lists of pictures into shards: the messages between the converter and its workers.

No TensorFlow here: a usage error should not wait for it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from alexnet_tf.program.errors import UserError
from tfrecords.doubts import Digests
from tfrecords.exif import Exif
from tfrecords.manifest import Encoding, Shard, Unreadable
from tfrecords.sources import Item
from tfrecords.statistics import PixelSums

SHARD_BYTES = 64 << 20
"""Aim for a shard where --shards is not given; small enough to shuffle by shards, large to read."""

JPEG_RECORD_BYTES = 25_000
"""A 256x256 photograph at quality 95, about, to reckon the number of shards beforehand."""

FEWEST_TRAINING_SHARDS = 4
SHARDS_TO_SHARE, PICTURES_TO_SHARE = 16, 100
"""So many training shards, if each gets so many pictures: that many worker processes are busy to the end."""


@dataclass(frozen=True)
class Settings:
    """The options that shape the output; `shards` None means by size."""

    size: int = 256
    channels: int = 3
    encoding: Encoding = "jpeg"
    quality: int = 95
    seed: int = 0
    shards: int | None = None
    max_unreadable: int = 20
    exif: Exif = "ignore"
    """Whether pictures are turned by their EXIF orientation."""


class Repaired(BaseModel):
    """A picture that is used, and what had to be done to it or was found odd about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str
    file: str
    what: list[str]


@dataclass
class Advance:
    """How far a shard has come since the last report."""

    pictures: int = 0
    bytes: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)


Report = Callable[[Advance], None]
"""Called several times a second while a shard is written; raises to stop the work."""


@dataclass(frozen=True)
class ShardTask:
    """What a worker needs to write one shard."""

    data_dir: Path
    file: str
    split: str
    items: Sequence[Item]
    num_classes: int
    size: int
    channels: int
    encoding: Encoding
    quality: int | None
    exif: Exif


class ShardSummary(BaseModel):
    """What there is to tell of a finished shard."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str
    shard: Shard
    class_counts: list[int]
    unreadable: list[Unreadable]
    repaired: list[Repaired]


@dataclass(frozen=True)
class ShardResult:
    """A finished shard's summary, the pixel sums of a training shard, and what tells same pictures."""

    summary: ShardSummary
    sums: PixelSums | None
    digests: Digests | None = None
    """Of the task's items; None where an earlier version has written the shard."""


def plan_shards(
    items: Mapping[str, Sequence[Item]], out: Path, num_classes: int, settings: Settings
) -> list[ShardTask]:
    """One task a shard, of both splits, so that all workers stay busy to the end.

    Args:
      items: per split the pictures, in the order of the records.
      out: the data folder.
      num_classes: how many labels there are.
      settings: what shapes the output.

    Raises:
      UserError: more shards are asked for than there are training pictures.
    """
    training = len(items["train"])
    shards = settings.shards or _default_shards(training, settings)
    if shards > training:
        raise UserError(f"--shards {shards} is more than the {training} training pictures: lower it")
    # The validation split gets shards of about the same size, at least one.
    counts = {"train": shards, "val": max(1, round(shards * len(items["val"]) / training))}
    counts["val"] = min(counts["val"], len(items["val"]))
    return [
        ShardTask(
            out,
            f"{split}-{index:05d}-of-{counts[split]:05d}",
            split,
            part,
            num_classes,
            settings.size,
            settings.channels,
            settings.encoding,
            settings.quality if settings.encoding == "jpeg" else None,
            settings.exif,
        )
        for split in items
        for index, part in enumerate(_cut_evenly(items[split], counts[split]))
    ]


def _default_shards(pictures: int, settings: Settings) -> int:
    if settings.encoding == "raw":
        record_bytes = settings.size**2 * settings.channels
    else:
        record_bytes = JPEG_RECORD_BYTES * settings.size**2 // 256**2
    by_size = math.ceil(pictures * record_bytes / SHARD_BYTES)
    return max(by_size, min(FEWEST_TRAINING_SHARDS, pictures), min(SHARDS_TO_SHARE, pictures // PICTURES_TO_SHARE))


def _cut_evenly(items: Sequence[Item], parts: int) -> list[Sequence[Item]]:
    """Runs of neighbors whose lengths differ by one at most."""
    edges = [index * len(items) // parts for index in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(edges)]
