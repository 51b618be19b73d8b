"""Reading pictures and printing a table of names and probabilities, for predict and client. No TensorFlow here."""

from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.whole_files import open_to_read
from tfrecords.picture_limits import LARGE_FILE, MAX_FILE_BYTES


def read_picture(path: Path) -> bytes:
    """A picture file's bytes.

    Raises:
      UserError: it cannot be read, is a pipe or a device, or is larger than MAX_FILE_BYTES.
    """
    try:
        with open_to_read(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as fault:
        raise cannot_be_read(f"picture {path}", fault) from fault
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"picture {path}: {LARGE_FILE}")
    return content


def answer_table(answers: dict[str, list[dict[str, Any]]]) -> str:
    """A few lines a picture: its path, then a class a line, the most probable first."""
    lines = []
    for path, top in answers.items():
        lines.append(path)
        lines += [f"  {answer['probability']:7.2%}  {answer['name']}" for answer in top]
    return "\n".join(lines)
