"""Comparisons of floats.

A bound is a number of roundings of the largest magnitude that is compared. It holds in whatever order a processor takes
its sums: the number follows from what is computed, and the size of a rounding from the type.
"""

import numpy as np
import numpy.typing as npt

ELEMENTWISE = 16
"""Roundings between two ways through a few operations, each entry by itself: a handful."""
ONE_LAYER = 256
"""Between two orders of one layer's sums: of K terms about the root of K, 96 for the 9216 of fc6, and some to spare."""
WHOLE_NETWORK = 1024
"""Between two programs for eight layers and a softmax, or between two sizes of a batch: each layer passes on what those
before it were off. Seen: up to 40."""


def assert_close(
    found: npt.ArrayLike,
    expected: npt.ArrayLike,
    roundings: float,
    dtype: type[np.floating] = np.float32,
    name: str = "",
) -> None:
    """No entry of `found` is further off than that many roundings of the largest magnitude expected.

    Args:
      found: of the shape of `expected`.
      expected: at least one number.
      roundings: how many, mostly one of the constants here.
      dtype: the coarsest type that either side was computed in.
      name: what is compared, for the message.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, f"{name}: shapes {found.shape} and {expected.shape}"
    off, rounding = np.abs(found - expected).max(), np.finfo(dtype).eps * np.abs(expected).max()
    assert off <= roundings * rounding, (
        f"{name}: off by {off:.3g}, and {roundings:g} roundings of the largest entry are {roundings * rounding:.3g}"
    )
