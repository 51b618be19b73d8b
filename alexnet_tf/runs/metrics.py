"""metrics.jsonl: a line of JSON every few steps, at every validation and at every checkpoint. No TensorFlow here."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.whole_files import read_whole, write_whole

METRICS_FILE = "metrics.jsonl"


def read_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Every line as it stands, and what it says; None for one that says nothing, as half a line of a killed run.

    Raises:
      UserError: there is a file, but it cannot be read.
    """
    try:
        content = read_whole(path)
    except FileNotFoundError:
        return
    except OSError as fault:
        raise UserError(f"{path} cannot be read: {fault.strerror}") from fault
    for line in content.splitlines():
        yield line, _parsed(line)


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

    What a full disk does not take waits in memory for room: figures to look at are no reason to end a training.

    Args:
      path: the file.
      step: where training stands. What a killed run wrote after its last checkpoint is cut off, for it is done again.
      validated: whether the validation at that step is done; where not, it is done again, too.
    """

    def __init__(self, path: Path, step: int, *, validated: bool) -> None:
        self.path = path
        kept = []
        self.broken = 0
        """Lines that say nothing and were left out, but for half a line at the end, as a kill leaves it."""
        self.kinds: set[str] = set()
        """Of the lines that are there of this very step."""
        lines = list(read_lines(path))
        for number, (line, fields) in enumerate(lines, 1):
            if fields is None:
                self.broken += number < len(lines) and bool(line.strip())
            elif fields["step"] < step:
                kept.append(line)
            elif fields["step"] == step and (validated or fields["kind"] != "validation"):
                kept.append(line)
                self.kinds.add(fields["kind"])
        write_whole(path, b"".join(line + b"\n" for line in kept))
        self._file: BinaryIO = path.open("ab", buffering=1 << 20)

    def log(self, **fields: Any) -> None:
        """Adds a line.

        Raises:
          OSError: as the file system has it; the line comes with the next one that is taken.
        """
        self._file.write(json.dumps(fields).encode() + b"\n")
        self._file.flush()

    def to_disk(self) -> None:
        """Waits until all lines would outlast a power cut.

        Raises:
          OSError: as the file system has it.
        """
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Ends the file.

        Raises:
          OSError: as the file system has it; closed it is all the same.
        """
        self._file.close()
