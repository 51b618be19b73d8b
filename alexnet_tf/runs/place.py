"""What is a run's folder, and where a new one may begin. No TensorFlow here, so that a wrong path is told at once."""

import difflib
from pathlib import Path

from alexnet_tf.program.errors import UserError
from tfrecords.manifest import MANIFEST_FILE

CONFIG_FILE = "config.yaml"
OWN = {CONFIG_FILE, "checkpoints", "tensorboard", "metrics.jsonl", "saved.json", "best.json", "classes.json"}
"""What only a run has: where one of these is, the folder is a run, or what is left of one."""
TOLD = 3
"""Folders that are named."""


def check_run_place(run: Path) -> None:
    """Refuses a folder that holds something else than a run: pictures, converted data, exported models.

    Single files do no harm, such as the log that a shell writes there.

    Raises:
      UserError: it holds converted data, or folders and no run.
    """
    advice = "give a folder of the run's own, such as runs/first"
    if (run / MANIFEST_FILE).exists():
        raise UserError(f"--run {run} holds converted data; {advice}")
    try:
        found = sorted(run.iterdir()) if run.is_dir() else []
    except OSError:
        return  # which is told when it is opened to write
    names = {path.name for path in found}
    folders = [path.name for path in found if path.is_dir() and not path.name.startswith(".")]
    if folders and not names & OWN:
        named = ", ".join(folders[:TOLD]) + ", ..." * (len(folders) > TOLD)
        raise UserError(f"--run {run} holds other folders ({named}) and no run; {advice}")


def check_is_run(path: Path) -> None:
    """Sees that a path is a run's folder.

    Raises:
      UserError: it is none.
    """
    if not (path / CONFIG_FILE).exists():
        raise UserError(no_run(path))


def no_run(path: Path) -> str:
    """The message about a path that should be a run's folder and is none."""
    if not path.exists():
        near = difflib.get_close_matches(path.name, _names_in(path.parent), 1)
        return f"{path} is no run: it does not exist" + (f"; is {path.parent / near[0]} meant?" if near else "")
    if any((folder / "saved_model.pb").exists() for folder in (path, *path.glob("[0-9]*"))):
        return f"{path} is no run but an exported model: give it with --model, or the run that it came from"
    if (path / MANIFEST_FILE).exists():
        return f"{path} is no run but a folder of converted data: alexnet-tf train --run with data.dir={path} makes one"
    return f"{path} is no run: it has no {CONFIG_FILE} (alexnet-tf train --run makes one)"


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if (path / CONFIG_FILE).exists()]
    except OSError:
        return []
