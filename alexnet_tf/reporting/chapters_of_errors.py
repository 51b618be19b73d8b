"""The chapters on learning and on errors, from metrics.jsonl and from the network's answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alexnet_tf.evaluation.ensemble import Pictures
from alexnet_tf.evaluation.error_analysis import (
    calibration,
    class_errors,
    confident_mistakes,
    confusion_matrix,
    guesses,
    most_confused,
    wilson_interval,
)
from alexnet_tf.evaluation.figures import (
    MOST_IN_MATRIX,
    calibration_chart,
    class_error_chart,
    confusion_chart,
    learning_curve,
)
from alexnet_tf.program.errors import UserError
from alexnet_tf.reporting.answers import Answers
from alexnet_tf.reporting.files import Chapter, ReportFiles, Table
from alexnet_tf.reporting.picture_figures import mistakes_figure, readable
from alexnet_tf.runs.metrics import METRICS_FILE, rate_drops, read_metrics
from alexnet_tf.runs.run import Run

MISTAKES = 25
ROWS = 15
"""Of a table on the page; the file beside it has all."""


def learning_chapter(run: Run, files: ReportFiles) -> Chapter:
    """How the run learned.

    Raises:
      UserError: its log is missing, or holds nothing yet.
    """
    path = run.path / METRICS_FILE
    training, validation = read_metrics(path)
    if not training and not validation:
        raise UserError(f"{path} holds no figures, as of an imported run or of one that has just begun")
    drops = rate_drops(path)
    figure = files.figure(
        "learning_curve", "Loss and validation error over the epochs.",
        lambda: learning_curve(training, validation, run.path.resolve().name, drops),
    )  # fmt: skip
    header = ("kind", "step", "epoch", "loss", "top1_error", "top5_error", "weight_rate")
    rows = ([line.get(name, "") for name in header] for line in [*training, *validation])
    paragraphs = []
    if drops:
        at = ", ".join(f"{drop:.3g}" for drop in drops)
        paragraphs.append(f"The learning rate of the weights dropped after so many epochs: {at}.")
    if validation:
        best = min(validation, key=lambda line: line["top1_error"])
        paragraphs.append(
            f"The lowest validation error was {best['top1_error']:.2%} (top-5 {best['top5_error']:.2%}), after epoch "
            f"{best['epoch']:.3g}."
        )
    else:
        paragraphs.append("No epoch is validated yet.")
    return Chapter("Learning", paragraphs, [figure], files=[files.table("learning_curve", header, rows)])


def confusion_chapter(answers: Answers, names: Sequence[str], files: ReportFiles) -> Chapter:
    """Which classes are taken for which."""
    confusion = confusion_matrix(answers.probabilities, answers.labels)
    shown = np.arange(len(names)) if len(names) <= MOST_IN_MATRIX else most_confused(confusion, MOST_IN_MATRIX)
    caption = "How many pictures of each class (row) were taken for which (column)."
    if len(shown) < len(names):
        caption = f"The {len(shown)} of {len(names):,} classes that are confused most often, and all others together."
    figure = files.figure("confusion_matrix", caption, lambda: confusion_chart(confusion, names, shown))
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    pairs = np.argwhere(wrong)
    pairs = pairs[np.argsort(-wrong[tuple(pairs.T)], kind="stable")]
    rows = [[names[truth], names[guess], str(wrong[truth, guess])] for truth, guess in pairs[:ROWS]]
    all_pairs = ([names[truth], names[guess], confusion[truth, guess]] for truth, guess in np.argwhere(confusion))
    file = files.table("confusion_matrix", ("class", "taken_for", "images"), all_pairs)
    told = "The table lists the most frequent confusions." if rows else "Not one picture was taken for another class."
    table = Table(("class", "taken for", "pictures"), rows) if rows else None
    return Chapter("Confusions", [told], [figure], table, [file])


def class_chapter(answers: Answers, names: Sequence[str], files: ReportFiles, numbers: dict[str, Any]) -> Chapter:
    """How each class fares, and all together."""
    errors = class_errors(confusion_matrix(answers.probabilities, answers.labels))
    figure = files.figure(
        "class_errors",
        "Top-1 error of each class (in brackets: its pictures).",
        lambda: class_error_chart(errors, names),
    )
    header = ("class", "images", "wrong", "top1_error", "low", "high", "most_often_taken_for", "so_often")
    rows = [
        [names[one.label], one.images, one.wrong, one.error, *one.interval,
         "" if one.taken_for is None else names[one.taken_for], one.taken_for_images]
        for one in errors
    ]  # fmt: skip
    images = len(answers.labels)
    wrong = int((guesses(answers.probabilities) != answers.labels).sum())
    low, high = wilson_interval(wrong, images)
    missing = len(names) - len(errors)
    paragraphs = [
        f"Of {images:,} pictures {wrong:,} are guessed wrong: top-1 error {wrong / images:.2%}, with a 95 % interval "
        f"(Wilson score) from {low:.2%} to {high:.2%}."
    ]
    if missing:
        paragraphs.append(f"{missing:,} of {len(names):,} classes have no pictures here.")
    numbers["top1_interval"] = [low, high]
    return Chapter("Error of each class", paragraphs, [figure], files=[files.table("class_errors", header, rows)])


def calibration_chapter(answers: Answers, files: ReportFiles, numbers: dict[str, Any]) -> Chapter:
    """How far a probability can be trusted."""
    found = calibration(answers.probabilities, answers.labels)
    figure = files.figure(
        "calibration", "How often guesses of such a probability are right.", lambda: calibration_chart(found)
    )
    rows = zip(found.edges[:-1], found.edges[1:], found.images, found.right, found.confidence, strict=True)
    file = files.table("calibration", ("above", "up_to", "images", "right", "mean_probability"), rows)
    numbers["expected_calibration_error"] = found.expected_error
    filled = found.images > 0
    gap = float(((found.confidence - found.accuracy)[filled] * found.images[filled]).sum() / found.images.sum())
    paragraphs = [
        f"On average a guess is {'surer' if gap > 0 else 'less sure'} than it should be by {abs(gap):.1%}; the "
        f"expected calibration error is {found.expected_error:.1%}. Points below the dashed line are guesses "
        "that are too sure."
    ]
    return Chapter("Calibration", paragraphs, [figure], files=[file])


def mistakes_chapter(answers: Answers, data: Pictures, names: Sequence[str], files: ReportFiles) -> Chapter:
    """The mistakes of which the network is surest: there the label is often wrong, or two things are on a picture."""
    probabilities, labels = answers.probabilities, answers.labels
    places = confident_mistakes(probabilities, labels, MISTAKES)
    header = ("file", "class", "guess", "probability_of_guess", "probability_of_class")
    rows = [
        [readable(answers.file_names[place]), names[labels[place]], names[guess],
         probabilities[place, guess], probabilities[place, labels[place]]]
        for place, guess in zip(places, guesses(probabilities[places]), strict=True)
    ]  # fmt: skip
    file = files.table("mistakes", header, rows)
    all_answers = files.table("answers", header, _all_answers(answers, names))
    if not len(places):
        return Chapter("Surest mistakes", ["The network made no mistake."], files=[file, all_answers])
    pictures = data.at(places)
    figure = files.figure(
        "mistakes", f"The {len(places)} mistakes with the highest probabilities, with the pictures' file names.",
        lambda: mistakes_figure(pictures, probabilities[places], names),
    )  # fmt: skip
    shown = [[*row[:3], *(f"{value:.1%}" for value in row[3:])] for row in rows]
    titles = ("file", "class", "guess", "probability of the guess", "of the class")
    return Chapter("Surest mistakes", [], [figure], Table(titles, shown), [file, all_answers])


def _all_answers(answers: Answers, names: Sequence[str]) -> list[list[Any]]:
    chosen = guesses(answers.probabilities)
    return [
        [name.decode("utf-8", "surrogateescape"), names[label], names[guess], row[guess], row[label]]
        for name, label, guess, row in zip(
            answers.file_names, answers.labels, chosen, answers.probabilities, strict=True
        )
    ]
