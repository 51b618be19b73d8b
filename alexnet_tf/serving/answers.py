"""Pictures in, a table of names and probabilities out: what predict and client share. No TensorFlow here."""

from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from tfrecords.picture_limits import MAX_FILE_BYTES


def read_picture(path: Path) -> bytes:
    """A picture file's bytes.

    Raises:
      UserError: it cannot be read, or is larger than MAX_FILE_BYTES.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)  # a device may never end
    except OSError as fault:
        raise cannot_be_read(f"picture {path}", fault) from fault
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"picture {path}: file larger than {MAX_FILE_BYTES >> 20} MiB")
    return content


def answer_table(answers: dict[str, list[dict[str, Any]]]) -> str:
    """A few lines a picture: its path, then a class a line, the most probable first."""
    lines = []
    for path, top in answers.items():
        lines.append(path)
        lines += [f"  {answer['probability']:7.2%}  {answer['name']}" for answer in top]
    return "\n".join(lines)
