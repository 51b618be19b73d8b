"""A limit on the time of a test, for faults that would make a command wait forever."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TookTooLong(BaseException):
    """No Exception: nothing between here and the test may catch it."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raises TookTooLong inside, in the main thread, once so many seconds are over."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
