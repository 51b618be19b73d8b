"""Whether two networks differ by more than chance, from what each gets wrong of the same pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from alexnet_tf.evaluation.error_analysis import Z_95

PictureKey = tuple[str, bytes]
"""A picture by its class's key and its file's name."""


@dataclass(frozen=True)
class Paired:
    """Two networks on the same pictures."""

    images: int
    only_first_wrong: int
    """Pictures that the first gets wrong and the second right."""
    only_second_wrong: int

    @property
    def difference(self) -> float:
        """The second's error less the first's, from -1 to 1."""
        return (self.only_second_wrong - self.only_first_wrong) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference: Bonett and Price, J. Educ. Behav. Stat. 37 (2012), equation 2.

        A picture more in either count keeps it from shrinking to nothing where there are few.
        """
        first, second = ((count + 1) / (self.images + 2) for count in (self.only_first_wrong, self.only_second_wrong))
        middle = second - first
        reach = Z_95 * float(np.sqrt((first + second - middle**2) / (self.images + 2)))
        return max(-1.0, middle - reach), min(1.0, middle + reach)

    @property
    def p_value(self) -> float:
        """McNemar's exact test, two-sided: how likely equally good networks are to differ so much or more.

        Of the pictures that one alone gets wrong, each has half of them but for chance: McNemar, Psychometrika 12
        (1947), with the binomial distribution in place of its approximation. 1 where there are none.
        """
        either = self.only_first_wrong + self.only_second_wrong
        return float(binomtest(self.only_first_wrong, either, 0.5).pvalue) if either else 1.0


def paired(first_wrong: np.ndarray, second_wrong: np.ndarray) -> Paired:
    """From what each gets wrong, bool (images,), picture by picture in the same order."""
    return Paired(len(first_wrong), int((first_wrong & ~second_wrong).sum()), int((second_wrong & ~first_wrong).sum()))


def same_pictures(first: Sequence[PictureKey], second: Sequence[PictureKey]) -> np.ndarray | None:
    """For each of the first pictures its place among the second; None where these are not the same pictures.

    In the same order they may have names that are not theirs alone.
    """
    if list(first) == list(second):
        return np.arange(len(first))
    places = {picture: place for place, picture in enumerate(second)}
    if len(places) < len(second) or len(first) != len(second) or set(first) != set(places):
        return None
    return np.array([places[picture] for picture in first])
