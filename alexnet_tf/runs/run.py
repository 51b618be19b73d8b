"""A run's folder, opened for reading: to be evaluated, exported or begun from, without the training data."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tensorflow as tf

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import read_whole
from alexnet_tf.runs.checkpoints import Checkpoints, check_files
from alexnet_tf.runs.classes import Classes, load_classes
from alexnet_tf.runs.experiment import Experiment, changed_settings
from alexnet_tf.runs.place import CONFIG_FILE, check_is_run
from alexnet_tf.runs.records import Record, read_record
from alexnet_tf.settings.config import Config, parse_config
from tfrecords.exif import Exif
from tfrecords.statistics import STATISTICS_FILE, Statistics

CLASSES_FILE = "classes.json"
CLASSES_REMEDY = (
    "restore it from a copy, or move it away: the command that the run was trained with writes it anew from the data"
)
Which = Literal["best", "latest"]
"""Which of a run's checkpoints: the one with the lowest validation error, or the last."""


@dataclass(frozen=True)
class Run:
    """A run's folder, opened for reading."""

    path: Path
    config: Config
    classes: Classes
    statistics: Statistics

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes.keys)

    def load_weights(self, variables: dict[str, tf.Variable], which: Which = "best") -> Path:
        """Gives variables their trained values, by their names, and returns the checkpoint they came from.

        Raises:
          UserError: the run has no checkpoint, a damaged one, or one of other settings than the run's files tell.
        """
        checkpoint = self.checkpoint(which)
        self.load(variables, checkpoint)
        return checkpoint

    def load(self, variables: dict[str, tf.Variable], checkpoint: Path) -> None:
        """Gives variables the values that a checkpoint, from `checkpoint`, has under their names."""
        Checkpoints(self.path).restore(tf.train.Checkpoint(weights=variables), checkpoint, whole=False)

    def checkpoint(self, which: Which = "best") -> Path:
        """The folder of the best or the latest checkpoint, which is checked.

        Raises:
          UserError: the run has no checkpoint, a damaged one, or one of other settings than the run's files tell.
        """
        checkpoints = Checkpoints(self.path)
        checkpoint = checkpoints.best(_warn) if which == "best" else None
        checkpoint = checkpoint or checkpoints.latest()
        if checkpoint is None:
            raise UserError(f"run {self.path} has no checkpoint yet; train it first")
        record = read_record(checkpoint)
        if record.experiment is None:
            _warn(unbound_line(checkpoint))
        else:
            self._check_own(checkpoint, record.experiment)
        check_files(checkpoint, record)
        return checkpoint

    def exif(self, checkpoint: Path) -> Exif:
        """Whether the pictures that a checkpoint was trained on were turned by their EXIF orientation."""
        experiment = read_record(checkpoint).experiment
        return experiment.exif if experiment else "ignore"

    def _check_own(self, checkpoint: Path, saved: Experiment) -> None:
        """Checks that the run's files are those that the checkpoint was saved with."""
        now = Experiment.of(self.config, self.classes, self.statistics, None)
        for name, before, value in changed_settings(saved.settings, now.settings):
            raise UserError(
                f"{self.path / CONFIG_FILE}: {name} is {value}, but it was {before} when checkpoint {checkpoint} was "
                "saved; restore the file"
            )
        for file, before, value in (
            (CLASSES_FILE, saved.classes, now.classes), (STATISTICS_FILE, saved.statistics, now.statistics),
        ):  # fmt: skip
            if before != value:
                raise UserError(
                    f"{self.path / file} is not the one that checkpoint {checkpoint} was saved with; restore the file"
                )


def open_run(path: AnyPath) -> Run:
    """Opens a run's folder for reading.

    Raises:
      UserError: it is no run's folder, or one of its files is broken.
    """
    path = Path(path)
    check_is_run(path)
    config = _read_config(path / CONFIG_FILE)
    source = config.data.statistics or config.data.dir / STATISTICS_FILE
    remedy = "restore it" + (f", as a copy of {source}, which the run began with" if source.parent != path else "")
    statistics = Statistics.load(path / STATISTICS_FILE, remedy)
    return Run(path, config, load_classes(path / CLASSES_FILE, CLASSES_REMEDY), statistics)


def unbound_line(checkpoint: Path) -> str:
    """The message about a checkpoint of an earlier version."""
    return (
        f"checkpoint {checkpoint} was saved by an earlier version, which did not bind its settings, files and data to "
        "it; they are taken as they are"
    )


def latest_record(checkpoints: Checkpoints) -> tuple[Path, Record] | None:
    """The latest checkpoint and what it says; None where there is none.

    Raises:
      UserError: it is damaged.
    """
    latest = checkpoints.latest()
    return (latest, read_record(latest)) if latest else None


def _read_config(path: Path) -> Config:
    try:
        text = read_whole(path).decode()
        if not text.strip():
            raise UserError(f"{path} is empty; {_config_remedy(path)}")
        return parse_config(text, str(path))
    except OSError as fault:
        raise cannot_be_read(path, fault) from fault
    except UnicodeDecodeError as fault:
        raise UserError(f"{path} is no UTF-8 text; {_config_remedy(path)}") from fault
    except (ValueError, OverflowError, RecursionError, AttributeError, TypeError) as fault:  # as YAML's reader has it
        raise UserError(f"{path} is broken; {_config_remedy(path)}") from fault


def _config_remedy(path: Path) -> str:
    latest = latest_record(Checkpoints(path.parent))
    if latest and latest[1].experiment is None:
        return "restore it"  # nothing else tells the settings
    return "restore it; or delete it and give the command that the run was trained with, which writes it anew"


def _warn(line: str) -> None:
    print(line, file=sys.stderr)
