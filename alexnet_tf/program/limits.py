"""The system's limits on this process (ulimit), looked at before a package is loaded that does not survive them.

TensorFlow, and OpenBLAS below NumPy, end the whole process where they get no memory or no thread: with a few words of
C++ (bad_alloc, pthread_create), or with none.
"""

import os
import resource
import threading
from typing import NamedTuple

from alexnet_tf.program.errors import UserError


class Need(NamedTuple):
    """What a package takes, at least, to be loaded and used."""

    memory: dict[str, int]
    """Bytes of the whole process, by the option of ulimit that limits them."""
    threads: int
    files: int
    """Open files."""


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
NEEDS = {
    "numpy": Need({"-v": 300_000_000, "-d": 100_000_000}, 8, 16),
    "tensorflow": Need(
        {"-v": 3_500_000_000 + 100_000_000 * CORES, "-d": 1_000_000_000 + 100_000_000 * CORES},
        min(40 + 4 * CORES, 200), 64,
    ),
}  # fmt: skip
"""By package. On 2 cores a training of the smallest network takes 3.5 GB of addresses, of which it fills 0.9, 1.2 GB of
data and 60 threads, and dies in TensorFlow under a limit of 3.0 GB of addresses."""
LIMITS = {"-v": resource.RLIMIT_AS, "-d": resource.RLIMIT_DATA}
"""The limits on memory, by the option of ulimit."""
ENOUGH = 16_000_000_000
"""Bytes of a limit on memory under which the paper's network may need more."""


def check_limits(package: str) -> str | None:
    """Checks that a package of NEEDS can be loaded at all.

    Returns:
      A warning, where a limit may turn out too low for a large network.

    Raises:
      UserError: the package would end the process; names the limit, what is needed, and how to lift it.
    """
    need, warning = NEEDS[package], None
    for option, limit in LIMITS.items():
        allowed, _ = resource.getrlimit(limit)
        if allowed == resource.RLIM_INFINITY:
            continue
        allowance = f"this process may take {_gigabytes(allowed)} of memory addresses (ulimit {option} {allowed >> 10})"
        if allowed < need.memory[option]:
            raise UserError(
                f"{allowance}; {package} needs {_gigabytes(need.memory[option])} at least: lift the limit with ulimit "
                f"{option} unlimited"
            )
        if package == "tensorflow" and allowed < ENOUGH:
            warning = (
                f"warning: {allowance}; where a network needs more, TensorFlow ends the process without a message: "
                f"lift the limit with ulimit {option} unlimited"
            )
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and allowed - (opened := _open_files()) < need.files:
        raise UserError(
            f"this process may have {allowed} files open and has {opened}; {package} needs {need.files} more at "
            "least: raise the limit on open files (ulimit -n)"
        )
    if (started := _startable(need.threads)) < need.threads:
        raise UserError(
            f"only {started} more threads can be started here, {package} needs {need.threads} or more: raise the limit "
            "on processes (ulimit -u; in a container its limit on processes), or end other programs of this user"
        )
    return warning


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # less the one that looks
    except OSError:
        return 3


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _startable(count: int) -> int:
    """How many threads can be had at once, up to `count`."""
    over = threading.Event()
    threads: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            threads.append(thread)
    except (RuntimeError, MemoryError):
        pass
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return len(threads)
