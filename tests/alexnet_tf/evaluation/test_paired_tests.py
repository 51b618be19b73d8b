"""McNemar's exact test and the interval of a difference, against numbers worked out by hand."""

from math import comb, sqrt

import numpy as np
import pytest

from alexnet_tf.evaluation.paired_tests import Paired, paired, same_pictures


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [
        (0, 0, 1.0),  # nothing to tell them apart by
        (1, 0, 1.0),  # 2 * 1/2
        (0, 5, 2 / 32),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (6, 6, 1.0),
        (59, 6, 2 * sum(comb(65, k) for k in range(7)) / 2**65),
    ],
)
def test_exact_test_counts_the_ways_that_are_no_likelier(first: int, second: int, p_value: float) -> None:
    assert Paired(1000, first, second).p_value == pytest.approx(p_value)
    assert Paired(1000, second, first).p_value == pytest.approx(p_value)


def test_difference_and_its_interval() -> None:
    found = Paired(98, 4, 14)  # Bonett and Price: (4 + 1) / 100 and (14 + 1) / 100
    reach = 1.959963984540054 * sqrt((0.05 + 0.15 - 0.1**2) / 100)
    assert found.difference == pytest.approx(10 / 98)
    assert found.interval == pytest.approx((0.1 - reach, 0.1 + reach))
    low, high = Paired(50, 0, 0).interval
    assert low == pytest.approx(-high) and 0.03 < high < 0.2  # not nothing, though nothing differs


def test_only_pictures_that_one_alone_gets_wrong_are_counted() -> None:
    first = np.array([True, True, False, False, True])
    second = np.array([True, False, True, False, False])
    assert paired(first, second) == Paired(5, only_first_wrong=2, only_second_wrong=1)


def test_the_same_pictures_are_found_by_class_and_name_in_whatever_order() -> None:
    first = [("ant", b"1"), ("ant", b"2"), ("bee", b"1")]
    places = same_pictures(first, [first[2], first[0], first[1]])
    assert places is not None and places.tolist() == [1, 2, 0]
    assert same_pictures(first, first[:2]) is None
    assert same_pictures(first, [*first[:2], ("bee", b"2")]) is None
    twice = [("ant", b"1"), ("ant", b"1"), ("bee", b"1")]  # names that say nothing, but in the same order
    in_order = same_pictures(twice, list(twice))
    assert in_order is not None and in_order.tolist() == [0, 1, 2]
    assert same_pictures(twice, twice[::-1]) is None and same_pictures(first, twice) is None
