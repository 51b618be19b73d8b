"""Hypothesis for a time instead of for a number of examples, with limits on what one example may cost.

FUZZ_SECONDS is the time of each test (3), FUZZ_SEED where its drawing begins (0). What fails is shrunk, and told as
Hypothesis does, with the round's number. Each test tells how many examples there were and what processor time they
took: on a busy machine this is much less than the time that has passed.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("FUZZ_SECONDS", "3"))
FIRST_ROUND = int(os.environ.get("FUZZ_SEED", "0")) * 1_000_000
EXAMPLES = 20 if SECONDS < 30 else 200
"""Of a round."""
STATUS = Path("/proc/self/status")


def run_rounds(strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """Draws from the strategy and checks what comes, until the time is over."""
    end, start, count = time.monotonic() + SECONDS, time.process_time(), 0

    def counted(example: Any) -> None:
        nonlocal count
        count += 1
        check(example)

    for number in itertools.count(FIRST_ROUND):
        drawn = given(strategy)(lambda example: counted(example))
        limited = settings(
            max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        )(drawn)  # fmt: skip
        try:
            seed(number)(limited)()
        except BaseException as fault:
            fault.add_note(f"round {number}") if hasattr(fault, "add_note") else print(f"round {number}")
            raise
        if time.monotonic() > end:
            print(f"{count} examples in {time.process_time() - start:.0f} s of processor time")
            return


@contextmanager
def bounded(seconds: float, megabytes: float) -> Iterator[None]:
    """What is done meanwhile takes at most so much processor time, and memory beside what is there already."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use
    before, start = _read("VmRSS"), time.process_time()
    yield
    taken, grown = time.process_time() - start, _read("VmHWM") - before
    assert taken < seconds, f"{taken:.1f} s of processor time"
    assert grown < megabytes, f"{grown:.0f} MB more"


def _read(key: str) -> float:
    return int(STATUS.read_text().partition(f"{key}:")[2].split()[0]) / 1000
