"""Charts of how a run learned and of what its network gets wrong, from numbers alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_tf.evaluation.drawing import BLUE, GRAY, GREEN, INK, RED, Figure, colormaps, our_style, shortened
from alexnet_tf.evaluation.error_analysis import Calibration, ClassError, wilson_interval
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.runs.metrics import METRICS_FILE, rate_drops, read_metrics

MOST_IN_MATRIX = 20
"""Classes that a confusion matrix shows; more would be too small to read."""
MOST_BARS = 40
"""Classes in the chart of errors."""
NAME = 22
"""Letters of a class's name beside a chart."""


def draw_learning_curve(run: Path, out: Path) -> None:
    """Writes a run's learning curve as a picture, of the kind that the file's ending names; png where it has none.

    Raises:
      UserError: there is no finished epoch to draw, no such kind of picture, or the file cannot be written.
    """
    training, validation = read_metrics(run / METRICS_FILE)
    if not validation:
        raise UserError(f"run {run} has not finished an epoch yet; nothing to draw")
    with our_style():
        figure = learning_curve(training, validation, run.name, rate_drops(run / METRICS_FILE))
        kind, known = out.suffix[1:].lower() or "png", figure.canvas.get_supported_filetypes()
        if kind not in known:
            raise UserError(f"{out}: no picture is written as .{kind}; choose one of .{', .'.join(sorted(known))}")
        write_whole(out, lambda file: figure.savefig(file, dpi=120, format=kind))


def learning_curve(
    training: list[dict[str, Any]], validation: list[dict[str, Any]], title: str, drops: Sequence[float] = ()
) -> Figure:
    """Losses on the left, error rates on the right, over the epochs.

    Args:
      training: from `runs.metrics.read_metrics`.
      validation: the same.
      title: of the figure.
      drops: the epochs at which the rate drops, from `runs.metrics.rate_drops`.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    losses, errors = figure.subplots(1, 2)
    epochs = [line["epoch"] for line in training]
    ends = [line["epoch"] for line in validation]
    if training:
        loss = [line["loss"] for line in training]
        losses.plot(epochs, loss, color=GRAY, linewidth=0.9, label="training (crops, dropout, noise)")
    if validation:
        loss = [line["loss"] for line in validation]
        losses.plot(ends, loss, color=BLUE, marker="o", markersize=3, label="validation (center)")
    losses.set(xlabel="epoch", ylabel="cross-entropy in nats", ylim=(0, None))
    for key, label, color in (("top1_error", "top-1", BLUE), ("top5_error", "top-5", GREEN)):
        if validation:
            errors.plot(
                ends, [100 * line[key] for line in validation], color=color, marker="o", markersize=3, label=label
            )
    errors.set(xlabel="epoch", ylabel="validation error in percent (center)")
    highest = max((100 * line["top1_error"] for line in validation), default=100)
    if not validation:
        errors.text(0.5, 0.5, "no epoch is validated yet", transform=errors.transAxes, ha="center", color=GRAY)
    errors.set_ylim(0, min(100, 1.1 * highest + 1))
    for axes in (losses, errors):
        for drop in drops:
            axes.axvline(drop, color=INK, linestyle=":", linewidth=1)
        axes.grid(alpha=0.3)
        axes.set_xlim(0, None)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.suptitle(shortened(title, 60) + (" (dotted: the learning rate drops)" if len(drops) else ""))
    return figure


def compared_curves(runs: Sequence[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]) -> Figure:
    """Training loss on the left, validation error on the right, of several runs over their epochs.

    Args:
      runs: of each its name, and its lines of training and of validation from `runs.metrics.read_metrics`.
    """
    figure = Figure(figsize=(11, 4.2 + 0.15 * max(0, len(runs) - 4)), layout="constrained")
    losses, errors = figure.subplots(1, 2)
    colors = colormaps["tab10"]
    for number, (name, training, validation) in enumerate(runs):
        look = {"color": colors(number % 10), "linestyle": ("-", "--", ":")[number // 10 % 3]}
        losses.plot([line["epoch"] for line in training], [line["loss"] for line in training], linewidth=0.9, **look)
        epochs, rates = ([line[key] for line in validation] for key in ("epoch", "top1_error"))
        errors.plot(
            epochs, [100 * rate for rate in rates], marker="o", markersize=3, label=shortened(name, 30, synonyms=False),
            **look,
        )  # fmt: skip
    losses.set(xlabel="epoch", ylabel="training loss (cross-entropy in nats)", ylim=(0, None))
    errors.set(xlabel="epoch", ylabel="validation top-1 error in percent (center)", ylim=(0, None))
    for axes in (losses, errors):
        axes.grid(alpha=0.3)
        axes.set_xlim(0, None)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def confusion_chart(confusion: np.ndarray, names: Sequence[str], shown: np.ndarray) -> Figure:
    """Of the classes `shown` the matrix of counts, colored by their share of a row, and what goes to all others.

    Args:
      confusion: int64 (classes, classes), from `error_analysis.confusion_matrix`.
      names: of all classes.
      shown: labels.
    """
    inner = confusion[np.ix_(shown, shown)]
    labels = [shortened(names[label], NAME) for label in shown]
    columns = list(labels)
    all_of_row = confusion[shown].sum(axis=1, keepdims=True)
    if len(shown) < len(confusion):
        inner = np.concatenate([inner, all_of_row - inner.sum(axis=1, keepdims=True)], axis=1)
        columns.append("any other")
    shares = inner / np.maximum(all_of_row, 1)
    side = 2.6 + 0.36 * len(shown)
    figure = Figure(figsize=(max(side + 0.6, 5), max(side, 4.4)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(inner):
        dark = shares[row, column] > 0.55
        axes.text(
            column, row, f"{inner[row, column]:,}", ha="center", va="center", fontsize=7, color="white" if dark else INK
        )
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="taken for", ylabel="class of the picture")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e2e8f0", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    figure.colorbar(image, ax=axes, label="share of the row", shrink=0.8)
    return figure


def chosen_bars(errors: list[ClassError]) -> tuple[list[ClassError], int]:
    """The classes that a chart shows, the worst first, and how many in the middle it leaves out."""
    ordered = sorted(errors, key=lambda one: (-one.error, one.label))
    half = MOST_BARS // 2
    if len(ordered) <= MOST_BARS:
        return ordered, 0
    return [*ordered[:half], *ordered[-half:]], len(ordered) - MOST_BARS


def class_error_chart(errors: list[ClassError], names: Sequence[str]) -> Figure:
    """A bar a class, the worst at the top, with the 95 % interval; of many classes the worst and the best."""
    shown, left_out = chosen_bars(errors)
    figure = Figure(figsize=(8, 1.2 + 0.22 * len(shown)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(shown)) + (np.arange(len(shown)) >= len(shown) / 2) * (1.5 if left_out else 0.0)
    errors_of = np.array([100 * one.error for one in shown])
    intervals = 100 * np.array([one.interval for one in shown])
    reach = np.maximum(np.abs(intervals - errors_of[:, None]).T, 0)
    axes.barh(places, errors_of, color=RED, alpha=0.75, height=0.7)
    axes.errorbar(errors_of, places, xerr=reach, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
    axes.set_yticks(places, [f"{shortened(names[one.label], NAME)} ({one.images:,})" for one in shown])
    if left_out:
        middle = float(places[len(shown) // 2 - 1] + places[len(shown) // 2]) / 2
        axes.text(1, middle, f"… {left_out:,} classes between …", va="center", color=GRAY, fontsize=8)
    axes.set(
        xlabel="top-1 error in percent, with its 95 % interval",
        xlim=(0, min(100, 1.05 * intervals.max() + 1)),
        ylim=(places[-1] + 0.7, -0.7),
    )
    axes.grid(axis="x", alpha=0.3)
    return figure


def calibration_chart(found: Calibration) -> Figure:
    """Above, how often guesses of a bin are right, with the 95 % interval; below, how many images are in it."""
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middles, width = (found.edges[:-1] + found.edges[1:]) / 2, np.diff(found.edges)
    upper.plot([0, 1], [0, 1], color=GRAY, linestyle="--", linewidth=1, label="as sure as it is right")
    filled = found.images > 0
    intervals = np.array(
        [
            wilson_interval(right, images)
            for right, images in zip(found.right[filled], found.images[filled], strict=True)
        ]
    )
    accuracy = found.accuracy[filled]
    reach = np.maximum(np.abs(intervals - accuracy[:, None]).T, 0)
    upper.errorbar(
        found.confidence[filled], accuracy, yerr=reach, color=BLUE, marker="o", markersize=4, capsize=2, linewidth=1.2,
        label="this network, 95 % interval",
    )  # fmt: skip
    upper.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    upper.set_title(f"expected calibration error {found.expected_error:.1%}")
    lower.bar(middles, found.images, width=0.9 * width, color=BLUE, alpha=0.6)
    lower.set(xlabel="probability of the guess", ylabel="images")
    lower.yaxis.get_major_locator().set_params(integer=True)
    lower.grid(axis="y", alpha=0.3)
    return figure
