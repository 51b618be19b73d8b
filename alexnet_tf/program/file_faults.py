"""Messages about files and folders that cannot be read or written: which one, why, and what helps."""

import errno
import os
from pathlib import Path

from alexnet_tf.program.errors import UserError

FREE_SPACE = "free some space there, then run the same command again"
MAKE_WRITABLE = "make its folder writable for this user, or choose another folder"
EITHER_WAY = "let this user into it, and into the folders above it"
MAKE_READABLE = "make it, and the folders above it, readable for this user"
EVER = {
    errno.ELOOP: "its links lead in a circle: remove them",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "the whole machine has too many open files: end other programs",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENXIO: "a pipe that nobody reads, or a socket, is in its place: move that away",
    errno.ESTALE: "mount its file system again",
}
WRITING = EVER | {
    errno.ENOSPC: FREE_SPACE, errno.EDQUOT: FREE_SPACE, errno.EROFS: MAKE_WRITABLE, errno.EACCES: MAKE_WRITABLE,
    errno.EPERM: MAKE_WRITABLE, errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.ENOTDIR: "a part of this path is a file: choose another folder",
    errno.EEXIST: "a file is in its place: choose another folder",
    errno.ENOENT: "the folder that it goes to, perhaps by a link, is missing: make that, or remove the link",
    errno.EISDIR: "a folder is in its place: move that away",
    errno.EIO: "look at the disk, or choose a folder on another one",
    errno.EBADF: "no stream of that number is open: correct the path",
}  # fmt: skip
"""What helps against a fault in writing, by the system's number."""
READING = EVER | {
    errno.EACCES: MAKE_READABLE, errno.EPERM: MAKE_READABLE,
    errno.ENOENT: "correct the path, or restore the file",
    errno.ENOTDIR: "a part of this path is a file: correct the path",
    errno.EISDIR: "a folder is in its place: correct the path, or move that away",
    errno.EINVAL: "correct the path, or move that away and restore the file",
    errno.EIO: "look at the disk, or restore the file from a copy",
}  # fmt: skip
"""What helps against a fault in reading, by the system's number."""
NAMED_BY_TENSORFLOW = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO, errno.EMFILE,
    errno.ENFILE, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ESTALE,
)  # fmt: skip


def cannot_be_written(path: Path | str, fault: Exception) -> UserError:
    """The error for a file or folder that cannot be written.

    Args:
      path: which one, with a word for it in front where that is needed.
      fault: the system's, or TensorFlow's own.
    """
    cause = system_fault(fault)
    reason = cause.strerror or "the file system gives no reason"
    return UserError(f"{path} cannot be written: {reason}; {WRITING.get(cause.errno or 0, MAKE_WRITABLE)}")


def cannot_be_read(path: Path | str, fault: Exception) -> UserError:
    """The error for a file or folder that cannot be read; arguments as for `cannot_be_written`."""
    cause = system_fault(fault)
    reason = cause.strerror or "the file system gives no reason"
    return UserError(f"{path} cannot be read: {reason}; {READING.get(cause.errno or 0, READING[errno.EIO])}")


def what_helps(fault: OSError) -> str:
    """What helps where nobody knows whether a file was read or written, behind a semicolon; often nothing is known."""
    both = {number: EITHER_WAY for number in (errno.EACCES, errno.EPERM)}
    both |= {number: WRITING[number] for number in (*EVER, errno.ENOSPC, errno.EDQUOT, errno.EROFS)}
    return f"; {both[fault.errno]}" if fault.errno in both else ""


def system_fault(fault: Exception) -> OSError:
    """The system's fault behind another exception: TensorFlow's exceptions hold only its text."""
    if isinstance(fault, OSError):
        return fault
    text = str(fault)
    number = next((number for number in NAMED_BY_TENSORFLOW if os.strerror(number) in text), None)
    return OSError(number, os.strerror(number)) if number else OSError()
