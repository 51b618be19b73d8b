"""A run made of imported weights, which evaluates, exports and continues to train like any other."""

import contextlib
import os
from pathlib import Path

import numpy as np

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_written
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import UNFINISHED, held, make_folder, put_in_place, remove
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.folder import LOCK_FILE, TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.settings.config import Config
from alexnet_tf.towers import Towers
from alexnet_tf.training.step import TrainingStep
from tfrecords.statistics import Statistics


def write_run(
    path: AnyPath, config: Config, classes: Classes, statistics: Statistics, values: dict[str, np.ndarray]
) -> None:
    """Writes a run's folder as it is before the first step, completely or not at all.

    Args:
      path: the run's folder, which is not there yet or empty.
      config: of the run.
      classes: of its data.
      statistics: with the mean image that the weights expect.
      values: every variable by name, as `named_variables` names them.

    Raises:
      UserError: it cannot be written.
    """
    path = Path(path)
    step = TrainingStep(config.preset, len(classes.keys), Towers.unplaced(), config.train.seed)
    for name, variable in step.variables.items():
        variable.assign(values[name])
    make_folder(path.parent)
    _remove_leftovers(path)
    unfinished = path.with_name(f"{UNFINISHED}{path.name}-{os.getpid()}")
    try:
        with TrainingFolder(unfinished, config, classes, statistics) as folder:
            folder.save(step.checkpoint, TrainingState())
        put_in_place(unfinished, path)
    except OSError as fault:
        raise cannot_be_written(path, fault) from fault
    finally:
        remove(unfinished)


def _remove_leftovers(path: Path) -> None:
    """Removes unfinished runs that killed imports of the same name left; one that is locked is still being written."""
    for old in path.parent.iterdir():
        number = old.name.removeprefix(f"{UNFINISHED}{path.name}-")
        if number != old.name and number.isdecimal() and (old / LOCK_FILE).is_file():
            with contextlib.suppress(UserError), held(old / LOCK_FILE, "being written"):
                remove(old)
