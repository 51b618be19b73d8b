"""What a benchmark prints and saves: figures with their spread, and the machine that gave them."""

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.program import arguments
from alexnet_tf.program.checkout import commit
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.machine import processor
from alexnet_tf.program.whole_files import write_whole


@dataclass(frozen=True)
class Figure:
    """One quantity, measured once a round.

    Attributes:
      title: what it is, for people.
      unit: may be empty.
      rounds: the values in the order of the rounds.
    """

    title: str
    unit: str
    rounds: Sequence[float]

    @property
    def median(self) -> float:
        """The middle value, which a single disturbed round does not move."""
        return statistics.median(self.rounds)

    def as_json(self) -> dict[str, Any]:
        """Median, extremes and every round's value."""
        return {
            "unit": self.unit,
            "median": self.median,
            "min": min(self.rounds),
            "max": max(self.rounds),
            "rounds": list(self.rounds),
        }


def format_table(figures: Sequence[Figure]) -> str:
    """A line for each figure: title, median, unit, and the lowest and highest round."""
    width = max(len(figure.title) for figure in figures)
    unit_width = max(len(figure.unit) for figure in figures)
    return "\n".join(
        f"{figure.title:{width}}  {format_number(figure.median):>7} {figure.unit:{unit_width}}"
        f"  ({format_number(min(figure.rounds))} to {format_number(max(figure.rounds))})"
        for figure in figures
    )


def format_number(value: float) -> str:
    """Three significant digits, never fewer than stand before the point and never an exponent."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    rounded = float(f"{value:.3g}")  # first, or 9.999 would get the digits of a number below 10
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{value:.{decimals}f}"


def describe_machine() -> dict[str, Any]:
    """Hardware, versions, date, load and commit: what a figure means nothing without."""
    gpus = tf.config.list_physical_devices("GPU")
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "gpus": [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus],
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
    }


def format_machine(machine: dict[str, Any]) -> str:
    """Two lines for people."""
    hardware = [machine["cpu"], f"{machine['cores']} cores", *machine["gpus"]]
    return (
        f"{', '.join(hardware)}; load {machine['load_average']} at the start\n"
        f"Python {machine['python']}, TensorFlow {machine['tensorflow']}, Keras {machine['keras']}, "
        f"commit {machine['commit'] or 'unknown'}, {machine['date']}"
    )


def benchmark_parser(name: str, description: str, *, in_rounds: bool = True) -> argparse.ArgumentParser:
    """The parser of `python -m benchmarks.NAME`, with the options that all of them share."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    if in_rounds:
        parser.add_argument("--rounds", type=whole_number, default=7, help="turns of each side (7)")
        parser.add_argument("--seed", type=int, default=0, help="of whatever is drawn (0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    return parser


def parse_options(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """The options given; a --json that could not be written is refused before minutes of measuring.

    Raises:
      UserError: names the folder.
    """
    options = parser.parse_args(argv)
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise UserError(f"--json {options.json}: no folder {options.json.parent}; make it first")
    return options


def write_report(
    path: Path,
    benchmark: str,
    settings: dict[str, Any],
    machine: dict[str, Any],
    figures: dict[str, Figure],
) -> None:
    """Everything as JSON.

    Raises:
      UserError: the file cannot be written.
    """
    report = {
        "benchmark": benchmark,
        "settings": settings,
        "machine": machine,
        "figures": {name: figure.as_json() for name, figure in figures.items()},
    }
    write_whole(path, (json.dumps(report, indent=1) + "\n").encode())


whole_number = arguments.whole_number(1)
"""An argparse type: whole numbers from 1 on."""
positive = arguments.positive_number
"""An argparse type: finite numbers above 0."""


def in_turns(round_number: int, *sides: Callable[[], None]) -> None:
    """Runs the sides one after the other, in every second round backwards.

    So a machine that only becomes slower, as it warms up, does not favor the side that is first.
    """
    for side in sides if round_number % 2 == 0 else reversed(sides):
        side()
