"""How much of a training's time saving may take. No TensorFlow here."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

CHEAP_SECONDS = 0.5
"""A save that takes no longer is always affordable."""


class SavingBudget:
    """Keeps the time of saves at the ends of epochs within a share of all.

    Args:
      share: of the time from now on.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._began = time.monotonic()
        self._spent = self._latest = 0.0

    @contextmanager
    def spending(self) -> Iterator[None]:
        """A context that saves."""
        begin = time.monotonic()
        yield
        self._latest = time.monotonic() - begin
        self._spent += self._latest

    def is_affordable(self) -> bool:
        """Whether one more save keeps to the share; the first one does, for nobody knows its cost."""
        if self._latest <= CHEAP_SECONDS:
            return True
        return self._spent + self._latest <= self._share * (time.monotonic() - self._began)
