"""A list of labels: a table with a picture file a line, in whichever way a spreadsheet has saved it."""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.text_files import read_text
from tfrecords.sources import composed, printable

SPLITS = ("train", "val")
SEPARATORS = ",;\t"


@dataclass(frozen=True)
class LabelRow:
    """A line of the table."""

    file: str
    """From the pictures' folder on."""
    label: str
    split: str


def read_label_list(path: AnyPath, *, with_split: bool, in_one_folder: bool) -> list[LabelRow]:
    """Reads a table with the columns `file`, `label` and perhaps `split`, between commas, semicolons or tabs.

    Args:
      path: the table.
      with_split: whether it must say `train` or `val`; without, everything is `train`.
      in_one_folder: whether the files of both splits are in one folder, so that none may be in both.

    Raises:
      UserError: names the file and the line.
    """
    path = Path(path)
    rows: list[LabelRow] = []
    seen: dict[tuple[str, str], int] = {}
    for number, row in _rows(path, ("file", "label", "split") if with_split else ("file", "label")):
        fault = _row_fault(row)
        place = ("" if in_one_folder else row.split, os.path.normpath(row.file))
        if not fault and place in seen:
            fault = f"{printable(row.file)} stands here a second time, first in line {seen[place]}"
        if fault:
            raise UserError(f"{path}, line {number}: {fault}")
        seen[place] = number
        rows.append(row)
    if not rows:
        raise UserError(f"{path} lists no pictures")
    return rows


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, LabelRow]]:
    try:
        text = read_text(path, "--labels")
    except FileNotFoundError as fault:
        raise UserError(f"--labels {path} cannot be read: {fault.strerror}") from fault
    first = next(iter(text.splitlines()), "")
    separator = max(SEPARATORS, key=first.count)
    # A blank behind the separator must not hide the quotes that follow it.
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        lines.fieldnames = [name.strip().lower() for name in lines.fieldnames or ()]
        missing = [name for name in columns if name not in lines.fieldnames]
        if missing:
            hint = " (or give --val-fraction)" if missing == ["split"] else ""
            raise UserError(
                f"{path} needs a column {missing[0]!r} in its first line{hint}; columns stand between commas, "
                "semicolons or tabs"
            )
        for line in lines:
            file_name, label = ((line[name] or "").strip() for name in ("file", "label"))
            split = (line["split"] or "").strip() if "split" in columns else "train"
            yield lines.line_num, LabelRow(file_name, composed(label), split)
    except csv.Error as fault:
        raise UserError(f"--labels {path} is no table of commas and lines ({fault}): save it as CSV") from fault


def _row_fault(row: LabelRow) -> str | None:
    if "\0" in row.file:
        return f"file {printable(row.file)!r} holds a byte 0, which no path can: was the table cut or overwritten?"
    if not row.file or os.path.isabs(row.file) or ".." in row.file.split("/"):
        return f"file {printable(row.file)!r} must be a path inside the pictures' folder"
    if not row.label or not row.label.isprintable():
        return f"label {row.label!r} must be a printable word"
    if row.split not in SPLITS:
        return f"split {printable(row.split)!r} must be train or val"
    return None
