"""What this machine is, in a few words: for the records of a run and of a measurement."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path


def processor() -> str:
    """What the processor is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def hardware(gpus: Sequence[str] = ()) -> str:
    """Processor, the cores that this process may use, and the GPUs of the given names."""
    cores = len(os.sched_getaffinity(0))
    return ", ".join([processor(), f"{cores} core{'s' * (cores != 1)}", *gpus])
