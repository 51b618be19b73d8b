"""How a command ends: exit statuses, and faults told in one line instead of a traceback."""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from types import TracebackType

from alexnet_tf.program.interrupts import hear_no_more, interrupt_once
from alexnet_tf.program.standard_streams import end_stdout, reader_left, take_any_letter

DONE = 0
FAULT = 1
WRONG_USAGE = 2
STOPPED_AFTER_SAVING = 75  # EX_TEMPFAIL of sysexits.h: run the same command again to resume
READER_LEFT = 128 + signal.SIGPIPE  # 141, as shells tell of a program whose reader, such as head, has read enough
EXTRAS = {"serve": ("grpc_health", "httpx", "prometheus_client", "starlette", "uvicorn")}
"""Packages that not every installation has, by the extra of pyproject.toml that brings them."""


class UserError(Exception):
    """A fault that the user can mend; its message is one line naming the file or field and what to do."""


class StoppedBySignal(Exception):
    """The work was cut short by SIGINT or SIGTERM after its state was saved."""


class WorkerLost(Exception):
    """Another worker was lost; once all are started again, the work continues from what was saved."""


def run_command(main: Callable[[list[str]], int]) -> None:
    """Runs a command's `main` on the command line's arguments and exits with its status.

    SIGTERM, and SIGHUP of a closed terminal, end it as Ctrl-C does, unless `main` answers them in its own way: what is
    half-written is removed. Once `main` has ended, no signal changes the status any more.
    `--debug` anywhere on the line, or ALEXNET_DEBUG=1, lets a fault's traceback through; what stands behind `--` is not
    for this command. Where nobody reads stdout any more, the command ends without a word, with status 141.
    """
    own, others = _split_at_dashes(sys.argv[1:])
    arguments = [argument for argument in own if argument != "--debug"] + others
    debug = _debug_wanted()
    take_any_letter()
    interrupt_once()
    try:
        try:
            status = main(arguments)
        finally:
            hear_no_more()
    except (StoppedBySignal, WorkerLost) as stopped:
        print(stopped, file=sys.stderr)
        status = STOPPED_AFTER_SAVING
    except KeyboardInterrupt:
        print("interrupted; nothing was left half-written", file=sys.stderr)
        status = STOPPED_AFTER_SAVING
    except SystemExit as ended:  # argparse's, after --help or wrong usage
        if isinstance(ended.code, str):
            raise
        status = ended.code or DONE
    except UserError as fault:
        if debug:
            raise
        print(f"error: {fault}", file=sys.stderr)
        status = FAULT
    except Exception as fault:
        if isinstance(fault, BrokenPipeError) and reader_left():
            end_stdout()
            sys.exit(READER_LEFT)
        if debug:
            raise
        known = isinstance(fault, OSError) and fault.filename is not None and _what_helps(fault)
        more = "" if known else " (run again with --debug for the traceback)"
        print(f"error: {_unforeseen(fault)}{more}", file=sys.stderr)
        status = FAULT
    unwritten = end_stdout()
    if unwritten and status == DONE:
        if isinstance(unwritten, BrokenPipeError):
            sys.exit(READER_LEFT)
        print(f"error: {_not_written(unwritten)}", file=sys.stderr)
        status = FAULT
    sys.exit(status)


def tell_in_one_line() -> None:
    """Has a UserError that ends the process told as `run_command` would: it came while modules were still imported."""
    if _debug_wanted():
        return
    before = sys.excepthook

    def tell(kind: type[BaseException], fault: BaseException, traceback: TracebackType | None) -> None:
        if isinstance(fault, UserError):
            print(f"error: {fault}", file=sys.stderr)
        else:
            before(kind, fault, traceback)

    sys.excepthook = tell


def stop_as_first_process() -> None:
    """Has SIGTERM end the first process of a container, too, before its command has set a handler.

    To such a process Linux delivers only signals that have one, and importing TensorFlow takes seconds.
    """
    own = threading.current_thread() is threading.main_thread()
    if own and os.getpid() == 1 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)


def _leave(*_: object) -> None:
    os.write(2, b"stopped by SIGTERM before the work began\n")
    os._exit(STOPPED_AFTER_SAVING)


def _debug_wanted() -> bool:
    own, _ = _split_at_dashes(sys.argv[1:])
    return "--debug" in own or os.environ.get("ALEXNET_DEBUG") == "1"


def _split_at_dashes(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before `--`, and the rest with it: the command that `start-workers` gives to its workers."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end:]


def _not_written(fault: OSError) -> str:
    return f"stdout cannot be written: {fault.strerror or 'it gives no reason'}"


def _what_helps(fault: OSError) -> str:
    from alexnet_tf.program.file_faults import what_helps  # late: it needs this module

    return what_helps(fault)


def _unforeseen(fault: Exception) -> str:
    """What a fault is told as that nothing on the way up has put into words."""
    first_line = (str(fault).strip().splitlines() or ["no message"])[0]
    if isinstance(fault, MemoryError) or "OOM when allocating" in str(fault):
        return "there is not enough memory: lower data.batch_size or data.eval_batch_size, or end other programs"
    if isinstance(fault, OSError) and fault.filename is None:
        unwritten = end_stdout(fault)
        if unwritten and unwritten.errno == fault.errno:
            return _not_written(unwritten)
    if isinstance(fault, OSError) and fault.strerror:
        where = f"{os.fsdecode(fault.filename)}: " if isinstance(fault.filename, str | bytes) else ""
        return f"{where}{fault.strerror}{_what_helps(fault)}"
    if isinstance(fault, ModuleNotFoundError) and fault.name:
        package = fault.name.partition(".")[0]
        extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
        named = f"'alexnet-tf[{extra}]'" if extra else package
        return f"the Python package {package} is not installed: pip install {named}"
    if type(fault).__module__.startswith("tensorflow."):
        return "TensorFlow failed: " + " ".join(re.sub(r"\{\{.*?\}\}|\[Op:.*", "", first_line).split())
    return f"{type(fault).__name__}: {first_line}"
