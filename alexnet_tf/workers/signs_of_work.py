"""Whether a process works or waits for a disk, as seen from outside in Linux' /proc. No TensorFlow here."""

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
LOOK_SECONDS = 1.0
"""Between two looks."""
TICKS, BYTES = 5, 1 << 16
"""From one look to the next, more hundredths of a second on the processor, or more bytes, than waiting takes."""


class _Seen(NamedTuple):
    ticks: int
    moved: int
    states: str
    """A letter for each process or thread: R runs, D waits for a disk, S sleeps, T is stopped."""


class SignsOfWork:
    """Follows a session: a process that was started as the first of its own, and all that it starts.

    Args:
      session: that process.
    """

    def __init__(self, session: int) -> None:
        self.session = session
        self.last_sign = self.looked = time.monotonic()
        self.seen = self._look()

    def absent_for(self, seconds: float, frozen_seconds: float) -> bool:
        """Whether there was no sign of work for `seconds`; of a session stopped as a whole, `frozen_seconds`."""
        now = time.monotonic()
        if now - self.looked >= min(LOOK_SECONDS, seconds):
            seen, before = self._look(), self.seen
            self.looked, self.seen = now, seen
            if seen.ticks - before.ticks > TICKS or seen.moved - before.moved > BYTES or "D" in seen.states:
                self.last_sign = now
        frozen = set(self.seen.states) <= {"T", "t", "Z"}
        return now - self.last_sign > (min(frozen_seconds, seconds) if frozen else seconds)

    def _look(self) -> _Seen:
        ticks, moved, states = 0, 0, ""
        for process in PROC.glob("[0-9]*"):
            # It may be gone by now.
            with contextlib.suppress(OSError):
                stat = _fields(process / "stat")
                if int(stat[3]) != self.session:
                    continue
                ticks += int(stat[11]) + int(stat[12])
                states += "".join(_fields(thread / "stat")[0] for thread in process.glob("task/*"))
                moved += _moved(process)
        return _Seen(ticks, moved, states)


def _fields(stat: Path) -> list[str]:
    """What follows the name, which may hold anything: state, parent, group, session, and so on."""
    return stat.read_text(errors="replace").rpartition(")")[2].split()


def _moved(process: Path) -> int:
    """Bytes that it has read and written so far."""
    with contextlib.suppress(OSError):
        lines = (process / "io").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines[:2])  # rchar, wchar
    return 0
