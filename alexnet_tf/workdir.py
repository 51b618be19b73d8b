"""A run's folder: one process at a time, its settings, its metrics and its checkpoints.

    RUN/config.yaml        every setting as it was when the run began
    RUN/classes.json       class keys and names, in label order
    RUN/statistics.npz     mean image and colors of the training data
    RUN/metrics.jsonl      a line every few steps and every validation
    RUN/tensorboard/       the same for TensorBoard
    RUN/checkpoints/       step-00001234/, each whole: written beside and renamed in
    RUN/best.json          which checkpoint has the lowest validation error

With it a run can be evaluated, exported and resumed, the first two without the training data.
"""

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, ConfigDict, ValidationError

from alexnet_tf.config import Config, dump_config, parse_config
from alexnet_tf.devices import Towers
from alexnet_tf.errors import UserError
from alexnet_tf.model import AlexNet, build_alexnet, named_variables
from alexnet_tf.whole_files import write_whole
from tfrecords.manifest import Manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

Which = Literal["best", "latest"]
"""Which of a run's checkpoints: that of the lowest validation error, or the last."""
CHECKPOINT_PREFIX = "step-"
CHANGEABLE_ON_RESUME = {
    "data.dir", "data.statistics", "data.eval_batch_size",
    "train.epochs", "train.steps", "train.log_every", "train.checkpoint_every", "train.stuck_after",
    "devices.towers", "devices.threads", "distribute.index", "distribute.watch_port", "distribute.timeout",
    "distribute.stall_timeout",
}  # fmt: skip
"""Fields that leave the course of a run as it is, however often they change."""


class Classes(BaseModel):
    """Class keys (folder names) and readable names, both in label order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: list[str]
    names: list[str]

    @staticmethod
    def of(manifest: Manifest) -> "Classes":
        """Those of a data set."""
        return Classes(keys=manifest.class_keys, names=manifest.class_names)


class TrainingState(BaseModel):
    """What a checkpoint holds beside weights and velocities."""

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    """Steps done."""
    drops: int = 0
    """How often the plateau schedule has lowered the rate."""
    best_top1_error: float | None = None
    epochs_since_best: int = 0


@dataclass(frozen=True)
class Run:
    """A run's folder, opened for reading."""

    path: Path
    config: Config
    classes: Classes
    statistics: Statistics

    @property
    def num_classes(self) -> int:
        """How many classes the network tells apart."""
        return len(self.classes.keys)

    def load_model(self, towers: Towers, which: Which = "best") -> tuple[AlexNet, Path]:
        """The network with its trained weights, and the checkpoint they came from.

        Raises:
          UserError: the run has no checkpoint, or a damaged one.
        """
        self._checkpoint(which)  # a run without one says so before the network is built
        model = build_alexnet(self.config.preset.network, self.num_classes, towers)
        return model, self.load_weights(named_variables(model), which)

    def load_weights(self, variables: dict[str, tf.Variable], which: Which = "best") -> Path:
        """Gives variables their trained values, by their names, and returns the checkpoint they came from.

        Raises:
          UserError: the run has no checkpoint, or a damaged one.
        """
        checkpoint = self._checkpoint(which)
        _restore(tf.train.Checkpoint(weights=variables), checkpoint, whole=False)
        return checkpoint

    def _checkpoint(self, which: Which) -> Path:
        checkpoint = _best_checkpoint(self.path) if which == "best" else None
        checkpoint = checkpoint or _latest_checkpoint(self.path)
        if checkpoint is None:
            raise UserError(f"run {self.path} has no checkpoint yet; train it first")
        return checkpoint


def open_run(path: Path) -> Run:
    """Opens a run's folder for reading.

    Raises:
      UserError: it is no run's folder, or one of its files is broken.
    """
    if not (path / "config.yaml").is_file():
        raise UserError(f"{path} is no run: it has no config.yaml (train.py --run makes one)")
    config = parse_config((path / "config.yaml").read_text(encoding="utf-8"), str(path / "config.yaml"))
    return Run(path, config, load_classes(path / "classes.json"), Statistics.load(path / STATISTICS_FILE))


def load_classes(path: Path) -> Classes:
    """Reads a classes.json, of a run or of an exported model.

    Raises:
      UserError: it is missing or broken.
    """
    try:
        return Classes.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as fault:
        raise UserError(f"{path} is missing or broken; restore it, or make its folder again") from fault


class TrainingFolder:
    """A run's folder, held by the one process that trains in it.

    Use as a context manager; the lock goes with the process however it ends.
    """

    def __init__(self, path: Path, config: Config, classes: Classes, statistics: Statistics) -> None:
        """Makes the folder, or reopens it after checking that it is the same experiment.

        Raises:
          UserError: another process trains here, or settings or classes changed since the run began.
        """
        self.path = path
        self.classes = classes
        path.mkdir(parents=True, exist_ok=True)
        self.checkpoints = path / "checkpoints"
        self._metrics: TextIO | None = None
        self._lock = _lock(path)
        try:
            self._prepare(config, classes, statistics)
        except BaseException:
            self._lock.close()
            raise

    def _prepare(self, config: Config, classes: Classes, statistics: Statistics) -> None:
        path = self.path
        self.checkpoints.mkdir(exist_ok=True)
        for leftover in self.checkpoints.glob(".unfinished-*"):
            shutil.rmtree(leftover)
        if (path / "config.yaml").exists():
            _check_same_experiment(open_run(path), config, classes, statistics)
        else:
            statistics.save(path / STATISTICS_FILE)
            write_whole(path / "classes.json", classes.model_dump_json(indent=1).encode())
        write_whole(path / "config.yaml", dump_config(config).encode())

    def __enter__(self) -> "TrainingFolder":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._metrics:
            self._metrics.close()
        self._lock.close()

    def save(self, checkpoint: tf.train.Checkpoint, state: TrainingState, *, is_best: bool) -> None:
        """Writes a checkpoint whole or not at all, then drops all but the best and the two latest."""
        name = f"{CHECKPOINT_PREFIX}{state.step:08d}"
        unfinished = self.checkpoints / f".unfinished-{name}"
        checkpoint.write(str(unfinished / "variables"))
        (unfinished / "state.json").write_text(state.model_dump_json())
        finished = self.checkpoints / name
        if finished.exists():  # the same step again, as after a resume at an epoch's end
            shutil.rmtree(finished)
        os.replace(unfinished, finished)
        if is_best:
            best = {"checkpoint": name, "top1_error": state.best_top1_error}
            write_whole(self.path / "best.json", json.dumps(best).encode())
        keep = {*_checkpoints(self.path)[-2:], _best_checkpoint(self.path)}
        for old in _checkpoints(self.path):
            if old not in keep:
                shutil.rmtree(old)

    def has_checkpoint(self) -> bool:
        """Whether anything has been saved yet."""
        return _latest_checkpoint(self.path) is not None

    def restore(self, checkpoint: tf.train.Checkpoint) -> TrainingState:
        """Loads the latest checkpoint into `checkpoint`; a fresh state where there is none.

        Raises:
          UserError: the latest checkpoint is damaged, or all are gone. Never starts over in silence.
        """
        latest = _latest_checkpoint(self.path)
        if latest is None:
            if '"checkpoint"' in _text(self.path / "metrics.jsonl"):
                raise UserError(f"the checkpoints of run {self.path} are gone; restore them or use another --run")
            return TrainingState()
        _best_checkpoint(self.path)  # told now, not after an epoch of training
        try:
            state = TrainingState.model_validate_json((latest / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValidationError) as fault:
            raise _damaged(latest, fault) from fault
        _restore(checkpoint, latest, whole=True)
        return state

    def start_metrics(self, state: TrainingState) -> None:
        """Opens metrics.jsonl; what a killed run wrote after its last checkpoint is cut off, for it is done again."""
        path = self.path / "metrics.jsonl"
        kept = [line for line in _text(path).splitlines() if _step_of(line) <= state.step]
        write_whole(path, "".join(line + "\n" for line in kept).encode())
        self._metrics = path.open("a", encoding="utf-8")

    def log(self, **fields: Any) -> None:
        """Adds a line to metrics.jsonl."""
        assert self._metrics is not None, "start_metrics comes first"
        self._metrics.write(json.dumps(fields) + "\n")
        self._metrics.flush()


class OthersFolder(TrainingFolder):
    """A run's folder as workers other than the first have it: not at all. They get everything from the first."""

    def __init__(self, path: Path, classes: Classes) -> None:
        self.path = path
        self.classes = classes

    def __exit__(self, *exception: object) -> None:
        """Nothing is held."""

    def save(self, checkpoint: tf.train.Checkpoint, state: TrainingState, *, is_best: bool) -> None:
        """The first worker saves."""

    def has_checkpoint(self) -> bool:
        """For this worker nothing is ever fresh."""
        return True

    def restore(self, checkpoint: tf.train.Checkpoint) -> TrainingState:
        """The first worker's state is given to all."""
        return TrainingState()

    def log(self, **fields: Any) -> None:
        """The first worker logs."""


def _lock(path: Path) -> TextIO:
    lock = (path / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        lock.close()
        raise UserError(f"run {path} is being trained by another process; wait for it or use another --run") from fault
    return lock


def _check_same_experiment(run: Run, config: Config, classes: Classes, statistics: Statistics) -> None:
    if run.classes.keys != classes.keys:
        raise UserError(
            f"run {run.path} was trained on {run.num_classes} classes, {config.data.dir} has {len(classes.keys)} "
            "or other ones; use its own data or another --run"
        )
    if not np.array_equal(run.statistics.mean_image, statistics.mean_image):
        raise UserError(
            f"{config.data.dir} holds other training pictures than run {run.path} began with (another mean image); "
            "use its own data or another --run"
        )
    before, now = run.config.model_dump(mode="json"), config.model_dump(mode="json")
    for section, fields in now.items():
        for key, value in fields.items():
            name = f"{section}.{key}"
            if name == "distribute.workers" and max(1, len(before[section][key])) == max(1, len(value)):
                continue  # other machines, and as many
            if before[section][key] != value and name not in CHANGEABLE_ON_RESUME:
                raise UserError(
                    f"{name} was {before[section][key]} when run {run.path} began and is {value} now; "
                    "set it back or use another --run"
                )


def _checkpoints(run: Path) -> list[Path]:
    """The finished checkpoints in the order of their steps."""
    return sorted((run / "checkpoints").glob(f"{CHECKPOINT_PREFIX}*"))


def _latest_checkpoint(run: Path) -> Path | None:
    found = _checkpoints(run)
    return found[-1] if found else None


def _best_checkpoint(run: Path) -> Path | None:
    try:
        name = json.loads((run / "best.json").read_text(encoding="utf-8"))["checkpoint"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as fault:
        raise UserError(f"{run / 'best.json'} is broken; delete it to use the latest checkpoint") from fault
    best = run / "checkpoints" / str(name)
    if not best.is_dir():
        raise UserError(
            f"{run / 'best.json'} names {name}, which is missing; delete the file to use the latest checkpoint"
        )
    return best


def _restore(checkpoint: tf.train.Checkpoint, folder: Path, *, whole: bool) -> None:
    try:
        status = checkpoint.read(str(folder / "variables"))
        status.assert_consumed() if whole else status.expect_partial().assert_existing_objects_matched()
    except ValueError as fault:  # a tensor of another shape
        raise UserError(f"checkpoint {folder} holds another network than this run's config: {fault}") from fault
    except (tf.errors.OpError, AssertionError, IndexError, RuntimeError) as fault:  # as the damage would have it
        raise _damaged(folder, fault) from fault


def _damaged(folder: Path, fault: Exception) -> UserError:
    reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
    return UserError(f"checkpoint {folder} is damaged ({reason}); move it away to go on from the one before it")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # half a line, from a run that was killed while writing it


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
