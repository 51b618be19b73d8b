"""Types for the numbers on a command line: each refusal says what is wanted."""

import argparse
from collections.abc import Callable

import pytest

from alexnet_tf.program.arguments import fraction, not_negative_number, positive_number, whole_number


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (whole_number(1), {"1": 1, "99": 99}, {"0": "at least 1", "1.5": "a whole number", "": "a whole number"}),
        (whole_number(8, 20), {"8": 8, "20": 20}, {"7": "from 8 to 20", "21": "from 8 to 20"}),
        (positive_number, {"0.5": 0.5}, {"0": "above 0", "-1": "above 0", "nan": "finite", "x": "a number"}),
        (not_negative_number, {"0": 0.0, "2": 2.0}, {"-1": "from 0 on", "nan": "finite", "inf": "finite"}),
        (fraction, {"0.1": 0.1}, {"0": "between 0 and 1", "1": "between 0 and 1", "nan": "between", "x": "a number"}),
    ],
    ids=["whole", "whole within", "positive", "not negative", "fraction"],
)  # fmt: skip
def test_numbers(kind: Callable[[str], float], taken: dict[str, float], refused: dict[str, str]) -> None:
    assert {text: kind(text) for text in taken} == taken
    for text, wanted in refused.items():
        with pytest.raises(argparse.ArgumentTypeError, match=r"^must be .*not ") as fault:
            kind(text)
        assert wanted in str(fault.value)
