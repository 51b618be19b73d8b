"""For programs that tests start and send signals to, `preexec_fn=hear_signals`; and for the tests' own process."""

import contextlib
import signal
from collections.abc import Iterator

from alexnet_tf.program.interrupts import SIGNALS


def hear_signals() -> None:
    """In a shell's background jobs SIGINT is ignored, under nohup SIGHUP; what is started here must hear them."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def signals_restored() -> Iterator[None]:
    """Around what ends a process of its own, where that is this one: its end hears no signals any more."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
