"""Pictures in, a table of names and probabilities out: what predict and client share. No TensorFlow here."""

from pathlib import Path
from typing import Any

from alexnet_tf.program.regular_files import read_regular

LARGEST = 1_000_000_000
"""Bytes of a picture file. The largest picture that is read has 716 MB uncompressed, at 16 bits and four samples."""


def read_picture(path: Path) -> bytes:
    """A picture file's bytes.

    Raises:
      UserError: it cannot be read, is no regular file, or is larger than any picture.
    """
    return read_regular(path, "picture", LARGEST)


def answer_table(answers: dict[str, list[dict[str, Any]]]) -> str:
    """A few lines a picture: its path, then a class a line, the most probable first."""
    lines = []
    for path, top in answers.items():
        lines.append(path)
        lines += [f"  {answer['probability']:7.2%}  {answer['name']}" for answer in top]
    return "\n".join(lines)
