"""What a run of the tests took, told at its end: seconds, processor time, and the memory of all its processes together.

More memory than `MEMORY_LIMIT` fails the run, for then it fits no small machine. To keep within it, what a test
leaves behind in circles, as every traced function of TensorFlow is, is collected at once: Python would wait for many
more objects, and does not know how large these are.
"""

import contextlib
import ctypes
import gc
import os
import re
import resource
import threading
import time
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

MEMORY_LIMIT = 8e9
"""Bytes, of all processes together; what several of them share, as TensorFlow's library, counts once."""
SAMPLE_SECONDS = 1.0
WORTH_COLLECTING = 0.5
"""Seconds of a test, from which on it may have left much behind."""
INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX"}


class _MemoryWatch(threading.Thread):
    """Adds up the memory of this process and all that come from it, now and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.started = time.monotonic()
        self.peak = 0
        self.over = threading.Event()

    def run(self) -> None:
        tests = psutil.Process()
        while not self.over.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(map(_own_share, [tests, *tests.children(recursive=True)])))


def _own_share(process: psutil.Process) -> int:
    """Its proportional set size: its own memory, and its part of what it shares with others."""
    try:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except OSError:  # it has just ended
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _processor_seconds() -> float:
    """Of this process and of all that have ended below it."""
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def processor() -> str:
    """Its name and the vector instructions that it has."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "an unknown processor"
    name, flags = (re.search(rf"^{key}\s*: (.*)$", text, re.MULTILINE) for key in ("model name", "flags"))
    known = [told for flag, told in INSTRUCTIONS.items() if flags and flag in flags[1].split()]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return f"{name[1] if name else 'unnamed'} ({', '.join(known)}{f'; oneDNN as for {limit}' if limit else ''})"


def pytest_collection() -> None:
    gc.disable()  # while modules are imported there is no garbage worth the search, which takes seconds


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what is imported by now stays, and is not looked through again and again
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    start = time.monotonic()
    done = yield
    last_of_file = nextitem is None or nextitem.path != item.path
    if last_of_file or time.monotonic() - start > WORTH_COLLECTING:
        gc.collect()
    if last_of_file:
        _give_back()
    return done


def _give_back() -> None:
    """Hands memory that is free inside the process back to the system, where the C library can."""
    with contextlib.suppress(AttributeError):  # another one than glibc
        ctypes.CDLL(None).malloc_trim(0)


def pytest_sessionstart(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        return  # one of several processes of tests: the one that started them watches
    session.config.memory_watch = watch = _MemoryWatch()
    watch.start()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    watch = getattr(session.config, "memory_watch", None)
    if watch is None:
        return
    watch.over.set()
    if watch.peak > MEMORY_LIMIT and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    watch = getattr(config, "memory_watch", None)
    if watch is None:
        return
    seconds = time.monotonic() - watch.started
    terminalreporter.write_line(
        f"the tests took {seconds:.0f} s, {_processor_seconds():.0f} s of processor time and {watch.peak / 1e9:.1f} GB "
        f"at most, all processes together, on {len(os.sched_getaffinity(0))} cores of {processor()}"
    )
    if watch.peak > MEMORY_LIMIT:
        terminalreporter.write_line(f"failed: that is more than {MEMORY_LIMIT / 1e9:.0f} GB", red=True)
