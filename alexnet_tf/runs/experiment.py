"""What determines the steps of a run: settings, classes, mean image, and the data. Every checkpoint holds it.

Two trainings of the same experiment take the same steps to the last bit, so a checkpoint is resumed in its own only.
No TensorFlow here.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from alexnet_tf.runs.classes import Classes
from alexnet_tf.settings.config import Config, by_name, in_force
from tfrecords.exif import Exif
from tfrecords.manifest import Manifest, Split
from tfrecords.statistics import Statistics

CHANGEABLE_ON_RESUME = {
    "data.dir", "data.statistics", "data.eval_batch_size", "data.augment_on",
    "train.epochs", "train.steps", "train.log_every", "train.checkpoint_every", "train.saving_share",
    "train.stuck_after", "train.stop_after",
    "devices.towers", "devices.threads", "devices.tune", "distribute.index", "distribute.watch_port",
    "distribute.timeout", "distribute.stall_timeout",
}  # fmt: skip
"""Fields that do not change the steps of a run, however often they change."""
WORKERS = "distribute.workers"
"""Only the number of workers counts: as many on other machines do the same."""


class SplitDigest(BaseModel):
    """A digest of a split's records and their order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    records: int
    shards: str
    """SHA-256 over the SHA-256 of the shards, in order."""
    sorted_shards: str
    """The same over the sorted SHA-256, which does not depend on the order of the shards."""

    @staticmethod
    def of(split: Split) -> "SplitDigest":
        """The digest of a manifest's split."""
        digests = [f"{shard.sha256} {shard.records}" for shard in split.shards]
        shards, in_order = (hashlib.sha256("\n".join(each).encode()) for each in (digests, sorted(digests)))
        return SplitDigest(records=split.records, shards=shards.hexdigest(), sorted_shards=in_order.hexdigest())


class Experiment(BaseModel):
    """What two trainings must have in common so that one can resume from the other's checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, Any]
    """By section.key; none of CHANGEABLE_ON_RESUME."""
    classes: str
    """Digest."""
    statistics: str
    """Digest."""
    data: dict[str, SplitDigest] | None
    """By split; None for weights that came from elsewhere and were trained on nothing here."""
    exif: Exif = "ignore"
    """Whether its pictures were turned by their EXIF orientation."""

    @staticmethod
    def of(config: Config, classes: Classes, statistics: Statistics, manifest: Manifest | None) -> "Experiment":
        """The experiment with these settings and data."""
        settings = deciding_settings(config)
        settings[WORKERS] = _number_of_workers(settings[WORKERS])
        data = {name: SplitDigest.of(split) for name, split in manifest.splits.items()} if manifest else None
        return Experiment(
            settings=settings,
            classes=classes.digest(),
            statistics=statistics.digest(),
            data=data,
            exif=manifest.exif if manifest else "ignore",
        )


def same_experiment(before: Experiment, now: Experiment) -> bool:
    """Whether one can resume from the other's checkpoint."""
    if (before.classes, before.statistics, before.exif) != (now.classes, now.statistics, now.exif):
        return False
    if before.data is not None and now.data is not None and changed_data(before.data, now.data):
        return False
    return next(changed_settings(before.settings, now.settings), None) is None


def deciding_settings(config: Config) -> dict[str, Any]:
    """Every setting that determines the steps of a run, by section.key, as JSON has it."""
    named = by_name(json.loads(config.model_dump_json()))
    return {name: value for name, value in named.items() if name not in CHANGEABLE_ON_RESUME}


def changed_settings(before: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, earlier and present value of every setting that differs.

    Values are compared as they are in force: a field that is left to the preset has the preset's value, and one that
    one side does not know yet had the value that is now the default.
    """
    defaults = deciding_settings(Config())
    before, now = in_force({**defaults, **before}), in_force({**defaults, **now})
    for name in {**now, **before}:
        then, value = before.get(name), now.get(name)
        if _comparable(name, then) != _comparable(name, value):
            yield name, then, value


def _comparable(name: str, value: Any) -> Any:
    """A setting's value without what does not matter for the steps of a run."""
    if name == WORKERS:
        return _number_of_workers(value)
    return sorted(value) if name == "train.freeze" and value else value


def changed_data(before: dict[str, SplitDigest], now: dict[str, SplitDigest]) -> str | None:
    """How the data differ from those trained on before; None where they do not."""
    for split, meaning in (("train", "training"), ("val", "validation")):
        then, present = before.get(split), now.get(split)
        if then == present:
            continue
        if then and present and then.sorted_shards == present.sorted_shards:
            return f"lists the {meaning} shards in another order"
        count = f"{present.records if present else 0} now, {then.records if then else 0} then"
        return f"holds other {meaning} records ({count}) or shares them out to other shards, as another conversion does"
    return None


def _number_of_workers(value: Any) -> int:
    """From a list of addresses, or the number that a checkpoint keeps; an empty list means one process."""
    return value if isinstance(value, int) else max(1, len(value or ()))
