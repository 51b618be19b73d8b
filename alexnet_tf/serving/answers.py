"""Pictures in, a table of names and probabilities out: what predict and client share. No TensorFlow here."""

from pathlib import Path
from typing import Any

from alexnet_tf.program.regular_files import read_regular
from tfrecords.picture_limits import MAX_FILE_BYTES


def read_picture(path: Path) -> bytes:
    """A picture file's bytes.

    Raises:
      UserError: it cannot be read, is no regular file, or is larger than any picture.
    """
    return read_regular(path, "picture", MAX_FILE_BYTES)


def answer_table(answers: dict[str, list[dict[str, Any]]]) -> str:
    """A few lines a picture: its path, then a class a line, the most probable first."""
    lines = []
    for path, top in answers.items():
        lines.append(path)
        lines += [f"  {answer['probability']:7.2%}  {answer['name']}" for answer in top]
    return "\n".join(lines)
