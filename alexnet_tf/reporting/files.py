"""The files of a report: each figure as PNG and SVG, each table as CSV, and what the page needs of them."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alexnet_tf.evaluation.drawing import Figure, our_style
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.whole_files import make_folder, write_whole
from alexnet_tf.runs.place import CONFIG_FILE
from tfrecords.manifest import MANIFEST_FILE

DOTS_PER_INCH = 110


def refuse_folder(out: Path) -> None:
    """Refuses to write beside what is no report.

    Raises:
      UserError: `out` is a run or converted data.
    """
    for file in (CONFIG_FILE, MANIFEST_FILE):
        if (out / file).exists():
            raise UserError(f"--out {out} is a run or converted data; give a folder of the report's own")


@dataclass(frozen=True)
class SavedFigure:
    """A figure that is on the disk."""

    name: str
    """Of its files, without their endings."""
    caption: str
    png: bytes


@dataclass(frozen=True)
class Table:
    """Rows of cells, which a person reads; at most as many as a page bears."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chapter:
    """A part of the page."""

    title: str
    paragraphs: Sequence[str]
    figures: Sequence[SavedFigure] = ()
    table: Table | None = None
    files: Sequence[str] = field(default=())
    """Tables of numbers that lie beside the page."""


class ReportFiles:
    """The folder of a report.

    Args:
      folder: made where it is missing; what has the name of one of the report's files is replaced.

    Raises:
      UserError: it cannot be written; so do all methods.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self.written: list[str] = []

    def figure(self, name: str, caption: str, make: Callable[[], Figure]) -> SavedFigure:
        """Draws and saves a figure."""
        with our_style():
            figure = make()
            png = _saved(figure, "png", {"Software": None})
            figure.set_layout_engine("none")  # laid out it is now, and that takes longest
            self.write(f"{name}.png", png)
            self.write(f"{name}.svg", _saved(figure, "svg", {"Date": None}))
        return SavedFigure(name, caption, png)

    def table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
        """Saves a table as CSV and returns its file's name. Names that are no text keep their very bytes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        return self.write(f"{name}.csv", text.getvalue().encode("utf-8", "surrogateescape"))

    def json(self, name: str, content: Any) -> str:
        """Saves numbers for programs and returns the file's name."""
        return self.write(f"{name}.json", (json.dumps(content, indent=1) + "\n").encode())

    def write(self, file: str, content: bytes) -> str:
        """Saves a file, whole or not at all, and returns its name."""
        write_whole(self.folder / file, content)
        self.written.append(file)
        return file


def _saved(figure: Figure, kind: str, metadata: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=DOTS_PER_INCH, metadata=metadata, facecolor="white")
    return content.getvalue()
