"""Files that are there whole or not at all."""

from pathlib import Path

from alexnet_tf.errors import UserError


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside and renames it, so that whoever reads meanwhile finds the old one.

    Raises:
      UserError: it cannot be written.
    """
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as fault:
        raise UserError(f"{path} cannot be written: {fault.strerror}") from fault
