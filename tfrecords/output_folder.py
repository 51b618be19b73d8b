"""The folder that a conversion writes: never over a finished one, nothing half-done left behind."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from alexnet_tf.errors import UserError
from tfrecords.manifest import MANIFEST_FILE

MARKER = ".unfinished"
"""Lies in a folder from the first shard to the manifest; without it, files there are not ours."""

OUR_FILES = (
    "train-*-of-*",
    "val-*-of-*",
    ".unfinished-*",
    "statistics.npz",
    "dataset_info.json",
    "features.json",
    "*.labels.txt",
)


@contextlib.contextmanager
def unfinished_output(out: Path) -> Iterator[None]:
    """Makes `out` ready to be written; the manifest must be in it when the block ends.

    If the block fails, everything that it wrote is removed. If the process is killed outright, the
    next conversion removes it.

    Raises:
        UserError: `out` is finished, holds other files, is being written by another process, or
            cannot be written.
    """
    created = not out.exists()
    try:
        _refuse_foreign(out)
        out.mkdir(parents=True, exist_ok=True)
        marker = (out / MARKER).open("w")
    except OSError as fault:
        raise UserError(f"--out {out} cannot be written: {fault.strerror}") from fault
    with marker:
        _lock(marker.fileno(), out)
        try:
            _remove_leftovers(out)
            yield
        except OSError as fault:
            raise UserError(f"{out} cannot be written: {fault.strerror or fault}") from fault
        finally:
            if not (out / MANIFEST_FILE).exists():
                _remove_leftovers(out)
            (out / MARKER).unlink(missing_ok=True)
            if created:
                with contextlib.suppress(OSError):  # not empty: finished, or somebody else's files
                    out.rmdir()


def _refuse_foreign(out: Path) -> None:
    if (out / MANIFEST_FILE).exists():
        raise UserError(f"--out {out} holds a finished conversion: remove it or choose another folder")
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise UserError(f"--out {out} holds other files: choose an empty or new folder")


def _lock(descriptor: int, out: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(f"--out {out} is being written by another conversion: wait for it") from None


def _remove_leftovers(out: Path) -> None:
    for pattern in OUR_FILES:
        for path in out.glob(pattern):
            path.unlink()
