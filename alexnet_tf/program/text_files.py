"""Text files as people and programs leave them: whatever cannot be read ends in a line that names the file."""

from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read

MOST = 1 << 30
"""Bytes: a list of every picture of a large set has fewer, and a device such as /dev/zero has no end."""


def read_text(path: Path, what: str = "") -> str:
    """A file's text; the mark that some editors put before UTF-8 text is left out.

    Args:
      path: the file.
      what: the word before its path in messages, such as "config".

    Raises:
      UserError: it cannot be read, or is no UTF-8 text.
      FileNotFoundError: it is missing; the caller knows what that means.
    """
    name = f"{what} {path}".strip()
    try:
        with path.open("rb") as file:
            content = file.read(MOST + 1)
        if len(content) > MOST:
            raise UserError(f"{name} has more than {MOST} bytes; is it a text file at all?")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as fault:
        raise UserError(
            f"{name} is no UTF-8 text (byte {fault.object[fault.start]:#04x} at {fault.start}): save it as UTF-8"
        ) from fault
    except OSError as fault:
        raise cannot_be_read(name, fault) from fault
