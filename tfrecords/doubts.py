"""What is probably a mistake in the pictures to convert: told, and converted nevertheless. No TensorFlow here."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tfrecords.sources import Item, printable

SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}
"""What folders of whole splits are called."""
NEARLY_ALL = 0.9
"""Share of the pictures that makes few classes' weight suspicious."""
FEW = 3
"""One class of so many counts as few of them."""
TOLD = 5
"""Pictures and groups of them that are named; report.json has all."""

Digests = npt.NDArray[np.uint64]
"""Of pictures as they are stored: the same number, the same picture. 0 where there is none."""


def class_doubts(class_keys: Sequence[str], counts: Sequence[int]) -> Iterator[str]:
    """What looks wrong about the classes.

    Args:
      class_keys: in label order.
      counts: training pictures of each class.
    """
    if len(class_keys) == 1:
        yield (
            f"warning: there is one class alone, {class_keys[0]}, so there is nothing to tell apart; of folders, "
            "--train must hold one for each class: is it one level too low or too high?"
        )
    elif {key.lower() for key in class_keys} <= SPLIT_NAMES:
        first, second = _first_like(class_keys, "tr"), _first_like(class_keys, "v", "te")
        yield (
            f"warning: the classes are called {' and '.join(class_keys)}: is --train one level too high? Then give "
            f"--train .../{first} and --val .../{second}, each with a folder for each class"
        )
    else:
        yield from _uneven(class_keys, counts)


def loose_doubts(folder: Path, loose: Sequence[str]) -> Iterator[str]:
    """What looks wrong about pictures that lie beside the class folders.

    Args:
      folder: that holds them.
      loose: their names.
    """
    if loose:
        named = ", ".join(map(printable, loose[:TOLD])) + ", ..." * (len(loose) > TOLD)
        yield (
            f"warning: {folder} holds {len(loose)} picture{'s' * (len(loose) > 1)} beside its class folders ({named}), "
            "which belong to no class and are left out: put each into the folder of its class"
        )


def _first_like(keys: Sequence[str], *beginnings: str) -> str:
    return next((key for key in keys if key.lower().startswith(beginnings)), keys[-1])


def _uneven(class_keys: Sequence[str], counts: Sequence[int]) -> Iterator[str]:
    total, largest, held = sum(counts), [], 0
    for label in sorted(range(len(counts)), key=lambda label: -counts[label]):
        largest.append(label)
        held += counts[label]
        if held >= NEARLY_ALL * total:
            break
    if len(largest) <= max(1, len(counts) // FEW):
        named = ", ".join(class_keys[label] for label in largest[:TOLD]) + ", ..." * (len(largest) > TOLD)
        yield (
            f"warning: {len(largest)} of {len(counts)} classes ({named}) {'has' if len(largest) == 1 else 'have'} "
            f"{held / total:.0%} of the training pictures, so that a network may learn to name nothing else: take more "
            "of the others or fewer of these, or train with train.class_weights=balanced"
        )


def same_under_two_labels(digests: Digests, labels: npt.NDArray[np.int64]) -> list[list[int]]:
    """Places of pictures that are the same and have different labels, a list for each such picture.

    Args:
      digests: (N,).
      labels: (N,), of the same pictures.
    """
    order = np.argsort(digests, kind="stable")
    in_order = digests[order]
    equal = np.flatnonzero((in_order[1:] == in_order[:-1]) & (in_order[1:] != 0))
    places = np.unique(np.concatenate([equal, equal + 1]))
    groups = groupby(order[places].tolist(), key=lambda place: int(digests[place]))
    found = [list(group) for _, group in groups]
    return sorted(group for group in found if len({int(labels[place]) for place in group}) > 1)


def pictures_under_two_labels(parts: Sequence[tuple[str, Sequence[Item], Digests]]) -> list[list[str]]:
    """Names of pictures that are the same and have different labels, each with its split before it.

    Args:
      parts: split, pictures and their digests.
    """
    starts = np.cumsum([0, *(len(items) for _, items, _ in parts)])
    digests = np.concatenate([np.zeros(0, np.uint64), *(digests for *_, digests in parts)])
    labels = np.fromiter((item.label for _, items, _ in parts for item in items), np.int64, len(digests))

    def name(place: int) -> str:
        part = int(np.searchsorted(starts, place, side="right")) - 1
        split, items, _ = parts[part]
        return f"{split} {items[place - starts[part]].where}"

    return [list(map(name, group)) for group in same_under_two_labels(digests, labels)]


def two_label_doubts(groups: Sequence[Sequence[str]]) -> Iterator[str]:
    """What is said of the answer of `pictures_under_two_labels`."""
    for group in groups[:TOLD]:
        named = ", ".join(group[:TOLD]) + f" and {len(group) - TOLD} more" * (len(group) > TOLD)
        yield f"warning: the same picture under different labels: {named}; remove what is labeled wrongly"
    if len(groups) > TOLD:
        yield f"warning: {len(groups) - TOLD} more pictures are under different labels; report.json lists all"
