"""Which checkpoint an evaluation, an export or a prediction uses, in words for people."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.metrics import METRICS_FILE, read_lines
from alexnet_tf.runs.records import read_record
from alexnet_tf.runs.run import Run


@dataclass(frozen=True)
class CheckpointFacts:
    """Where training stood when it saved.

    Attributes:
      step: how many were done.
      epoch: the same in passes over the training pictures; None where nobody knows how many there were.
      top1_error: on the validation split, 0 to 1; None where it was not validated there.
    """

    step: int
    epoch: float | None
    top1_error: float | None

    @staticmethod
    def of(run: Run, checkpoint: Path) -> "CheckpointFacts":
        """The facts of a run's checkpoint; from metrics.jsonl where the checkpoint is of an earlier version."""
        record = read_record(checkpoint)
        epoch, error = None, record.top1_error
        if record.experiment and record.experiment.data:
            epoch = record.step * run.config.data.batch_size / record.experiment.data["train"].records
        if epoch is None or error is None:
            with contextlib.suppress(UserError):  # the log cannot be read: a run's log stops nothing
                for _, line in read_lines(run.path / METRICS_FILE):
                    if line is not None and (line["kind"], line["step"]) == ("validation", record.step):
                        epoch = _number(line.get("epoch")) if epoch is None else epoch
                        error = _number(line.get("top1_error")) if error is None else error
        return CheckpointFacts(record.step, epoch, error)

    @staticmethod
    def of_export(net: Any) -> "CheckpointFacts | None":
        """The facts in a model's metadata about one of its networks; None where there are none."""
        if not (isinstance(net, Mapping) and isinstance(net.get("checkpoint_step"), int)):
            return None
        validation = net.get("validation")
        error = validation.get("top1_error") if isinstance(validation, Mapping) else None
        return CheckpointFacts(net["checkpoint_step"], _number(net.get("epoch")), _number(error))

    def __str__(self) -> str:
        epoch = "epoch unknown" if self.epoch is None else f"epoch {self.epoch:.4g}"
        error = "not validated" if self.top1_error is None else f"validation top-1 error {self.top1_error:.2%}"
        return f"step {self.step}, {epoch}, {error}"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
