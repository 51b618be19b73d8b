"""stdout and stderr that outlive their reader: a closed terminal, `| head`, a full disk behind `> log`.

For commands whose work is not what they print. With Python's own streams a training ends, hours in and before its next
save, because a line could not be printed.
"""

import contextlib
import io
import os
import select
import sys
from typing import Any

PATIENCE_SECONDS = 1.0
"""For a stream that another program has set not to wait."""


def outlive_readers() -> None:
    """Replaces stdout and stderr by streams that drop lines which nobody reads any more, and say so once, on stderr.

    Streams that a caller has set, such as a test or a notebook, stay.
    """
    for name in ("stderr", "stdout"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue
        with contextlib.suppress(OSError):
            stream.flush()
        raw = _DroppingWriter(stream.fileno(), name)
        lasting = io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=True, write_through=True)
        setattr(sys, name, lasting)


def lines_dropped() -> bool:
    """Whether stdout, after `outlive_readers`, has dropped some of what was printed."""
    return isinstance(sys.stdout, io.TextIOWrapper) and getattr(sys.stdout.buffer, "dropped", False)


def take_any_letter() -> None:
    """Makes stdout and stderr write letters that their encoding lacks as escapes; class names may hold any letter."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end_stdout(earlier: OSError | None = None) -> OSError | None:
    """Flushes stdout, and returns why that is impossible, if so; Python's own attempt at its end stays silent then.

    Args:
      earlier: a fault that may have been stdout's, which is only known for sure where it keeps what it could not write.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        if earlier and sys.stdout is sys.__stdout__ and getattr(sys.stdout, "write_through", False):
            raise earlier
    except OSError as fault:
        if sys.stdout is sys.__stdout__:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return fault
    return None


def reader_left() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    stdout = sys.stdout
    if stdout is not sys.__stdout__ or stdout is None:
        return False
    poll = select.poll()
    poll.register(stdout.fileno(), 0)
    return bool(poll.poll(0))


class _DroppingWriter(io.RawIOBase):
    """Writes to a file's number as long as that takes anything."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__()
        self.number = number
        self.name = name
        self.dropped = False

    def fileno(self) -> int:
        """The file descriptor."""
        return self.number

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self.number)

    def writable(self) -> bool:
        """Always True."""
        return True

    def write(self, data: Any) -> int:
        """Writes all, or drops the rest; never fails."""
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            try:
                left = left[os.write(self.number, left) :]
            except BlockingIOError:
                if not select.select([], [self.number], [], PATIENCE_SECONDS)[1]:
                    break
            except OSError as fault:
                self._tell(fault)
                break
        return size

    def _tell(self, fault: OSError) -> None:
        if self.name == "stdout" and not self.dropped:
            self.dropped = True
            print(
                f"stdout cannot be written ({fault.strerror}): its lines are dropped, the work continues",
                file=sys.stderr,
            )
