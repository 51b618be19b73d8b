"""A model's folder as TensorFlow Serving's base_path: one folder a version, named by its number. No TensorFlow here."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.whole_files import held, make_folder

ASSETS = Path("assets.extra")
CLASSES_FILE = ASSETS / "classes.json"
"""Class keys and names, in label order."""
MODEL_FILE = ASSETS / "model.json"
"""Where the model comes from, how good it is, under which licence it may be used, and its limits."""
WARM_UP_FILE = ASSETS / "tf_serving_warmup_requests"
UNFINISHED = ".unfinished-"  # TensorFlow Serving looks only at folders whose names are numbers
LOCK = ".lock"


def versions(model: Path) -> list[int]:
    """The versions in a model's folder, ascending."""
    if not model.is_dir():
        return []
    return sorted(int(path.name) for path in model.iterdir() if path.name.isdecimal() and path.is_dir())


def newest_version(model: Path) -> Path:
    """The highest version in a model's folder; a version's own folder stands for itself.

    Raises:
      UserError: there is no exported model.
    """
    if (model / "saved_model.pb").is_file():
        return model
    found = versions(model)
    if not found:
        raise UserError(f"{model} holds no exported model; make one with export.py --out {model}")
    return model / str(found[-1])


@contextmanager
def new_version(out: Path, version: int | None) -> Iterator[tuple[Path, Path]]:
    """A folder to write a version in, renamed to its number when the block ends well, removed when it does not.

    Args:
      out: the model's folder; made where it is missing.
      version: a positive number; None takes one more than the highest there.

    Yields:
      The folder to write, which does not exist yet, and the folder that it becomes.

    Raises:
      UserError: the version exists, or another process writes a version here.
    """
    with _locked(out):
        for leftover in out.glob(f"{UNFINISHED}*"):  # of an export that was killed
            shutil.rmtree(leftover)
        finished = out / str(max(versions(out), default=0) + 1 if version is None else version)
        if finished.exists():
            raise UserError(f"{finished} exists and stays as it is; give another --version or none for the next")
        unfinished = out / f"{UNFINISHED}{finished.name}"
        try:
            yield unfinished, finished
            os.rename(unfinished, finished)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def remove_old_versions(out: Path, keep: int) -> list[int]:
    """Removes all versions but the newest and `keep` older ones. Returns what it removed.

    A version is renamed before its files go, so that nobody loads half of one. A server that has loaded it already
    serves on from memory until it takes up the new one.
    """
    with _locked(out):
        removed = versions(out)[: -1 - keep]
        for version in removed:
            leaving = out / f"{UNFINISHED}{version}"
            os.rename(out / str(version), leaving)
            shutil.rmtree(leaving)
    return removed


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    make_folder(out)
    with held(out / LOCK, f"--out {out} is being written by another export; wait for it"):
        yield
