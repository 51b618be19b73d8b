"""Cases of a parametrized test that `make test` leaves out, beside one that it runs."""

import pytest


def slow(*cases: object) -> list:
    """Each of them as a case of its own, marked slow."""
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]
