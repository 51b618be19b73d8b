"""How a command ends: exit statuses, and faults told in one line instead of a traceback."""

import contextlib
import os
import sys
from collections.abc import Callable

DONE = 0
FAULT = 1
WRONG_USAGE = 2
STOPPED_AFTER_SAVING = 75  # EX_TEMPFAIL of sysexits.h: run the same command again to go on


class UserError(Exception):
    """A fault that the user can mend; its message is one line naming the file or field and what to do."""


class StoppedBySignal(Exception):
    """The work was cut short by SIGINT, SIGTERM or SIGHUP after its state was saved."""


class WorkerLost(Exception):
    """Another worker was lost; once all are started again, the work goes on from what was saved."""


def run_command(main: Callable[[list[str]], int]) -> None:
    """Runs a command's `main` on the command line's arguments and exits with its status.

    `--debug` anywhere on the line, or ALEXNET_DEBUG=1, lets a fault's traceback through.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1 or os.environ.get("ALEXNET_DEBUG") == "1"
    try:
        status = main(arguments)
    except (StoppedBySignal, WorkerLost) as stopped:
        _tell(str(stopped))
        status = STOPPED_AFTER_SAVING
    except KeyboardInterrupt:
        _tell("interrupted; nothing was left half-written")
        status = STOPPED_AFTER_SAVING
    except UserError as fault:
        if debug:
            raise
        _tell(f"error: {fault}")
        status = FAULT
    except Exception as fault:
        if debug:
            raise
        first_line = (str(fault).strip().splitlines() or ["no message"])[0]
        _tell(f"error: {type(fault).__name__}: {first_line} (run again with --debug for the traceback)")
        status = FAULT
    sys.exit(_after_output(status))


def _tell(line: str) -> None:
    """On stderr; that nobody can read it, as after a terminal was closed, changes no exit status."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _after_output(status: int) -> int:
    """The exit status once the output is written, or is known not to be."""
    try:
        sys.stdout.flush()
        return status
    except OSError as fault:
        # What is left in the buffer would be tried once more at the end, and give Python's own status.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(fault, BrokenPipeError) or status != DONE:  # whoever read it has seen enough
            return status
        _tell(f"error: the output cannot be written: {fault.strerror}")
        return FAULT
