"""A run's learning curve, from its metrics.jsonl: training loss, validation loss and error rates over the epochs."""

import itertools
import math
from pathlib import Path
from typing import Any

from alexnet_tf.program.environment import without
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.runs.metrics import METRICS_FILE, read_lines

with without("MPLBACKEND", "MATPLOTLIBRC"):  # a notebook's terminal names a backend that may not be installed here
    from matplotlib.figure import Figure

FIGURES = {
    "train": ("epoch", "loss", "weight_rate"), "validation": ("epoch", "loss", "top1_error", "top5_error")
}  # fmt: skip
"""The fields of a line that are drawn, by its kind."""


def draw_learning_curve(run: Path, out: Path) -> None:
    """Writes a run's learning curve as a picture, of the kind that the file's ending names; png where it has none.

    Raises:
      UserError: there is no finished epoch to draw, no such kind of picture, or the file cannot be written.
    """
    training, validation = read_metrics(run / METRICS_FILE)
    if not training or not validation:
        raise UserError(f"run {run} has not finished an epoch yet; nothing to draw")
    figure = learning_curve(training, validation, run.name)
    kind, known = out.suffix[1:].lower() or "png", figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise UserError(f"{out}: no picture is written as .{kind}; choose one of .{', .'.join(sorted(known))}")
    write_whole(out, lambda file: figure.savefig(file, dpi=120, format=kind))


def read_metrics(path: AnyPath) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of a metrics.jsonl: those of training, those of validation; broken ones are passed over.

    Raises:
      UserError: the file is missing or cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} is missing; training writes it")
    lines = [fields for _, fields in read_lines(path) if fields is not None]
    training, validation = (
        [line for line in lines if line["kind"] == kind and all(_is_figure(line.get(name)) for name in figures)]
        for kind, figures in FIGURES.items()
    )
    return training, validation


def _is_figure(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # more digits than any figure has
        return False


def learning_curve(training: list[dict[str, Any]], validation: list[dict[str, Any]], title: str) -> Figure:
    """Losses on the left, error rates on the right, over the epochs; from what `read_metrics` gives."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    losses, errors = figure.subplots(1, 2)
    epochs = [line["epoch"] for line in training]
    losses.plot(epochs, [line["loss"] for line in training], linewidth=0.8, label="training (crops, dropout, noise)")
    ends = [line["epoch"] for line in validation]
    losses.plot(ends, [line["loss"] for line in validation], marker="o", markersize=3, label="validation (center)")
    losses.set(xlabel="epoch", ylabel="cross-entropy in nats", ylim=(0, None))
    for key, label in (("top1_error", "top-1"), ("top5_error", "top-5")):
        errors.plot(ends, [100 * line[key] for line in validation], marker="o", markersize=3, label=label)
    errors.set(xlabel="epoch", ylabel="validation error in percent (center)", ylim=(0, 100))
    for axes in (losses, errors):
        for before, after in itertools.pairwise(training):
            if after["weight_rate"] < before["weight_rate"]:
                axes.axvline(before["epoch"], color="gray", linestyle=":", linewidth=1)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{title} (dotted: the learning rate drops)")
    return figure
