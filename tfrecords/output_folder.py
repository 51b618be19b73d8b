"""The folder that a conversion writes: never over a finished one, and resumed where it was interrupted.

While a conversion is under way, DATA/.unfinished holds unfinished files, the records of the
finished shards, and what the conversion was begun with. Only whole files ever get a final name.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read, cannot_be_written
from alexnet_tf.program.text_files import read_text
from alexnet_tf.program.whole_files import held, make_folder, write_whole
from tfrecords.finished_shards import RECORD_END
from tfrecords.manifest import MANIFEST_FILE

WORK_FOLDER = ".unfinished"
"""Lies in a folder from the first shard to the manifest; without it, files there are not ours."""

SHARD_NAME = re.compile(r"(train|val)-\d{5}-of-\d{5}")
LOCK_FILE = "lock"
IDENTITY_FILE = "conversion.json"

BEFORE_IT_WAS_CHOSEN = {"channels": 3, "exif": "ignore"}
"""What an option had to be in a version that did not have it yet."""

Identity = dict[str, dict[str, Any]]
"""What a conversion's bytes depend on, by the name under which a difference is reported."""


@contextlib.contextmanager
def unfinished_output(out: Path, identity: Identity) -> Iterator[Path]:
    """Makes `out` ready to be written; the manifest must be in it when the block ends.

    If the block fails or the process is killed, finished shards stay for a later call with the same
    identity. If there are none, nothing stays.

    Yields:
      The folder for unfinished files.

    Raises:
      UserError: `out` is finished, holds other files or another unfinished conversion, is being
        written by another process, or cannot be written.
    """
    created = not out.exists()
    work = out / WORK_FOLDER
    try:
        _refuse_foreign(out, work)
    except OSError as fault:
        raise cannot_be_read(f"--out {out}", fault) from fault
    make_folder(work)
    with held(work / LOCK_FILE, f"--out {out} is being written by another conversion: wait for it"):
        try:
            _begin(out, work, identity)
            yield work
        except OSError as fault:
            raise cannot_be_written(out, fault) from fault
        finally:
            _tidy(out, work, created)


def _refuse_foreign(out: Path, work: Path) -> None:
    if (out / MANIFEST_FILE).exists():
        shutil.rmtree(work, ignore_errors=True)  # of a conversion that was killed at its very end
        raise UserError(f"--out {out} holds a finished conversion: remove it or choose another folder")
    ours = work.is_dir() and ((work / LOCK_FILE).exists() or not any(work.iterdir()))
    if out.exists() and any(out.iterdir()) and not ours:
        raise UserError(f"--out {out} holds other files: choose an empty or new folder")


def _begin(out: Path, work: Path, identity: Identity) -> None:
    """Resumes the same conversion, begins a new one, and refuses a different one."""
    _remove_half_done(work)
    path = work / IDENTITY_FILE
    if not any(work.glob("*" + RECORD_END)):
        _remove_shards(out)
        write_whole(path, json.dumps(identity, indent=1).encode())
        return
    before = _identity_before(path, out)
    if before == identity:
        return
    for part, now in identity.items():
        then = before.get(part, {})
        for name in now:
            earlier = then.get(name, BEFORE_IT_WAS_CHOSEN.get(name))
            if now[name] != earlier:
                differs = f"{part}, {name} {earlier} instead of {now[name]}"
                option = f" (perhaps with --{name} {earlier})" if part == "options" else ""
                raise UserError(
                    f"--out {out} holds an unfinished conversion of other {differs}: "
                    f"give the command that it was begun with{option}, or remove {out}"
                )


def _identity_before(path: Path, out: Path) -> Identity:
    """What an interrupted conversion was begun with."""
    try:
        before = json.loads(read_text(path))
        if isinstance(before, dict) and all(isinstance(part, dict) for part in before.values()):
            return before
    except (OSError, ValueError, RecursionError, UserError):
        pass
    raise UserError(f"{path} is missing or broken, so the conversion in {out} cannot be resumed: remove {out}")


def _remove_half_done(work: Path) -> None:
    for path in work.iterdir():
        if path.name not in (LOCK_FILE, IDENTITY_FILE) and not path.name.endswith(RECORD_END):
            path.unlink()


def _tidy(out: Path, work: Path, created: bool) -> None:
    if (out / MANIFEST_FILE).exists():
        shutil.rmtree(work)
        return
    _remove_half_done(work)
    if any(work.glob("*" + RECORD_END)):
        return
    _remove_shards(out)
    shutil.rmtree(work)
    if created:
        with contextlib.suppress(OSError):  # not empty: somebody else's files
            out.rmdir()


def _remove_shards(out: Path) -> None:
    """Shards without a record: whatever wrote them was stopped before it came to that."""
    for path in out.iterdir():
        if SHARD_NAME.fullmatch(path.name):
            path.unlink()
