"""Resumes a small run with ever more free files until it succeeds, and prints what it was told, a JSON text a line.

    python -m tests.faults.few_files CONFIG RUN STEPS

A process of its own: TensorFlow's threads, and those who watch a test, open files at any time.
"""

import contextlib
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alexnet_tf.program.errors import UserError
from tests.faults.conftest import train_small
from tests.narrow_nets import make_narrow

FREE = (0, 1, 2, 3, 5, 8, 12, 20, 40)


@contextlib.contextmanager
def lowered(limit: int, value: int) -> Iterator[None]:
    """This process's own, meanwhile."""
    before = resource.getrlimit(limit)
    resource.setrlimit(limit, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(limit, before)


def number_after(free: int) -> int:
    """The limit on open files under which so many more can be opened."""
    taken, number = {int(name) for name in os.listdir("/proc/self/fd")}, 0
    while free or number in taken:
        free -= number not in taken
        number += 1
    return max(number, 3)


def main(config: str, run: str, steps: str) -> None:
    make_narrow()
    with tempfile.TemporaryDirectory() as folder:  # first with all files it wants, which loads all that it needs
        train_small(Path(config), Path(shutil.copytree(run, f"{folder}/run")), int(steps))
    told = []
    for free in FREE:
        try:
            with lowered(resource.RLIMIT_NOFILE, number_after(free)):
                train_small(Path(config), Path(run), int(steps))
            break
        except UserError as fault:
            told.append(str(fault))
    for line in told:
        print(json.dumps({"told": line}))


if __name__ == "__main__":
    main(*sys.argv[1:])
