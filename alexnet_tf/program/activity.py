"""What the main thread of this process did last, so that the watch can tell a stalled thread from a working one.

The watch sends heartbeats from a thread of its own, and would go on forever beside a main thread that waits for a dead
disk. No TensorFlow here.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

OWN_TRAFFIC = Path("/proc/self/io")
BUSY_SHARE = 0.05
"""Share of one core: loading, compiling and reading use more, waiting uses less."""
BUSY_BYTES = 1 << 16
"""The same in bytes that are read or written from one look to the next."""


class Report(NamedTuple):
    """The state of a main thread at one moment."""

    still: float
    """Seconds since it last finished something or was seen busy."""
    unmarked: float
    """Seconds since it last finished something."""
    waiting: bool
    """Whether it is in an operation that all workers do together."""
    last: str
    """What it finished last."""

    @staticmethod
    def of(sent: Any) -> "Report":
        """The report of another worker, from its JSON.

        Raises:
          ValueError: it is no report.
        """
        match sent:
            case [int() | float() as still, int() | float() as unmarked, bool(waiting), str(last)]:
                return Report(still, unmarked, waiting, last)
        raise ValueError(f"a worker's heartbeat holds {str(sent)[:80]}")


class Activity:
    """The activity of one process. Its main thread marks what is done; its watch looks, once a heartbeat."""

    def __init__(self) -> None:
        self.place = self.last = "the start"
        self.marked = self.busy = self.looked = time.monotonic()
        self.waiting = self.steady = False
        self.processor, self.moved = 0.0, 0
        self.save = threading.Lock()
        """Held while a checkpoint is being written: nothing may end the process meanwhile."""

    def reach(self, place: str) -> None:
        """Marks that a step is done, or what comes before the first one."""
        self.place = self.last = place
        self.marked = time.monotonic()

    def mark(self, what: str) -> None:
        """Marks that something between two steps is done: a batch of validation, a part of a save."""
        self.last = f"{what} after {self.place}"
        self.marked = time.monotonic()

    @contextlib.contextmanager
    def together(self, compiled: bool = True) -> Iterator[None]:
        """A context for an operation that all workers do together.

        Args:
          compiled: whether the operation only waits for the others, however busy it looks, as NCCL does; False: it may
            still be compiling, which takes any time.
        """
        self.waiting, self.steady = True, compiled
        try:
            yield
        finally:
            self.waiting = self.steady = False

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """A context for the writing of a checkpoint."""
        with self.save:
            self.mark("the begin of a checkpoint")
            yield
            self.mark("a checkpoint")

    def update(self, n: int = 1) -> None:
        """Counts `n` more images, as a progress bar does."""
        self.mark("a batch of validation")

    def close(self) -> None:
        """Does nothing; a progress bar has this method."""

    def look(self) -> Report:
        """The report on this process, from what it has used since the last look."""
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


ACTIVITY = Activity()
"""The activity of this process."""
