"""The signals that ask a command to stop, from its start to its end: SIGTERM, SIGINT, and SIGHUP of a closed terminal.

Set from the start on: to the first process of a container Linux delivers only signals that have a handler.
"""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

from alexnet_tf.program.errors import StoppedBySignal
from alexnet_tf.program.interrupts import answered


class StoppedAtOnce(StoppedBySignal):
    """Stopped before there was anything to save."""


class StopSignals:
    """A context that a signal ends: at once, or after `saving_first` when the code inside looks at `number`."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that has come."""
        self._at_once = False
        self._handlers: contextlib.AbstractContextManager[None] | None = None

    def __enter__(self) -> "StopSignals":
        self.number, self._at_once = None, True
        self._handlers = answered(self._on_signal)
        self._handlers.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        assert self._handlers is not None
        self._handlers.__exit__(None, None, None)
        self._handlers = None

    @contextlib.contextmanager
    def saving_first(self) -> Iterator[None]:
        """From here on there is something to save: the code inside looks at `number` and stops by itself.

        Raises:
          StoppedAtOnce: a signal has come already, and its exception was lost in some library's except clause.
        """
        with contextlib.nullcontext() if self._handlers else self:
            self._at_once = False
            if self.number is not None:
                raise self._stopped()
            yield

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        first, self.number = self.number is None, number
        if self._at_once and first:  # a second signal would only disturb the end that the first has begun
            raise self._stopped()

    def _stopped(self) -> StoppedAtOnce:
        assert self.number is not None
        name = signal.Signals(self.number).name
        return StoppedAtOnce(
            f"stopped by {name} before the first step; the same command starts again from where the run stands"
        )


STOP = StopSignals()
"""This process's own."""
