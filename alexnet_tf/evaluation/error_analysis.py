"""Which classes a network confuses, how far its probabilities can be trusted, and how sure an error rate is.

All from probabilities and labels, as `evaluation.probabilities.class_probabilities` gives them.
"""

from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
"""The normal distribution has 95 % of its mass within so many standard deviations."""


def wilson_interval(hits: float, trials: float) -> tuple[float, float]:
    """The 95 % score interval of a share: Wilson, J. Am. Stat. Assoc. 22 (1927); (0, 1) of no trials.

    Unlike the share plus or minus two standard deviations it stays within 0 and 1, and holds for few trials and for
    rare events.
    """
    if not trials:
        return 0.0, 1.0
    share, z = hits / trials, Z_95
    middle = share + z * z / (2 * trials)
    reach = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return max(0.0, float(low)), min(1.0, float(high))


def guesses(probabilities: np.ndarray) -> np.ndarray:
    """The most probable class of each image; of equal ones the lower index: (images, classes) to int64 (images,)."""
    return probabilities.argmax(axis=1)


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many images of each class (row) were taken for which class (column): int64 (classes, classes)."""
    classes = probabilities.shape[1]
    places = labels * classes + guesses(probabilities)
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes)


def most_confused(confusion: np.ndarray, most: int) -> np.ndarray:
    """The labels of the classes in the most frequent confusions, at most so many, ascending.

    Pairs are taken from the most frequent on; a pair counts both ways. Where there are too few of them, the first other
    classes fill up.
    """
    both_ways = np.triu(confusion + confusion.T, 1)
    order = np.argsort(-both_ways, axis=None, kind="stable")
    chosen: dict[int, None] = {}
    for pair in order[: most * most]:
        if not both_ways.flat[pair]:
            break
        chosen |= dict.fromkeys(int(label) for label in np.unravel_index(pair, confusion.shape))
        if len(chosen) >= most:
            break
    fill = (label for label in range(len(confusion)) if label not in chosen)
    return np.sort([*chosen, *fill][:most])


@dataclass(frozen=True)
class ClassError:
    """How one class fares."""

    label: int
    images: int
    wrong: int
    """At top-1."""
    interval: tuple[float, float]
    """Of the error, from 0 to 1, by `wilson_interval`."""
    taken_for: int | None
    """The label that its wrong images were given most often; None where none was wrong."""
    taken_for_images: int

    @property
    def error(self) -> float:
        """Top-1 error, from 0 to 1."""
        return self.wrong / self.images


def class_errors(confusion: np.ndarray) -> list[ClassError]:
    """Those of every class that has images, by label."""
    found = []
    for label, row in enumerate(confusion):
        images, others = int(row.sum()), row.copy()
        others[label] = 0
        if images:
            wrong, worst = int(others.sum()), int(others.argmax())
            found.append(
                ClassError(
                    label, images, wrong, wilson_interval(wrong, images), worst if wrong else None, int(others[worst])
                )
            )
    return found


@dataclass(frozen=True)
class Calibration:
    """How often the network is right when it is so sure: by bins of the probability of its guess."""

    edges: np.ndarray
    """(bins + 1,), from 0 to 1; a bin holds its upper edge, and the first one 0 as well."""
    images: np.ndarray
    """int64 (bins,)."""
    right: np.ndarray
    """int64 (bins,), images whose guess was right."""
    confidence: np.ndarray
    """(bins,), the mean probability of the guess; not a number in an empty bin."""

    @property
    def accuracy(self) -> np.ndarray:
        """(bins,), the share that is right; not a number in an empty bin."""
        with np.errstate(invalid="ignore"):
            return self.right / self.images

    @property
    def expected_error(self) -> float:
        """The expected calibration error: the mean over images of |accuracy - confidence| of their bin."""
        filled = self.images > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float((gaps * self.images[filled]).sum() / self.images.sum())


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> Calibration:
    """The calibration of the guesses, in bins of equal width: Guo et al., arXiv 1706.04599, section 2."""
    sure = probabilities.max(axis=1)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    right = np.bincount(place[guesses(probabilities) == labels], minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, weights=sure, minlength=bins) / images
    return Calibration(edges, images, right, confidence)


def confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """The images that were guessed wrong with the highest probabilities, the surest first; at most so many."""
    wrong = np.flatnonzero(guesses(probabilities) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:most]
