"""Files and folders that are there whole or not at all, after a power cut too; and folders that one process holds."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from alexnet_tf.errors import UserError

UNFINISHED = ".unfinished-"
"""Begins the name of what is being written; where nobody writes, it was left by a program that was killed."""


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Writes a file beside and renames it, so that whoever reads meanwhile finds the old one.

    Args:
      path: the file.
      content: its bytes, or a function that writes them into the open file.

    Raises:
      UserError: it cannot be written; nothing of it stays, and an older file of that name stays as it was.
    """
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    try:
        with unfinished.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
        put_in_place(unfinished, path)
    except OSError as fault:
        remove(unfinished)  # on a full disk what it holds is wanted
        raise UserError(f"{path} cannot be written: {fault.strerror or fault}") from fault


def put_in_place(unfinished: Path, final: Path) -> None:
    """Renames a finished file or folder once all that it holds is on the disk, and then its new name, too.

    Without this order a power cut may leave the name without the content. `final` must not be a folder with files in it.

    Raises:
      OSError: as the file system has it.
    """
    if unfinished.is_dir():
        for folder, _, files in os.walk(unfinished, topdown=False):
            for file in files:
                _to_disk(Path(folder, file))
            _to_disk(Path(folder))
    else:
        _to_disk(unfinished)
    os.replace(unfinished, final)
    _to_disk(final.parent)


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that is in it, as far as the file system lets it; a missing one is no fault."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


def hold(lock: Path, busy: str) -> TextIO:
    """Takes a lock file for this process; closing the file, or the end of the process however it comes, releases it.

    Args:
      lock: the file, made where it is missing.
      busy: the message when another process holds it.

    Raises:
      UserError: another process holds it, or the file system has no locks.
      OSError: the file cannot be opened.
    """
    file = lock.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        file.close()
        if fault.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise UserError(busy) from None
        raise UserError(
            f"{lock} cannot be locked ({fault.strerror}): its file system has no locks, so two processes could write "
            "there at once; use a folder on another file system, or mount this one with locks"
        ) from fault
    return file


@contextlib.contextmanager
def held(lock: Path, busy: str) -> Iterator[None]:
    """`hold` for a block."""
    with hold(lock, busy):
        yield


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
