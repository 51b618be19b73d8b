"""What can be said early: what a run is going to do, that it does not learn, that the best checkpoint is random."""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from alexnet_tf.settings.config import Config
from alexnet_tf.settings.explained import Setting, by_origin
from alexnet_tf.training.sanity import other_preset
from tfrecords.manifest import Manifest, Split

if TYPE_CHECKING:
    from alexnet_tf.training.loop import Trainer

FIRST_JUDGED = 3
"""Epochs after which a network that has learned anything is better than guessing."""
JUDGED_AGAIN = 10
"""Epochs from one look to the next while it is not."""
FEW = 100
"""Validation pictures: with fewer, each counts for more than a percent."""


def overview(trainer: "Trainer", settings: list[Setting]) -> Iterator[str]:
    """What a run is going to do, in lines: data, steps, network, devices, the recipe, and what looks doubtful.

    Args:
      trainer: about to run.
      settings: in force, with their origins.
    """
    config, manifest = trainer.config, trainer.manifest
    train, val = manifest.splits["train"].records, manifest.splits["val"].records
    sizes = {name: math.prod(variable.shape) for name, variable in trainer.step.variables.items()}
    trained = sum(sizes[name] for name in trainer.trained())
    frozen = f", {trained:,} of them trained" if trained < sum(sizes.values()) else ""
    towers, workers = trainer.step.towers, trainer.workers.share.of
    yield (
        f"data: {config.data.dir}, {_count(manifest.num_classes, 'class', 'classes')}, "
        f"{_count(train, 'training picture')}, {_count(val, 'validation picture')}"
    )
    yield (
        f"steps: {trainer.last_step:,} of {_count(config.data.batch_size, 'picture')}, "
        f"{trainer.last_step * config.data.batch_size / train:.4g} epochs of {train / config.data.batch_size:.4g} steps"
    )
    yield f"network: {config.model.preset}, {sum(sizes.values()):,} parameters{frozen}"
    yield f"devices: tower a on {_device(towers.a)}, tower b on {_device(towers.b)}" + (
        f"; {workers} workers, {config.data.batch_size // workers} pictures of a step each" if workers > 1 else ""
    )
    yield "settings by where they come from (alexnet-tf train --show-config tells their meaning):"
    yield from (f"  {line}".replace("\n", "\n  ") for line in by_origin(settings))
    yield from doubts(config, manifest)


def doubts(config: Config, manifest: Manifest) -> Iterator[str]:
    """Warnings about probable mistakes, before the first step."""
    train, val = (manifest.splits[name].records for name in ("train", "val"))
    batch = config.data.batch_size
    if batch > train:
        fitting = max(1, 2 ** int(math.log2(max(train / 8, 1))))
        yield (
            f"warning: data.batch_size is {batch}, and there are {_count(train, 'training picture')}: a step goes over "
            f"the data more than once; try data.batch_size={fitting}"
        )
    if val < FEW:
        yield (
            f"warning: {_count(val, 'validation picture')}: each of them is {1 / max(val, 1):.1%} of the error, so "
            "that chance and ties decide which checkpoint is the best (of equal ones it is the later); take "
            f"{FEW} or more"
        )


def is_judged(before: int, epoch: int) -> bool:
    """Whether the error after a step is to be looked at that ends an epoch, given the epochs done before and after it.

    After the third one and every tenth; a step on a batch larger than the data ends several at once.
    """
    return before < FIRST_JUDGED <= epoch or before // JUDGED_AGAIN < epoch // JUDGED_AGAIN


def chance_advice(epoch: int, top1_error: float, best: float | None, validation: Split, preset: str) -> str | None:
    """A warning where the validation error after some epochs is still that of guessing.

    Args:
      epoch: how many are done.
      top1_error: of the validation after them, 0 to 1.
      best: the lowest up to now, this one included.
      validation: the split that was validated.
      preset: the name of the run's.
    """
    counts = [count for count in validation.class_counts if count]
    pictures = validation.records
    guessing = 1 - max(counts) / pictures  # always naming the most frequent class
    doubt = math.sqrt(guessing * (1 - guessing) / pictures)  # standard deviation of a guesser's error
    if len(counts) < 2 or (top1_error if best is None else best) < guessing - 2 * doubt:
        return None
    return (
        f"warning: after {epoch} epochs the validation error is {top1_error:.1%}, and always naming the most frequent "
        f"of {len(counts)} classes gives {guessing:.1%}: nothing that helps is learned yet. Try "
        f"{other_preset(preset)}another train.learning_rate (a tenth, or ten times), a smaller data.batch_size or more "
        "pictures; few pictures need the weights of another run, train.init_from"
    )


def class_weights(counts: Iterable[int]) -> np.ndarray:
    """The weight of a picture of each class in the loss with which all classes weigh the same: float32 (classes,).

    Args:
      counts: training pictures of each class.

    Returns:
      pictures / (classes with pictures * pictures of the class), so that the mean over all pictures is 1; 0 for a
      class without any.
    """
    numbers = np.array(list(counts), np.float64)
    there = numbers > 0
    weights = np.zeros_like(numbers)
    weights[there] = numbers.sum() / (there.sum() * numbers[there])
    return weights.astype(np.float32)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _device(name: str | None) -> str:
    return (name or "any").removeprefix("/device:")
