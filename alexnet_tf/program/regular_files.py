"""Files that are read whole: never a named pipe, which may wait forever, nor a device, which may have no end."""

import os
import stat
from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def read_regular(path: Path, what: str, most: int) -> bytes:
    """A regular file's bytes.

    Args:
      path: the file.
      what: goes before its path in messages, as in "picture".
      most: bytes that it may have.

    Raises:
      UserError: it cannot be read, is no regular file, or has more bytes.
    """
    try:
        # Without waiting for whoever might write into a pipe.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
            if kind != stat.S_IFREG:
                raise UserError(f"{what} {path} is {KINDS.get(kind, 'something else')}, no regular file; name a file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(most + 1)
        finally:
            os.close(descriptor)
    except OSError as fault:  # of a socket, too, which cannot be opened
        raise cannot_be_read(f"{what} {path}", fault) from fault
    if len(content) > most:
        raise UserError(f"{what} {path} has more than {most} bytes; is it a {what} at all?")
    return content
