"""How the watch ends a worker: why, with which status, and not in the middle of a checkpoint. No TensorFlow here."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import NoReturn

from alexnet_tf import speak
from alexnet_tf.program.activity import ACTIVITY, Report
from alexnet_tf.program.errors import FAULT, STOPPED_AFTER_SAVING, UserError, WorkerLost
from alexnet_tf.settings.cluster import Cluster

AGAIN = "start all workers again to resume from the last checkpoint"
LONGEST_COMPILATION = 10
"""Multiple of distribute.stall_timeout after which even a busy process that gets nothing done counts as stalled."""


class Ended(Exception):
    """The work of all workers has ended: the line that says why, the exit status, and the worker that was lost."""

    def __init__(self, line: str, status: int, lost: int | None = None) -> None:
        super().__init__(line)
        self.line = line
        self.status = status
        self.lost = lost


def lost(index: int | None, line: str) -> Ended:
    """The end because of a lost worker, which does not answer any more; None: all answer."""
    return Ended(f"{line}; {AGAIN}", STOPPED_AFTER_SAVING, index)


@contextlib.contextmanager
def as_exception() -> Iterator[None]:
    """Turns `Ended` into an exception that `run_command` knows, for use in the main thread."""
    try:
        yield
    except Ended as end:
        if end.status == FAULT:
            raise UserError(end.line.removeprefix("error: ")) from end
        raise WorkerLost(end.line) from end


def check_activity(cluster: Cluster, reports: Mapping[int, Report], limit: float) -> None:
    """Checks that the main threads of all workers make progress.

    Args:
      cluster: all workers.
      reports: the latest of each worker, by its index.
      limit: seconds, distribute.stall_timeout.

    Raises:
      Ended: one has stalled, and is named; or all wait for each other.
    """
    still = {
        index: report.unmarked if report.unmarked > LONGEST_COMPILATION * limit else report.still
        for index, report in reports.items()
    }
    for index, report in reports.items():
        if still[index] > limit and not report.waiting:
            raise lost(
                None, f"{cluster.name(index)} was given up: it has done nothing for {still[index]:.0f} s since "
                f"{report.last} (distribute.stall_timeout)"
            )  # fmt: skip
    if len(reports) == cluster.size and min(still.values()) > limit:
        raise lost(
            None, f"all workers are there and have waited for each other for {min(still.values()):.0f} s since "
            f"{reports[0].last} (distribute.stall_timeout); see that each can reach the ports of all others"
        )  # fmt: skip


def end_process(end: Ended, longest_save: float) -> NoReturn:
    """Ends this process, whatever its main thread does: it may be waiting where no exception reaches it.

    A checkpoint that is being written is finished first, unless it stalls for `longest_save` seconds.
    """
    while not ACTIVITY.save.acquire(timeout=0.5):
        if ACTIVITY.look().still > longest_save:
            break
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        speak()  # the main thread may be loading TensorFlow
        print(end.line, file=sys.stderr, flush=True)
    os._exit(end.status)
