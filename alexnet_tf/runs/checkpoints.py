"""The checkpoints of a run: written whole, found again by exact name and content, the best and the two latest kept.

    checkpoints/step-00001234/variables.*   weights and velocities, as tf.train.Checkpoint writes them
    checkpoints/step-00001234/state.json    see records.py

Anything else in the folder was not made by the program: it is left alone, and reported.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read, cannot_be_written, system_fault
from alexnet_tf.program.pattern_paths import is_pattern
from alexnet_tf.program.whole_files import UNFINISHED, make_folder, put_in_place, read_whole, remove, write_whole
from alexnet_tf.runs.experiment import Experiment, same_experiment
from alexnet_tf.runs.metrics import METRICS_FILE, read_lines
from alexnet_tf.runs.records import (
    CHECKPOINT_FILES,
    CHECKPOINT_NAME,
    STATE_FILE,
    Record,
    TrainingState,
    checkpoint_name,
    damaged,
    read_record,
    step_of,
    unreadable,
)
from tfrecords.manifest import file_sha256

BEST_FILE = "best.json"
"""In the run's folder, for people and scripts: which checkpoint is the best. The program reads it from the checkpoints
themselves; only where they are of an earlier version, this file and metrics.jsonl tell what they do not."""
TEMPORARY = "variables_temp"
"""TensorFlow's own folder inside a checkpoint that it writes, removed again at the end."""
KEPT = 2
"""How many of the latest checkpoints are kept, beside the best."""
Say = Callable[[str], None]


class Checkpoints:
    """The checkpoints of one run.

    Args:
      run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.folder = run / "checkpoints"

    def found(self) -> list[Path]:
        """The checkpoints, damaged ones too, in the order of their steps."""
        return sorted((path for path in self._entries() if _is_checkpoint(path)), key=lambda path: int(path.name[5:]))

    def latest(self) -> Path | None:
        """The checkpoint of the highest step."""
        found = self.found()
        return found[-1] if found else None

    def foreign(self) -> list[Path]:
        """The files and folders that are no checkpoints."""
        return sorted(path for path in self._entries() if not _is_checkpoint(path))

    def best(self, say: Say) -> Path | None:
        """The checkpoint with the lowest validation error; None where none was validated.

        Args:
          say: gets a line if the checkpoint that was the best is gone.

        Raises:
          UserError: the best one may be one that is damaged.
        """
        records, broken, of_others = self._records()
        for other in of_others:
            say(f"{other} is not considered: it was saved with other settings or data than the latest one")
        errors = self._errors(records)
        best = _lowest(errors)
        lowest = min((r.best_top1_error for r in records.values() if r.best_top1_error is not None), default=None)
        if lowest is None or (best is not None and errors[best] <= lowest):
            return best
        if broken:
            raise next(iter(broken.values()))
        instead = f"the best of those there is {best.name}" if best else "of those there none was validated"
        say(f"run {self.run}: the checkpoint with the lowest validation error, {lowest:.2%}, is gone; {instead}")
        return best

    def save(
        self, checkpoint: tf.train.Checkpoint, state: TrainingState, experiment: Experiment,
        top1_error: float | None = None,
    ) -> None:  # fmt: skip
        """Writes a checkpoint, whole or not at all.

        Args:
          checkpoint: the variables.
          state: where training stands.
          experiment: what it is bound to.
          top1_error: on the validation split, where that is known already.

        Raises:
          UserError: it cannot be written; nothing of it stays.
        """
        name = checkpoint_name(state.step)
        unfinished, finished = self.folder / f"{UNFINISHED}{name}", self.folder / name
        for path in (finished, unfinished):
            if path.exists():
                raise UserError(f"{path} is in the way of a new checkpoint; move it out of {self.folder}")
        try:
            checkpoint.write(str(unfinished / "variables"))
            remove(unfinished / TEMPORARY)  # a network file system may have kept TensorFlow from it
            written = [path for path in sorted(unfinished.iterdir()) if path.name != TEMPORARY]
            variables = {path.name: file_sha256(path) for path in written}
            record = Record(**state.model_dump(), top1_error=top1_error, variables=variables, experiment=experiment)
            (unfinished / STATE_FILE).write_bytes(record.to_json())
            put_in_place(unfinished, finished)
        except (OSError, tf.errors.OpError) as fault:
            raise cannot_be_written(finished, fault) from fault
        finally:
            remove(unfinished)  # it is only there after a fault; on a full disk what it holds is wanted

    def add_validation(self, state: TrainingState, top1_error: float) -> None:
        """Adds the result of its validation to the checkpoint of `state.step`, and the state after it.

        Raises:
          UserError: it cannot be written, or the checkpoint is damaged; it stays as it was.
        """
        checkpoint = self.folder / checkpoint_name(state.step)
        update = {**state.model_dump(), "top1_error": top1_error}
        write_whole(checkpoint / STATE_FILE, read_record(checkpoint).model_copy(update=update).to_json())

    def restore(self, checkpoint: tf.train.Checkpoint, folder: Path, *, whole: bool) -> None:
        """Loads a checkpoint that `check_files` found whole.

        Args:
          checkpoint: the variables.
          folder: of this run's checkpoints.
          whole: whether every value in it must be used, and not only every variable be found.

        Raises:
          UserError: it is damaged, or holds another network.
        """
        try:
            status = checkpoint.read(str(folder / "variables"))
            status.assert_consumed() if whole else status.expect_partial().assert_existing_objects_matched()
        except (ValueError, AssertionError) as fault:  # a tensor of another shape; one too many or too few
            raise UserError(
                f"checkpoint {folder} holds another network than {self.run / 'config.yaml'} describes; restore the "
                "file of the two that was exchanged"
            ) from fault
        except (tf.errors.OpError, IndexError, RuntimeError) as fault:  # as the damage would have it
            if is_pattern(folder):
                raise UserError(
                    f"TensorFlow takes [, ], *, ? and \\ in the path {folder} for a pattern; move the run to a path "
                    "without them"
                ) from fault
            if system_fault(fault).errno:  # such as too many open files: no fault of the checkpoint's
                raise cannot_be_read(folder, fault) from fault
            raise damaged(folder, "its variables cannot be read") from fault

    def tidy(self, say: Say) -> None:
        """Cleans up after a save: writes which is the best, and removes all but that and the two latest.

        What cannot be written or removed is reported and is no error.
        """
        records, broken, of_others = self._records()
        errors = self._errors(records)
        self._write_best(errors, say)
        best = _lowest(errors)
        own = [path for path in self.found() if path not in of_others]
        for old in own[:-KEPT]:
            if old == best or old in broken:
                continue
            if any(not CHECKPOINT_FILES.fullmatch(path.name) for path in old.iterdir() if path.name != TEMPORARY):
                say(f"{old} stays: it holds files that the program did not make")
            else:
                self._remove(old, say)

    def remove_leftovers(self, say: Say) -> None:
        """Removes what a killed process left half-written or half-removed."""
        for path in self._entries():
            if _is_leftover(path):
                _remove_tree(path, say)

    def write_best(self, say: Say) -> None:
        """Updates BEST_FILE; that it cannot be written is reported and is no error."""
        self._write_best(self._errors(self._records()[0]), say)

    def _write_best(self, errors: dict[Path, float], say: Say) -> None:
        best = _lowest(errors)
        if best is None:
            return
        content = json.dumps({"checkpoint": best.name, "top1_error": errors[best]}).encode()
        path = self.run / BEST_FILE
        try:
            if path.is_fifo():  # opening it would wait for a reader
                raise OSError
            if not path.is_file() or path.read_bytes() != content:
                write_whole(path, content)
        except (OSError, UserError):
            say(f"{path} cannot be written; the checkpoints themselves tell which is the best")

    def _entries(self) -> Iterator[Path]:
        try:
            yield from list(self.folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as fault:
            raise cannot_be_read(self.folder, fault) from fault

    def _records(self) -> tuple[dict[Path, Record], dict[Path, UserError], list[Path]]:
        """The records of the checkpoints, why others cannot be read, and those of other experiments.

        The latter were copied here from another run: their errors say nothing about this one.
        """
        records, broken = {}, {}
        for path in self.found():
            try:
                records[path] = read_record(path)
            except UserError as fault:
                broken[path] = fault
        latest = next((record.experiment for record in reversed(records.values()) if record.experiment), None)
        of_others = [
            path for path, record in records.items()
            if latest and record.experiment and not same_experiment(record.experiment, latest)
        ]  # fmt: skip
        return {path: record for path, record in records.items() if path not in of_others}, broken, of_others

    def _errors(self, records: dict[Path, Record]) -> dict[Path, float]:
        """The validation errors of the checkpoints that were validated."""
        errors = {path: record.top1_error for path, record in records.items() if record.top1_error is not None}
        unbound = [path for path, record in records.items() if record.experiment is None]
        return {**errors, **(self._errors_told_elsewhere(unbound) if unbound else {})}

    def _errors_told_elsewhere(self, unbound: list[Path]) -> dict[Path, float]:
        """The errors of checkpoints of an earlier version, from other files: those checkpoints do not hold them."""
        errors_of: dict[str, Any] = {}
        with contextlib.suppress(UserError):  # it is there and cannot be read
            errors_of = {
                checkpoint_name(fields["step"]): fields.get("top1_error")
                for _, fields in read_lines(self.run / METRICS_FILE)
                if fields is not None and fields["kind"] == "validation"
            }
        try:
            best = json.loads(read_whole(self.run / BEST_FILE).decode())
            errors_of[best["checkpoint"]] = best["top1_error"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass  # only a convenience
        errors = {path: errors_of.get(path.name) for path in unbound}
        return {path: float(error) for path, error in errors.items() if isinstance(error, int | float) and error >= 0}

    def _remove(self, old: Path, say: Say) -> None:
        leaving = old.with_name(f"{UNFINISHED}{old.name}")  # so that nobody takes half of it for a checkpoint
        try:
            os.rename(old, leaving)
        except OSError as fault:
            say(f"the old checkpoint {old} cannot be removed ({fault.strerror}); remove it by hand")
        else:
            _remove_tree(leaving, say)


def check_files(checkpoint: Path, record: Record) -> None:
    """Checks that the files of a checkpoint's variables are those that were written.

    Raises:
      UserError: names the first that is not.
    """
    for name, sha256 in (record.variables or {}).items():
        try:
            if file_sha256(checkpoint / name) != sha256:
                raise damaged(checkpoint, f"{name} is not as it was written")
        except FileNotFoundError:
            raise damaged(checkpoint, f"{name} is missing") from None
        except OSError as fault:
            raise unreadable(checkpoint, name, fault) from fault


def make_checkpoints(run: Path) -> Checkpoints:
    """The checkpoints of a run; makes their folder where it is missing.

    Raises:
      UserError: it cannot be made.
    """
    checkpoints = Checkpoints(run)
    make_folder(checkpoints.folder)
    return checkpoints


def _lowest(errors: dict[Path, float]) -> Path | None:
    """The checkpoint with the lowest error; of equal ones the later, which has been trained longer."""
    return min(errors, key=lambda path: (errors[path], -int(path.name[5:])), default=None)


def _is_checkpoint(path: Path) -> bool:
    """Whether it has the exact name, and a file of the program or none; a damaged one must not be ignored."""
    if step_of(path.name) is None or path.is_symlink() or not path.is_dir():
        return False
    try:
        names = [entry.name for entry in path.iterdir()]
    except FileNotFoundError:  # a training has just removed it
        return False
    except OSError:  # such as one of another user: what reads it says so
        return True
    return not names or any(CHECKPOINT_FILES.fullmatch(name) for name in names)


def _is_leftover(path: Path) -> bool:
    name = path.name.removeprefix(UNFINISHED)
    if name == path.name or not CHECKPOINT_NAME.fullmatch(name) or path.is_symlink() or not path.is_dir():
        return False
    ours = (CHECKPOINT_FILES.fullmatch(entry.name) or entry.name == TEMPORARY for entry in path.iterdir())
    return all(ours)


def _remove_tree(path: Path, say: Say) -> None:
    try:
        shutil.rmtree(path)
    except OSError as fault:
        say(f"{path} cannot be removed ({fault.strerror}); remove it by hand")
