"""The signals that ask a command to stop: SIGTERM, SIGINT, and SIGHUP of a closed terminal; and when they are heard."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
AT_ONCE_SECONDS = 3.0
"""After a first signal; another one within them says the same once more, and would only disturb the cleaning up."""


class Interrupted(KeyboardInterrupt):
    """By one of the signals.

    Python ends a process as if it were killed where a KeyboardInterrupt itself has once passed code that an extension
    module runs, as some do while they are imported, even if it was caught afterwards.
    """


Handler = Callable[[int, FrameType | None], Any]
_last = -math.inf
"""When one was heard, by the clock of `time.monotonic`."""


def heard() -> list[signal.Signals]:
    """Those that this process hears: SIGHUP stays ignored where it is, as nohup has it."""
    return [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]


@contextlib.contextmanager
def answered(handler: Handler) -> Iterator[None]:
    """Has the signals call a handler meanwhile."""

    def answer(number: int, frame: FrameType | None) -> Any:
        global _last
        _last = time.monotonic()
        return handler(number, frame)

    before = {number: signal.signal(number, answer) for number in heard()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier or signal.SIG_DFL)


def interrupt_once() -> None:
    """From now on a signal ends the work as Ctrl-C does, by Interrupted."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        global _last
        earlier, _last = _last, time.monotonic()
        if _last - earlier > AT_ONCE_SECONDS:
            raise Interrupted

    for number in heard():
        if signal.getsignal(number) != signal.SIG_IGN:  # a shell has its background jobs ignore SIGINT
            signal.signal(number, interrupt)


def hear_no_more() -> None:
    """From now on no signal disturbs the end of this process, whose status is decided."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
