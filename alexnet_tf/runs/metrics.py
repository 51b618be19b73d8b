"""metrics.jsonl: a line of JSON every few steps, at every validation and at every checkpoint. No TensorFlow here."""

import contextlib
import itertools
import json
import math
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import read_whole, write_whole
from alexnet_tf.settings.recipe import is_bias

METRICS_FILE = "metrics.jsonl"
FIGURES = {
    "train": ("epoch", "loss", "weight_rate"), "validation": ("epoch", "loss", "top1_error", "top5_error")
}  # fmt: skip
"""What is drawn of a line, by its kind."""


def read_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Every line with its fields; None for a line without any, such as half a line of a killed run.

    Raises:
      UserError: there is a file, but it cannot be read.
    """
    try:
        content = read_whole(path)
    except FileNotFoundError:
        return
    except OSError as fault:
        raise cannot_be_read(path, fault) from fault
    for line in content.splitlines():
        yield line, _parsed(line)


def read_metrics(path: AnyPath) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of a metrics.jsonl: those of training, those of validation; broken ones are passed over.

    Raises:
      UserError: the file is missing or cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} is missing; training writes it")
    lines = [fields for _, fields in read_lines(path) if fields is not None]
    training, validation = (
        [line for line in lines if line["kind"] == kind and all(_is_figure(line.get(name)) for name in figures)]
        for kind, figures in FIGURES.items()
    )
    return training, validation


def validation_at(path: AnyPath, step: int) -> dict[str, Any] | None:
    """What training measured at this very step, the last line of it.

    None where it measured nothing, and where the file is missing or cannot be read: a run's log stops nothing.
    """
    with contextlib.suppress(UserError):
        return next((line for line in reversed(read_metrics(path)[1]) if line["step"] == step), None)
    return None


def sessions(path: Path, last_step: float = math.inf) -> list[dict[str, Any]]:
    """Commit, hardware and TensorFlow of each start of the training up to a step; equal ones once.

    Empty where the file is missing or cannot be read: a run's log stops nothing.
    """
    found: list[dict[str, Any]] = []
    with contextlib.suppress(UserError):
        for _, line in read_lines(path):
            if line is not None and line["kind"] == "start" and line["step"] <= last_step:
                session = {name: line.get(name) for name in ("commit", "hardware", "tensorflow")}
                if session not in found:
                    found.append(session)
    return found


def _is_figure(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # more digits than any figure has
        return False


def rate_drops(path: Path) -> list[float]:
    """The epochs, as fractions, after which the weights' learning rate fell: where the first step with less begins.

    Raises:
      UserError: the file is missing or cannot be read.
    """
    training, validation = read_metrics(path)
    last = max((*training, *validation), key=lambda line: line["step"], default=None)
    if last is None or not last["step"]:
        return []
    changes = [line for _, line in read_lines(path) if line is not None and line["kind"] == "rates"]
    found, before = [], 0.0
    for change in changes:
        highest = _weight_rate(change.get("rates"))
        if highest < before:
            found.append((change["step"] - 1) * last["epoch"] / last["step"])
        before = highest
    if not changes:  # of an earlier version, which told rates every few steps alone: an epoch ends in between
        found = [
            float(min(math.ceil(before["epoch"]), after["epoch"]))
            for before, after in itertools.pairwise(training)
            if after["weight_rate"] < before["weight_rate"]
        ]
    return found


def _weight_rate(rates: Any) -> float:
    """The highest of a schedule's rates of weights, given by the variables' names."""
    named = rates.items() if isinstance(rates, dict) else ()
    return max((rate for name, rate in named if _is_figure(rate) and not is_bias(name)), default=0.0)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not (isinstance(fields, dict) and isinstance(fields.get("kind"), str)):
        return None
    return fields if isinstance(fields.get("step"), int) and fields["step"] >= 0 else None


class Metrics:
    """The file of a run that is being trained.

    Lines that cannot be written, because of a full disk or a folder in the file's place, wait in memory until they can:
    figures to look at are no reason to end a training.

    Args:
      path: the file.
      step: where training stands. What a killed run wrote after its last checkpoint is cut off, for it is done again.
      validated: whether the validation at that step is done; where not, it is done again, too.
    """

    def __init__(self, path: Path, step: int, *, validated: bool) -> None:
        self.path = path
        self.step = step
        self.validated = validated
        self.broken = 0
        """Lines that cannot be read and were left out, not counting half a line at the end, as a kill leaves it."""
        self.kinds: set[str] | None = None
        """The kinds of lines that were there for this very step; None as long as the file cannot be used."""
        self._waiting = bytearray()
        self._file: FileIO | None = None

    def begin(self) -> None:
        """Cuts off what is done again, and opens the file.

        Raises:
          OSError, UserError: it cannot be read or written; the next line tries again.
        """
        kept, kinds, broken = [], set(), 0
        lines = list(read_lines(self.path))
        for number, (line, fields) in enumerate(lines, 1):
            if fields is None:
                broken += number < len(lines) and bool(line.strip())
            elif fields["step"] < self.step:
                kept.append(line)
            elif fields["step"] == self.step and (self.validated or fields["kind"] != "validation"):
                kept.append(line)
                kinds.add(fields["kind"])
        write_whole(self.path, b"".join(line + b"\n" for line in kept))
        self._file = self.path.open("ab", buffering=0)
        self.kinds, self.broken = kinds, broken

    def log(self, **fields: Any) -> None:
        """Adds a line.

        Raises:
          OSError, UserError: as `begin`, or from the file system; the line is written with the next one.
        """
        self._waiting += json.dumps(fields).encode() + b"\n"
        self._write()

    def to_disk(self) -> None:
        """Waits until all lines would outlast a power cut.

        Raises:
          OSError, UserError: as `log`.
        """
        os.fsync(self._write())

    def close(self) -> None:
        """Ends the file.

        Raises:
          OSError, UserError: as `log`; it is closed all the same.
        """
        try:
            if self._waiting:
                self._write()
        finally:
            if self._file:
                self._file.close()

    def _write(self) -> int:
        """Writes the lines that wait; returns the file descriptor."""
        if self._file is None:
            self.begin()
        assert self._file is not None
        while self._waiting:
            del self._waiting[: self._file.write(self._waiting)]
        return self._file.fileno()
