"""Reading pictures and printing a table of names and probabilities, for predict and client. No TensorFlow here."""

import argparse
import csv
import io
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import open_to_read
from alexnet_tf.runs.classes import Classes
from tfrecords.picture_limits import LARGE_FILE, MAX_FILE_BYTES

Form = Literal["table", "json", "csv"]


def read_picture(path: AnyPath) -> bytes:
    """A picture file's bytes.

    Raises:
      UserError: it cannot be read, is a pipe or a device, or is larger than MAX_FILE_BYTES.
    """
    path = Path(path)
    try:
        with open_to_read(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as fault:
        raise cannot_be_read(f"picture {path}", fault) from fault
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"picture {path}: {LARGE_FILE}")
    return content


def add_images(parser: argparse.ArgumentParser) -> None:
    """Adds the pictures, as `given_pictures.picture_paths` takes them."""
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE",
        help="a picture file of any size, a folder of them, or a quoted pattern such as '*/*.jpg'")  # fmt: skip


def add_form(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose the `form` of answers."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json",
        help="print JSON instead of a table; probabilities from 0 to 1")  # fmt: skip
    form.add_argument("--csv", dest="form", action="store_const", const="csv",
        help="print CSV: a class of a file a line, probabilities from 0 to 1")  # fmt: skip
    parser.set_defaults(form="table")


def answers_in(form: Form, answers: dict[str, list[dict[str, Any]]], *, in_ascii: bool = False) -> str:
    """The answers as text.

    Args:
      form: a table for people; JSON, by file a list of label, name and probability; or CSV, a class of a file a line.
      answers: by the picture's path, the most probable class first.
      in_ascii: whether JSON is to hold no other letters.
    """
    if form == "json":
        return json.dumps(answers, indent=1, ensure_ascii=in_ascii)
    return answer_csv(answers) if form == "csv" else answer_table(answers)


def answer_csv(answers: dict[str, list[dict[str, Any]]]) -> str:
    """A line for each class of each picture, behind a line of column names; no line end behind the last."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "rank", "label", "name", "probability"))
    for path, top in answers.items():
        for rank, one in enumerate(top, 1):
            writer.writerow((path, rank, one["label"], one["name"], f"{one['probability']:.6f}"))
    return text.getvalue().rstrip("\n")


def most_probable(probabilities: np.ndarray, classes: Classes, count: int) -> list[dict[str, Any]]:
    """The most probable classes of a picture: label, name and probability of each; of equal ones the first.

    Args:
      probabilities: (classes,).
      classes: in the same order.
      count: how many at most.
    """
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [
        {"label": classes.keys[i], "name": classes.names[i], "probability": round(float(probabilities[i]), 6)}
        for i in order
    ]


def answer_table(answers: dict[str, list[dict[str, Any]]]) -> str:
    """A few lines a picture: its path, then a class a line, the most probable first."""
    lines = []
    for path, top in answers.items():
        lines.append(path)
        lines += [f"  {answer['probability']:7.2%}  {answer['name']}" for answer in top]
    return "\n".join(lines)
