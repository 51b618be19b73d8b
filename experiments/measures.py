"""What a run shows, read from its metrics.jsonl, and what several runs show together."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from scipy.stats import t

from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.metrics import METRICS_FILE, read_metrics


def training_errors(run: Path) -> list[tuple[float, float]]:
    """Epochs done, as fractions, and the mean training error over the steps since the entry before, from 0 to 1.

    As it is while training goes on: of a line of metrics, `train.log_every` steps.
    """
    return [(line["epoch"], line["top1_error"]) for line in read_metrics(run / METRICS_FILE)[0]]


def epochs_to(target: float, run: Path) -> float | None:
    """The epochs after which the training error was at most `target` for the first time; None: it never was."""
    return next((epoch for epoch, error in training_errors(run) if error <= target), None)


def outcome(run: Path, target: float | None) -> dict[str, Any]:
    """What a finished run shows.

    Raises:
      UserError: its log is missing or holds no validation.
    """
    training, validation = read_metrics(run / METRICS_FILE)
    if not validation and target is None:
        raise UserError(f"{run / METRICS_FILE} holds no validation; remove the run, so that it is trained again")
    best = min(validation, key=lambda line: line["top1_error"], default={})
    speeds = [line["images_per_second"] for line in training if "images_per_second" in line]
    return {
        "epochs": max((line["epoch"] for line in (*training, *validation)), default=0.0),
        "epochs_to_target": None if target is None else epochs_to(target, run),
        "top1_error": validation[-1]["top1_error"] if validation else None,
        "top5_error": validation[-1]["top5_error"] if validation else None,
        "best_top1_error": best.get("top1_error"),
        "best_epoch": best.get("epoch"),
        "training_error": training[-1]["top1_error"] if training else None,
        "images_per_second": statistics.median(speeds) if speeds else None,
    }


@dataclass(frozen=True)
class Summary:
    """Of one figure over several seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the values."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """The standard deviation of a sample; None of a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean, by Student's t; None of a single value."""
        if self.spread is None:
            return None
        reach = float(t.ppf(0.975, len(self.values) - 1)) * self.spread / sqrt(len(self.values))
        return self.mean - reach, self.mean + reach


def summary(outcomes: Sequence[dict[str, Any]], figure: str) -> Summary | None:
    """Of runs that all have such a figure; None where one has not, or there are none."""
    values = tuple(value for one in outcomes if (value := one.get(figure)) is not None)
    return Summary(values) if values and len(values) == len(outcomes) else None
