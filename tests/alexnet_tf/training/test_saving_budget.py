"""Saving keeps to its share of the time."""

import time

import pytest

from alexnet_tf.training.saving_budget import CHEAP_SECONDS, SavingBudget


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr(time, "monotonic", lambda: self.now)


@pytest.mark.parametrize(("cost", "epoch", "share"), [(1.5, 3.0, 0.05), (1.5, 100.0, 0.05), (2.0, 3.0, 0.5)])
def test_its_share_is_never_passed_but_by_the_first(
    cost: float, epoch: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    budget, saves = SavingBudget(share), 0
    for _ in range(400):
        clock.now += epoch
        if budget.is_affordable():
            with budget.spending():
                clock.now += cost
            saves += 1
            assert saves == 1 or saves * cost <= share * clock.now
    assert saves == pytest.approx(min(400, share * clock.now / cost), abs=1)


def test_a_cheap_save_is_always_made(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    budget = SavingBudget(0.0)
    for _ in range(9):
        assert budget.is_affordable()
        with budget.spending():
            clock.now += CHEAP_SECONDS
    with budget.spending():
        clock.now += 2 * CHEAP_SECONDS
    assert not budget.is_affordable()
