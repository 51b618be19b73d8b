"""Reading pictures and printing a table of names and probabilities, for predict and client. No TensorFlow here."""

from pathlib import Path
from typing import Any

import numpy as np

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import open_to_read
from alexnet_tf.runs.classes import Classes
from tfrecords.picture_limits import LARGE_FILE, MAX_FILE_BYTES
from tfrecords.picture_structure import UnreadablePicture, essence


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


def readable_picture(path: AnyPath) -> bytes:
    """A picture file as an exported model of any version may be given it; see `readable_picture_file`.

    Raises:
      UserError: it cannot be read, or it is no picture that may be read.
    """
    path = Path(path)
    return readable_picture_file(read_picture(path), f"picture {path}")


def readable_picture_file(file: bytes, name: str) -> bytes:
    """A picture file without what nobody needs; exports of earlier versions do not judge it themselves.

    Raises:
      UserError: it is damaged, or takes too much work.
    """
    try:
        found = essence(file, thorough=True)
    except UnreadablePicture as fault:
        raise UserError(f"{name}: {fault}") from fault
    return file if found.cut else found.file


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
