"""How a command ends: exit statuses, and faults told in one line instead of a traceback."""

import io
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
    """The work was cut short by SIGINT or SIGTERM after its state was saved."""


class WorkerLost(Exception):
    """Another worker was lost; once all are started again, the work goes on from what was saved."""


def run_command(main: Callable[[list[str]], int]) -> None:
    """Runs a command's `main` on the command line's arguments and exits with its status.

    `--debug` anywhere on the line, or ALEXNET_DEBUG=1, lets a fault's traceback through.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        # A letter that the terminal does not know, in a file's or a class's name, must not end the work.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    debug = len(arguments) < len(sys.argv) - 1 or os.environ.get("ALEXNET_DEBUG") == "1"
    try:
        status = main(arguments)
    except (StoppedBySignal, WorkerLost) as stopped:
        print(stopped, file=sys.stderr)
        status = STOPPED_AFTER_SAVING
    except KeyboardInterrupt:
        print("interrupted; nothing was left half-written", file=sys.stderr)
        status = STOPPED_AFTER_SAVING
    except UserError as fault:
        if debug:
            raise
        print(f"error: {fault}", file=sys.stderr)
        status = FAULT
    except Exception as fault:
        if debug:
            raise
        first_line = (str(fault).strip().splitlines() or ["no message"])[0]
        print(
            f"error: {type(fault).__name__}: {first_line} (run again with --debug for the traceback)",
            file=sys.stderr,
        )
        status = FAULT
    sys.exit(status)
