"""What the main thread of this process last got done, so that the watch can tell a thread that stands still from work.

The watch beats in a thread of its own and would go on for ever beside a main thread that waits for a dead disk. No
TensorFlow here.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

OWN_TRAFFIC = Path("/proc/self/io")
BUSY_SHARE = 0.05
"""Of one core: what loading, compiling and reading take more of, and a mere waiting less."""
BUSY_BYTES = 1 << 16
"""The same, read or written from one look to the next."""


class Report(NamedTuple):
    """A main thread as seen at one moment."""

    still: float
    """Seconds since it last got something done, or was seen busy."""
    unmarked: float
    """Seconds since it last got something done."""
    waiting: bool
    """Whether it is in an operation that all workers do together."""
    last: str
    """What it got done last."""

    @staticmethod
    def of(sent: Any) -> "Report":
        """That of another worker, as JSON has brought it.

        Raises:
          ValueError: it is something else.
        """
        match sent:
            case [int() | float() as still, int() | float() as unmarked, bool(waiting), str(last)]:
                return Report(still, unmarked, waiting, last)
        raise ValueError(f"a worker's beat holds {str(sent)[:80]}")


class Pulse:
    """One process's. Its main thread marks what is done; its watch looks, once a beat."""

    def __init__(self) -> None:
        self.place = self.last = "the start"
        self.marked = self.busy = self.looked = time.monotonic()
        self.waiting = self.steady = False
        self.processor, self.moved = 0.0, 0
        self.save = threading.Lock()
        """Held while a checkpoint is being written: nothing may end the process meanwhile."""

    def reach(self, place: str) -> None:
        """A step is done, or what comes before the first."""
        self.place = self.last = place
        self.marked = time.monotonic()

    def mark(self, what: str) -> None:
        """Something between two steps is done: a batch of validation, a part of a save."""
        self.last = f"{what} after {self.place}"
        self.marked = time.monotonic()

    @contextlib.contextmanager
    def together(self, compiled: bool = True) -> Iterator[None]:
        """Around an operation that all workers do together.

        Args:
          compiled: it waits for the others and does little else, however busy it looks, as NCCL does; False: it may be
            compiling, which takes any time.
        """
        self.waiting, self.steady = True, compiled
        try:
            yield
        finally:
            self.waiting = self.steady = False

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Around the writing of a checkpoint."""
        with self.save:
            self.mark("the begin of a checkpoint")
            yield
            self.mark("a checkpoint")

    def update(self, n: int = 1) -> None:
        """As a progress bar is told of `n` more images."""
        self.mark("a batch of validation")

    def close(self) -> None:
        """As a progress bar is closed."""

    def look(self) -> Report:
        """Looks at what the process has used since the last look."""
        now, processor, moved = time.monotonic(), time.process_time(), _moved()
        share = (processor - self.processor) / max(now - self.looked, 1e-3)
        if not self.steady and (share > BUSY_SHARE or moved - self.moved > BUSY_BYTES):
            self.busy = now
        self.looked, self.processor, self.moved = now, processor, moved
        return Report(now - max(self.marked, self.busy), now - self.marked, self.waiting, self.last)


def _moved() -> int:
    """Bytes that this process has read and written in files so far."""
    with contextlib.suppress(OSError):
        return sum(int(line.split()[1]) for line in OWN_TRAFFIC.read_text().splitlines()[:2])  # rchar, wchar
    return 0


PULSE = Pulse()
"""This process's own."""
