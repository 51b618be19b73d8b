"""A run's folder, held by the one process that trains in it.

    RUN/config.yaml        every setting as it was when the run began, and as it is now where it may change
    RUN/resolved.yaml      the same with every value that the preset decides, and where each comes from, for people
    RUN/classes.json       class keys and names, in label order
    RUN/statistics.npz     mean image and colors of the training data
    RUN/tuned.json         where devices.tune is on, how the run computes, and what that rests on (training.tuning)
    RUN/metrics.jsonl      a line every few steps and every validation
    RUN/tensorboard/       the same for TensorBoard
    RUN/checkpoints/       step-00001234/, each complete: written beside and then renamed
    RUN/saved.json         says that there were checkpoints, so that their loss is no fresh start
    RUN/best.json          which checkpoint has the lowest validation error, for people and scripts

With it a run can be evaluated, exported and resumed, the first two without the training data.
"""

import contextlib
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import UNFINISHED, hold, make_folder, write_whole
from alexnet_tf.runs.checkpoints import BEST_FILE, check_files, make_checkpoints
from alexnet_tf.runs.classes import Classes, load_classes
from alexnet_tf.runs.experiment import Experiment
from alexnet_tf.runs.metrics import METRICS_FILE, Metrics, read_lines
from alexnet_tf.runs.place import CONFIG_FILE
from alexnet_tf.runs.records import TrainingState, step_of
from alexnet_tf.runs.resume_checks import check_same_experiment, check_same_run, check_unbound
from alexnet_tf.runs.run import CLASSES_FILE, CLASSES_REMEDY, latest_record, open_run, unbound_line
from alexnet_tf.settings.config import Config, dump_config
from tfrecords.manifest import Manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

LOCK_FILE = "lock"
SAVED_FILE = "saved.json"


class TrainingFolder:
    """A run's folder, held by the one process that trains in it.

    Use as a context manager; the lock goes with the process however it ends.
    """

    writes = True
    """Whether this process writes the folder's files."""

    def __init__(
        self, path: AnyPath, config: Config, classes: Classes, statistics: Statistics, manifest: Manifest | None = None
    ) -> None:
        """Makes the folder, or reopens it after checking that it is the same experiment.

        Args:
          path: the folder.
          config: in force now.
          classes: of the data.
          statistics: trained with.
          manifest: of the data; None where nothing is trained, as when weights are imported.

        Raises:
          UserError: another process trains here, settings, classes, statistics or data changed since the latest
            checkpoint was saved, that one is damaged, or all are gone.
        """
        self.path = path = Path(path)
        self.classes = classes
        self._said: set[str] = set()
        self._metrics: Metrics | None = None
        make_folder(path)
        self._lock = hold(
            path / LOCK_FILE, f"run {path} is being trained by another process; wait for it or use another --run"
        )
        try:
            self.checkpoints = make_checkpoints(path)
            self.experiment = Experiment.of(config, classes, statistics, manifest)
            self._own = config, classes, statistics
            self._prepare(*self._own)
        except BaseException:
            self._lock.close()
            raise

    def _prepare(self, config: Config, classes: Classes, statistics: Statistics) -> None:
        self.checkpoints.remove_leftovers(self._say_once)
        self._name_foreign()
        self.latest = latest_record(self.checkpoints)
        if self.latest is None and self._saved_before():
            raise UserError(f"the checkpoints of run {self.path} are gone; restore them or use another --run")
        self._check_nothing_in_the_way()
        self._restore_classes(classes)
        if (self.path / CONFIG_FILE).exists():
            check_same_run(open_run(self.path), config, classes, statistics)
        if self.latest is not None:
            checkpoint, record = self.latest
            if record.experiment is None:
                check_unbound(self.path, checkpoint)
                self._say_once(unbound_line(checkpoint))
            else:
                check_same_experiment(self.path, checkpoint, record.experiment, self.experiment, config)
            self._mark_saved()
            self.checkpoints.best(self._say_once)
            self.checkpoints.write_best(self._say_once)
        self._write_own(config, classes, statistics)

    def _restore_classes(self, classes: Classes) -> None:
        """Writes lost classes again, where the latest checkpoint says that the classes of the data are the same."""
        path, saved = self.path / CLASSES_FILE, self.latest and self.latest[1].experiment
        if saved and saved.classes == classes.digest() and not os.path.lexists(path):
            self._say_once(f"{path} was missing and is written anew from the data")
            write_whole(path, classes.model_dump_json(indent=1).encode())

    def _check_nothing_in_the_way(self) -> None:
        """Refuses what has the name of a future checkpoint: it would end the run only when that is saved."""
        last = self.latest[1].step if self.latest else -1
        for path in self.checkpoints.foreign():
            if (step_of(path.name.removeprefix(UNFINISHED)) or 0) > last:
                raise UserError(f"{path} is no checkpoint, but bears the name of one to come; move it out of there")

    def _write_own(self, config: Config, classes: Classes, statistics: Statistics) -> None:
        """Writes the run's own files, and none over another's; config.yaml last, because it makes the folder a run."""
        path = self.path / STATISTICS_FILE
        if not path.exists():
            statistics.save(path)
        elif Statistics.load(path, "restore it or use another --run").digest() != statistics.digest():
            raise UserError(f"{path} is not the one that this run trains with; use another --run")
        path = self.path / CLASSES_FILE
        if not path.exists():
            write_whole(path, classes.model_dump_json(indent=1).encode())
        elif load_classes(path, CLASSES_REMEDY).keys != classes.keys:
            raise UserError(f"{path} does not tell the classes that this run trains on; use another --run")
        path, content = self.path / CONFIG_FILE, dump_config(config).encode()
        if not path.exists() or path.read_bytes() != content:
            write_whole(path, content)

    def _saved_before(self) -> bool:
        if (self.path / SAVED_FILE).exists() or (self.path / BEST_FILE).exists():
            return True
        if not (self.path / METRICS_FILE).is_file():  # such as a folder
            return False
        lines = read_lines(self.path / METRICS_FILE)
        return any(fields is not None and fields["kind"] == "checkpoint" for _, fields in lines)

    def _mark_saved(self) -> None:
        """Called once there is a checkpoint, never before: a kill in between would leave a run that cannot start."""
        path = self.path / SAVED_FILE
        if not path.exists():
            write_whole(path, json.dumps({"checkpoints": True}).encode())

    def _name_foreign(self) -> None:
        new = [path for path in self.checkpoints.foreign() if str(path) not in self._said]
        self._said |= {str(path) for path in new}
        if new:
            names = ", ".join(path.name for path in new[:20]) + (f" and {len(new) - 20} more" if len(new) > 20 else "")
            _say(f"left alone in {self.checkpoints.folder}, for they are no checkpoints of this program: {names}")

    def __enter__(self) -> "TrainingFolder":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._metrics:
            try:
                self._metrics.close()
            except (OSError, UserError):
                self._say_once(f"{self._metrics.path} lacks the lines that waited; those in tensorboard/ are the same")
        self._lock.close()

    def save(self, checkpoint: tf.train.Checkpoint, state: TrainingState, top1_error: float | None = None) -> None:
        """Writes a checkpoint whole or not at all, then drops all but the best and the two latest.

        Args:
          checkpoint: the variables.
          state: where training stands.
          top1_error: on the validation split, where that is known already.

        Raises:
          UserError: it cannot be written; those from before are still there.
        """
        self._return_to_place(state)
        self.checkpoints.save(checkpoint, state, self.experiment, top1_error)
        if self._metrics:
            self.log(kind="checkpoint", step=state.step)
        self._tidy()

    def _return_to_place(self, state: TrainingState) -> None:
        """Makes the folder anew where it was moved or removed meanwhile; another training may be in its place."""
        with contextlib.suppress(OSError, ValueError):
            if os.path.samestat(os.stat(self.path / LOCK_FILE), os.fstat(self._lock.fileno())):
                return
        moved = f"run {self.path} was moved, removed or replaced while it was trained"
        make_folder(self.path)
        self._lock.close()  # first: should the file be the same one after all, its lock is this process's own
        self._lock = hold(
            self.path / LOCK_FILE,
            f"{moved}, and another process trains in its place; start this one again where it is now",
        )
        make_checkpoints(self.path)
        self._prepare(*self._own)
        if self.latest is not None and self.latest[1].step >= state.step:
            raise UserError(f"{moved}: it is at step {self.latest[1].step} now; run the same command again to go on")
        self._say_once(f"{moved}; it goes on under the same path, with what is saved from now on")
        if self._metrics:
            with contextlib.suppress(OSError, UserError):
                self._metrics.close()
            self.start_metrics(state)

    def add_validation(self, state: TrainingState, top1_error: float) -> None:
        """Adds the result of its validation to the checkpoint of `state.step`.

        Raises:
          UserError: it cannot be written; the validation is done again when the run goes on.
        """
        self.checkpoints.add_validation(state, top1_error)
        self._tidy()

    def _tidy(self) -> None:
        """Cleans up after a save; whatever goes wrong here is reported and ends no run."""
        if self._metrics:
            self._log_to(Metrics.to_disk)
        try:
            self._mark_saved()
            self._name_foreign()
            self.checkpoints.tidy(self._say_once)
        except UserError as fault:
            self._say_once(f"{fault}; the checkpoint itself is saved")
        except OSError as fault:
            self._say_once(f"{self.checkpoints.folder}: {fault.strerror}; the checkpoint itself is saved")

    def check_room(self, size: int) -> None:
        """Looks whether a checkpoint of `size` bytes can be written here, before there is work that could be lost.

        Raises:
          UserError: no file may become so large. A full disk only gets a warning: it may have room by then.
        """
        allowed, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if resource.RLIM_INFINITY != allowed < size:
            raise UserError(
                f"a checkpoint takes a file of {size} bytes, and this process may write {allowed}: raise the limit on "
                "the size of files (ulimit -f)"
            )
        free = shutil.disk_usage(self.path).free
        if free < size:
            self._say_once(
                f"warning: {self.path} has room for {free} bytes and a checkpoint takes {size}: free some space there "
                "before the first is due"
            )

    def has_checkpoint(self) -> bool:
        """Whether anything has been saved yet."""
        return self.checkpoints.latest() is not None

    def restore(self, checkpoint: tf.train.Checkpoint) -> TrainingState:
        """Loads the latest checkpoint into `checkpoint`; a fresh state where there is none.

        Raises:
          UserError: the latest checkpoint is damaged, or of another network. Never starts over in silence.
        """
        latest = latest_record(self.checkpoints)
        if latest is None:
            return TrainingState()
        folder, record = latest
        check_files(folder, record)
        self.checkpoints.restore(checkpoint, folder, whole=True)
        return record.state

    def start_metrics(self, state: TrainingState) -> None:
        """Opens metrics.jsonl, and cuts off what a killed run wrote after its last checkpoint: it is done again."""
        self._metrics = Metrics(self.path / METRICS_FILE, state.step, validated=not state.validation_due)
        self._log_to(Metrics.begin)
        if self._metrics.broken:
            self._say_once(f"{self._metrics.path}: {self._metrics.broken} broken lines were left out")
        kinds = self._metrics.kinds
        saved = self.latest is not None and self.latest[1].step == state.step
        if saved and state.step and kinds is not None and "checkpoint" not in kinds:
            self.log(kind="checkpoint", step=state.step)  # killed before it came

    def log(self, **fields: Any) -> None:
        """Adds a line to metrics.jsonl; where it cannot be written, that is reported once and the run continues."""
        self._log_to(lambda metrics: metrics.log(**fields))

    def _log_to(self, act: Callable[[Metrics], None]) -> None:
        assert self._metrics is not None, "start_metrics comes first"
        try:
            act(self._metrics)
        except (OSError, UserError) as fault:
            reason = getattr(fault.__cause__ or fault, "strerror", None) or fault
            self._say_once(
                f"{self._metrics.path} cannot be used ({reason}); the run continues; its lines wait until that is fixed"
            )

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            _say(line)


class OthersFolder(TrainingFolder):
    """The folder for workers other than the first, which have none: they get everything from the first."""

    writes = False

    def __init__(self, path: Path, classes: Classes) -> None:
        self.path = path
        self.classes = classes

    def __exit__(self, *exception: object) -> None:
        """Nothing is held."""

    def save(self, checkpoint: tf.train.Checkpoint, state: TrainingState, top1_error: float | None = None) -> None:
        """The first worker saves."""

    def add_validation(self, state: TrainingState, top1_error: float) -> None:
        """The first worker saves."""

    def check_room(self, size: int) -> None:
        """The first worker writes."""

    def has_checkpoint(self) -> bool:
        """Always True: nothing is fresh for this worker."""
        return True

    def restore(self, checkpoint: tf.train.Checkpoint) -> TrainingState:
        """The first worker's state is given to all."""
        return TrainingState()

    def log(self, **fields: Any) -> None:
        """The first worker logs."""


def _say(line: str) -> None:
    """Prints a line on stderr, above a progress bar where there is one."""
    tqdm.write(line, file=sys.stderr)
