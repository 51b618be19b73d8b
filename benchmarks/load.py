"""The server under a long and mixed load, with new versions beneath: every answer is checked, and its memory measured.

    python -m benchmarks.load --model MODELS/alexnet [--requests 20000] [--clients 8] [--reloads 10] [--json FILE]

The server is a process of its own, the clients are threads of this one, on the same cores. Each takes the next request
as soon as its last is answered; what it sends is drawn by the request's number (`load_requests.py`). A new version is a
copy of the model's newest one; the one before it is removed. Memory is read while nothing is on its way: after the
first 1,000 requests, a new version among them, and at the end. Status 1 if an answer is not as it should be, or the
memory has grown by more than 5 %.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.serving.metadata import read_model_file
from alexnet_tf.serving.versions import newest_version
from benchmarks.load_requests import KINDS, Client, Pictures
from benchmarks.report import (
    Figure,
    benchmark_parser,
    describe_machine,
    format_machine,
    format_table,
    parse_options,
    whole_number,
    write_report,
)
from benchmarks.server_process import Started, started

FIRST = 1000
"""Requests until the memory is first read."""
GROWTH = 0.05
TAKEN_UP = 600.0
"""Seconds in which a new version must serve: a few, but for a machine that is busy with other work."""
SETTLED = 2.0
"""Seconds without a request before the memory is read."""


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parse_options(_parser(), argv)
    version = newest_version(options.model)
    machine = describe_machine()
    print(format_machine(machine))
    with tempfile.TemporaryDirectory() as folder:
        versions = Versions(version, Path(folder) / "alexnet")
        with started(versions.folder, "--poll=0.2") as server:
            figures, faults = measure(server, versions, options)
    print(
        f"{version}, {options.requests} requests of {options.clients} clients, {options.reloads} new versions, "
        f"seed {options.seed}\n{format_table(list(figures.values()))}"
    )
    if options.json:
        settings = {"model": str(version), **{key: getattr(options, key) for key in ("requests", "clients", "reloads")}}
        write_report(options.json, "load", settings | {"seed": options.seed}, machine, figures)
    if faults:
        raise UserError(f"{len(faults)} requests were not answered as they should be; the first: {faults[0]}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = benchmark_parser("load", __doc__.splitlines()[0], in_rounds=False)
    parser.add_argument("--model", type=Path, required=True, metavar="MODELS/alexnet")
    parser.add_argument("--requests", type=whole_number, default=20_000, help="(20000)")
    parser.add_argument("--clients", type=whole_number, default=8, help="(8)")
    parser.add_argument("--reloads", type=whole_number, default=10, help="new versions meanwhile (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the requests (0)")
    return parser


@dataclass
class Versions:
    """A model's folder with one version, and each time another one."""

    source: Path
    folder: Path
    number: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.add()

    def add(self) -> None:
        """A version appears whole, as export.py makes them, and the one before the last vanishes."""
        self.number += 1
        made = self.folder / f".{self.number}"
        shutil.copytree(self.source, made)
        made.rename(self.folder / str(self.number))
        shutil.rmtree(self.folder / str(self.number - 2), ignore_errors=True)


@dataclass
class Load:
    """What the clients do, and what they were answered."""

    server: Started
    versions: Versions
    seed: int
    new_versions: set[int]
    """Before which requests there is a new one."""
    pictures: Pictures
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)

    def run(self, numbers: range, clients: int) -> None:
        """Sends the requests of these numbers, each client one at a time."""
        waiting = iter(numbers)  # whichever client is free takes the next one

        def work() -> None:
            with Client(self.server, self.pictures) as client:
                for number in waiting:
                    self._send(client, number)
                    progress.update()

        progress = tqdm(total=len(numbers), unit="request", disable=None, leave=False)
        with progress, ThreadPoolExecutor(clients) as pool:
            for one in [pool.submit(work) for _ in range(clients)]:
                one.result()

    def _send(self, client: Client, number: int) -> None:
        if number in self.new_versions:
            self.versions.add()
        random_numbers = random.Random(f"{self.seed} {number}")
        (kind,) = random_numbers.choices(KINDS, [one.weight for one in KINDS])
        start = time.perf_counter()
        try:
            outcome = kind.send(client, random_numbers)
        except Exception as fault:
            outcome = f"{type(fault).__name__}: {fault}"
        self.seconds[kind.name].append(time.perf_counter() - start)
        self.outcomes[outcome] += 1
        if outcome != kind.expected:
            self.faults.append(f"number {number}, {kind.name}: {outcome} instead of {kind.expected}")

    def settle(self) -> None:
        """Waits until the newest version serves and nothing else is left to do.

        Raises:
          UserError: it does not come.
        """
        with Client(self.server, self.pictures) as client:
            end = time.monotonic() + TAKEN_UP
            while client.serving_version() != self.versions.number:
                if time.monotonic() > end:
                    raise UserError(f"version {self.versions.number} was not taken up in {TAKEN_UP:.0f} s")
                time.sleep(0.1)
        time.sleep(SETTLED)


def channels_of(version: Path) -> int:
    """Of the pixels that a model takes: 1 of gray pictures, 3 of others and of exports that do not tell."""
    try:
        return int((read_model_file(version) or {})["nets"][0]["picture_shape"][-1])
    except (LookupError, TypeError, ValueError):
        return 3


def measure(server: Started, versions: Versions, options: argparse.Namespace) -> tuple[dict[str, Figure], list[str]]:
    """The figures, and what was not as it should be."""
    total, first = options.requests, min(FIRST, options.requests // 2)
    between = np.linspace(first, total, options.reloads + 1).astype(int)[:-1]
    new_versions = {first // 2, *(int(number) + 1 for number in between[1:])}
    load = Load(server, versions, options.seed, new_versions, Pictures(channels_of(versions.source)))
    memory = []
    for part in (range(first), range(first, total)):
        load.run(part, options.clients)
        load.settle()
        memory.append(server.memory("VmRSS"))
    figures = {f"ended {outcome}": Figure(f"ended {outcome}", "requests", [n]) for outcome, n in load.outcomes.items()}
    everything = [one for seconds in load.seconds.values() for one in seconds]
    for kind, seconds in [("all", everything), *sorted(load.seconds.items())]:
        for percentile in (50, 99):
            title = f"{kind}, p{percentile}"
            figures[title] = Figure(title, "ms", [1e3 * float(np.percentile(seconds, percentile))])
    figures["first"] = Figure(f"memory after {first} requests", "MB", memory[:1])
    figures["end"] = Figure("memory at the end", "MB", memory[1:])
    figures["most"] = Figure("memory at most", "MB", [server.memory("VmHWM")])
    growth = memory[1] / memory[0] - 1
    if growth > GROWTH and first == FIRST:  # after fewer it grows by itself
        load.faults.append(f"the server's memory has grown by {growth:.1%}")
    return figures, load.faults


if __name__ == "__main__":
    run_command(main)
