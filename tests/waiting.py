"""Waiting for what other threads and processes do."""

import subprocess
import time
from collections.abc import Callable


def wait_until(
    happened: Callable[[], object], process: subprocess.Popen[str] | None = None, seconds: float = 120
) -> None:
    """Returns once `happened` says so. Fails after `seconds`, and when `process` has ended before."""
    end = time.monotonic() + seconds
    while not happened():
        assert process is None or process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, f"nothing happened in {seconds} s"
        time.sleep(0.05)
