"""Progress for people: a bar on a terminal, a line now and then where there is none (nohup, Slurm, a notebook)."""

import contextlib
import sys
import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

MOST_SECONDS = 30.0
"""Longest time from one line to the next, as long as anything gets done."""
LEAST_SECONDS = 1.0
"""Shortest time from one line to the next, however soon one percent is done."""


class Lines:
    """Reports progress on stderr: after each percent and every half minute, whichever comes first.

    Args:
      total: how many there are.
      initial: how many of them were done before.
      unit: what they are called.
      desc: the text before the numbers.
      by_percent: False: only every half minute.
      now: the clock, in seconds.
    """

    def __init__(
        self, total: int, initial: int = 0, unit: str = "img", desc: str = "",
        by_percent: bool = True, now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.total = total
        self.unit = unit
        self.desc = desc
        self.by_percent = by_percent
        self.now = now
        self.done = self.reported = self.first = initial
        self.begun: float | None = None
        """When the first were done: what comes before, such as compiling, says nothing of the rate."""
        self.reported_at = now()

    def update(self, n: int = 1) -> None:
        """Counts `n` more."""
        self.done += n
        now = self.now()
        if self.begun is None:
            self.begun, self.first = now, self.done
        waited = now - self.reported_at
        percent = self.by_percent and self.done * 100 // max(self.total, 1) > self.reported * 100 // max(self.total, 1)
        if waited >= MOST_SECONDS or (percent and waited >= LEAST_SECONDS):
            self._tell(now)

    def set_description(self, desc: str, refresh: bool = True) -> None:
        """Sets the text before the numbers, from the next line on."""
        self.desc = desc

    def close(self) -> None:
        """Reports the end, unless that is done already."""
        if self.done > self.reported:
            self._tell(self.now())

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self, now: float) -> None:
        self.reported, self.reported_at = self.done, now
        rate = (self.done - self.first) / max(now - (self.begun or now), 1e-9)
        parts = [f"{self.done:,} of {self.total:,} {self.unit} ({self.done / max(self.total, 1):.0%})"]
        if self.done > self.first:
            parts.append(f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.2g} {self.unit}/s")
            parts.append(f"{in_words((self.total - self.done) / rate)} left")
        with contextlib.suppress(OSError, ValueError):  # the reader has gone, and the work goes on
            print(f"{self.desc}: {', '.join(parts)}" if self.desc else ", ".join(parts), file=sys.stderr)


def progress_bar(total: int, initial: int = 0, desc: str = "", unit: str = "img") -> "tqdm | Lines":
    """A bar on a terminal, lines elsewhere; either is closed at the end, or used as a context manager."""
    if on_terminal():
        return tqdm(total=total, initial=initial, unit=unit, desc=desc or None, dynamic_ncols=True)
    return Lines(total, initial, unit, desc)


def on_terminal() -> bool:
    """Whether stderr is a terminal; a process may have none at all."""
    return sys.stderr is not None and sys.stderr.isatty()


def in_words(seconds: float) -> str:
    """A duration as people say it: 40 s, 12 min, 3 h 5 min, 2 days 4 h."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    if minutes < 2:
        return f"{60 * minutes + rest} s"
    hours, minutes = divmod(minutes + (rest >= 30), 60)
    if not hours:
        return f"{minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if days > 1 else f"{24 * days + hours} h {minutes} min"
