"""Atomic writes, of files and folders that are complete or absent even after a power cut; and lock files."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_written

UNFINISHED = ".unfinished-"
"""Begins the name of what is being written; where nobody writes, it was left by a program that was killed."""
OWN_STREAM = re.compile(r"/dev/(stdout|stderr)|/(?:dev|proc/self)/fd/(\d{1,9})")
READER_SECONDS = 5.0
"""For somebody to open the other end of a named pipe."""


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Writes a temporary file beside and renames it, so that readers find the old file or the new one.

    What is no file, such as /dev/stdout or a pipe that somebody reads, is written as it stands; behind a symbolic link,
    what it leads to.

    Args:
      path: the file.
      content: its bytes, or a function that writes them into the open file.

    Raises:
      UserError: it cannot be written; nothing of it is left, and an older file of that name is unchanged.
    """
    try:
        if _is_no_file(path):
            with _opened_as_it_stands(path) as file:
                _fill(file, content)
            return
        final = Path(os.path.realpath(path))  # links that lead in a circle are replaced
        unfinished = final.with_name(f"{UNFINISHED}{final.name}")
        remove(unfinished)  # a link or a pipe of that name would be written into
        try:
            _write(unfinished, content)
            put_in_place(unfinished, final)
        finally:
            remove(unfinished)  # it is only there after a fault; on a full disk what it holds is wanted
    except OSError as fault:
        raise cannot_be_written(path, fault) from fault


def check_place(path: Path) -> None:
    """Sees whether `write_whole` will find room for its file, before there is work that could be lost.

    Raises:
      UserError: it will not; nothing is left there.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not _is_no_file(path):
            final = Path(os.path.realpath(path))
            unfinished = final.with_name(f"{UNFINISHED}{final.name}")
            unfinished.touch()
            remove(unfinished)
    except OSError as fault:
        raise cannot_be_written(path, fault) from fault


def open_to_read(path: Path) -> BinaryIO:
    """Opens a file without waiting. A pipe or a device, of which reading may never end, is refused.

    Raises:
      OSError: from the file system, or because it is no file.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, no file", str(path))
    return file


def read_whole(path: Path) -> bytes:
    """The content of a file that a program has written.

    Raises:
      OSError: as `open_to_read`.
    """
    with open_to_read(path) as file:
        return file.read()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def _write(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    with path.open("wb") as file:
        _fill(file, content)


def _fill(file: BinaryIO, content: bytes | Callable[[BinaryIO], object]) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content)


def _is_no_file(path: Path) -> bool:
    """Whether a path leads to a pipe or a device, or to one of this process's own streams, whatever that is."""
    return bool(OWN_STREAM.fullmatch(str(path))) or (path.exists() and not path.is_file())


def _opened_as_it_stands(path: Path) -> BinaryIO:
    """A pipe's reader may come a little later, but nobody waits for one who does not come at all."""
    if own := OWN_STREAM.fullmatch(str(path)):
        sys.stdout.flush()  # what was printed before comes first
        return open(os.dup({"stdout": 1, "stderr": 2}.get(own[1]) or int(own[2])), "wb")
    until = time.monotonic() + READER_SECONDS
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as fault:
            if fault.errno != errno.ENXIO or time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            os.set_blocking(descriptor, True)
            return open(descriptor, "wb")


def put_in_place(unfinished: Path, final: Path) -> None:
    """Renames a finished file or folder once all that it holds is on the disk, and then its new name, too.

    Without this order a power cut may leave the name without the content. `final` must not be a folder that holds
    files.

    Raises:
      OSError: from the file system.
    """
    if unfinished.is_dir():
        for folder, _, files in os.walk(unfinished, topdown=False):
            for file in files:
                to_disk(Path(folder, file))
            to_disk(Path(folder))
    else:
        to_disk(unfinished)
    os.replace(unfinished, final)
    to_disk(final.parent)


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that is in it, as far as the file system lets it; it may be missing."""
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
      UserError: another process holds it, it cannot be made, or the file system has no locks.
    """
    file = hold_if_free(lock)
    if file is None:
        raise UserError(busy)
    return file


def hold_if_free(lock: Path) -> TextIO | None:
    """As `hold`, but None where another process holds it."""
    try:
        file = open(lock, "a", opener=_without_waiting)  # noqa: SIM115  held as long as it is open
    except OSError as fault:
        raise cannot_be_written(lock, fault) from fault
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        file.close()
        if fault.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise UserError(
            f"{lock} cannot be locked ({fault.strerror}): its file system has no locks, so two processes could write "
            "there at once; use a folder on another file system, or mount this one with locks"
        ) from fault
    return file


@contextlib.contextmanager
def held(lock: Path, busy: str) -> Iterator[None]:
    """A context manager for `hold`."""
    with hold(lock, busy):
        yield


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it that are missing, so that a power cut does not take it away again.

    Raises:
      UserError: it cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            to_disk(folder.parent)
    except OSError as fault:
        raise cannot_be_written(path, fault) from fault


def to_disk(path: Path) -> None:
    """Waits until a file's content, or the names in a folder, would outlast a power cut.

    Raises:
      OSError: from the file system.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as fault:
        # Some network and user-space file systems cannot do it for a folder; they have no better way.
        if not (fault.errno in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS) and path.is_dir()):
            raise
    finally:
        os.close(descriptor)
