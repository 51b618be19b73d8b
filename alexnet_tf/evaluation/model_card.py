"""The card of a trained network: data, recipe, commit, hardware, error rates with their intervals, limits.

For people as Markdown, for programs as a dictionary. After Mitchell et al., Model cards for model reporting, 2019.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_tf.evaluation.error_analysis import wilson_interval
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.metrics import METRICS_FILE, sessions, validation_at
from alexnet_tf.runs.records import read_record
from alexnet_tf.runs.run import Run
from alexnet_tf.settings.explained import settings_in_force
from tfrecords.exif import Exif

INTERVAL = "Wilson score interval, 95 %"
RATES = ("top1_error", "top5_error")
FEW = 1000
"""Images: with fewer, an interval is some six percent wide."""
NAMED = 20
"""Classes that the card names; of more it tells the number alone."""
RECIPE = (
    "data.batch_size", "train.epochs", "train.steps", "train.optimizer", "train.learning_rate", "train.momentum",
    "train.weight_decay", "train.schedule", "train.drop_epochs", "train.precision", "train.seed", "train.init_from",
    "train.freeze", "train.class_weights", "augment.crop", "augment.mirror", "augment.mean", "augment.noise",
)  # fmt: skip
"""Settings that the card tells in any case; others where the run's config sets them."""
UNSAID = ("model.preset", "data.dir", "data.statistics", "data.eval_batch_size")


@dataclass(frozen=True)
class Measured:
    """Error rates of a split.

    Attributes:
      split: "val", mostly.
      views: of a picture, over which the probabilities were averaged.
      images: of the split.
      top1_error: from 0 to 1.
      top5_error: the same.
      by: who measured it: "training" or "the report".
    """

    split: str
    views: int
    images: int
    top1_error: float
    top5_error: float
    by: str


def model_card(run: Run, checkpoint: Path, measured: Sequence[Measured] | None = None) -> dict[str, Any]:
    """What is to be known of a run's network before anybody relies on it.

    Args:
      run: where it was trained.
      checkpoint: the folder of its weights, from `Run.checkpoint`.
      measured: error rates; None: what training measured with these very weights, if it did.
    """
    record = read_record(checkpoint)
    facts = CheckpointFacts.of(run, checkpoint)
    if measured is None:
        measured = _measured_in_training(run, record.step)
    splits = (record.experiment.data if record.experiment else None) or {}
    network = run.config.preset.network
    return {
        "run": run.path.resolve().name,
        "data": {
            "folder": run.config.data.dir.name,
            "classes": run.num_classes,
            "class_names": run.classes.names[:NAMED],
            "training_pictures": splits["train"].records if "train" in splits else None,
            "validation_pictures": splits["val"].records if "val" in splits else None,
            "stored_shape": list(network.stored_shape),
            "seen_shape": list(network.picture_shape),
            "exif": run.exif(checkpoint),
        },
        "recipe": {"preset": run.config.model.preset, **_recipe(run)},
        "training": {
            "step": record.step,
            "epoch": facts.epoch,
            "sessions": sessions(run.path / METRICS_FILE, record.step),
        },
        "error_rates": [_with_intervals(one) for one in measured],
        "interval": INTERVAL,
        "limits": _limits(run, measured),
    }


def _measured_in_training(run: Run, step: int) -> list[Measured]:
    """What metrics.jsonl holds of this step; nothing where it is missing or broken."""
    line = validation_at(run.path / METRICS_FILE, step)
    if line is None or not isinstance(line.get("images"), int):
        return []
    return [Measured("val", 1, line["images"], line["top1_error"], line["top5_error"], "training")]


def _with_intervals(one: Measured) -> dict[str, Any]:
    rates: dict[str, Any] = {"split": one.split, "views": one.views, "images": one.images, "by": one.by}
    for name in RATES:
        error = getattr(one, name)
        rates[name] = error
        rates[f"{name}_interval"] = list(wilson_interval(round(error * one.images), one.images))
    return rates


def _recipe(run: Run) -> dict[str, Any]:
    """Settings with a value that say how it was trained, by section.key."""
    found = settings_in_force(run.config, run.config, "config.yaml", [])
    own = ("model.", "data.", "augment.", "train.")
    return {
        setting.name: setting.value
        for setting in found
        if setting.value not in (None, [], {})
        and (setting.name in RECIPE or (setting.name.startswith(own) and setting.value != setting.default))
        and setting.name not in UNSAID
    }


def _limits(run: Run, measured: Sequence[Measured]) -> list[str]:
    height, _, channels = run.config.preset.network.picture_shape
    limits = [
        f"It knows its {run.num_classes} classes and nothing else: a picture of anything else gets one of them, often "
        "with a high probability.",
        f"It sees a square of {height}×{height} pixels{', in gray' if channels == 1 else ''}, cut from the middle of a "
        "picture: what is small or at the edge is lost.",
        "Pictures unlike those it was trained on (another camera, drawings, other countries) are answered worse than "
        "the error rates say.",
        "A probability is no certainty: how far it can be trusted is in the report's calibration curve, for pictures "
        "like the validation pictures.",
    ]
    if any(one.split == "val" for one in measured):
        limits.append(
            "The validation pictures also decided which checkpoint is the best, and some rates of learning: on new "
            "pictures expect a slightly higher error."
        )
    if not measured:
        limits.append("Nobody has measured its error rates with these weights.")
    for one in measured:
        if one.images < FEW:
            limits.append(f"The error rates come from {one.images:,} images only: mind their intervals.")
            break
    return limits


def with_error_rates(card: dict[str, Any], run: Run, measured: Sequence[Measured]) -> dict[str, Any]:
    """The card with other error rates: measured since it was made."""
    return {**card, "error_rates": [_with_intervals(one) for one in measured], "limits": _limits(run, measured)}


@dataclass(frozen=True)
class CardSection:
    """A part of the card for people."""

    title: str
    lines: list[str]
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    """Of a table, which stands before the lines."""


def card_sections(card: dict[str, Any]) -> list[CardSection]:
    """The card in words, from what `model_card` gives."""
    data, training = card["data"], card["training"]
    more = data["classes"] - len(data["class_names"])
    counts = [
        f"{data[key]:,} {what}" if data[key] is not None else f"{what}: unknown, the weights came from elsewhere"
        for key, what in (("training_pictures", "training pictures"), ("validation_pictures", "validation pictures"))
    ]
    epoch = "" if training["epoch"] is None else f", epoch {training['epoch']:.4g}"
    sessions = [
        f"Commit {session['commit'] or 'unknown'}, on {session['hardware'] or 'unknown hardware'}, TensorFlow "
        f"{session['tensorflow'] or 'unknown'}."
        for session in training["sessions"]
    ]
    if not sessions:
        sessions = ["Commit and hardware are not on record: an import, or trained by an earlier version."]
    rates = [
        (one["split"], str(one["views"]), f"{one['images']:,}", *(_rate(one, name) for name in RATES), one["by"])
        for one in card["error_rates"]
    ]
    measured = f"In brackets: {card['interval']}." if rates else "Not measured with these weights."
    return [
        CardSection(
            "Data",
            [
                f"Folder {data['folder']}; {'; '.join(counts)}.",
                f"Pictures of {_size(data['stored_shape'])}, of which the network sees {_size(data['seen_shape'])}.",
                f"EXIF orientation: {how_turned(data['exif'])}.",
                # Many a name has commas itself.
                f"Classes: {'; '.join(data['class_names'])}{f'; and {more:,} more' if more > 0 else ''}.",
            ],
        ),
        CardSection(
            "Error rates", [measured],
            ("split", "views", "images", "top-1 error", "top-5 error", "measured by") if rates else (), tuple(rates),
        ),
        CardSection(
            "Recipe", [],
            ("setting", "value"),
            tuple((name, json.dumps(value, ensure_ascii=False)) for name, value in card["recipe"].items()),
        ),
        CardSection("Training", [f"Step {training['step']:,}{epoch}.", *sessions]),
        CardSection("Limits", card["limits"]),
    ]  # fmt: skip


def how_turned(exif: Exif) -> str:
    """What was done with the EXIF orientation of pictures, in words."""
    if exif == "apply":
        return "applied, so that pictures stand as the camera was held (--exif apply)"
    return "ignored, so that pictures lie as the file stores them (--exif ignore)"


def card_as_markdown(card: dict[str, Any]) -> str:
    """The card as a text, from what `model_card` gives."""
    lines = [f"# Model card: {_plain(card['run'])}", "", in_a_sentence(card), ""]
    for section in card_sections(card):
        lines += [f"## {section.title}", ""]
        if section.header:
            lines += [_row(section.header), _row(["---"] * len(section.header)), *map(_row, section.rows), ""]
        if section.lines:
            lines += [*(f"- {_plain(line)}" for line in section.lines), ""]
    return "\n".join(lines)


def in_a_sentence(card: dict[str, Any]) -> str:
    """What it is, in a sentence."""
    classes, preset = card["data"]["classes"], card["recipe"]["preset"]
    return f"An image classifier of {classes:,} classes: a network of preset {preset}, trained with alexnet-tf."


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _rate(rates: dict[str, Any], name: str) -> str:
    low, high = rates[f"{name}_interval"]
    return f"{rates[name]:.2%} ({low:.2%} to {high:.2%})"


def _size(shape: Sequence[int]) -> str:
    height, width, channels = shape
    return f"{height}×{width} pixels{' of gray' if channels == 1 else ''}"


def _plain(text: str) -> str:
    """A text, which may hold a name, in one line of Markdown."""
    return " ".join(text.encode("utf-8", "replace").decode().split()).replace("|", "\\|").replace("<", "&lt;")
