"""The metadata beside the graph, in a version's `assets.extra`, which TensorFlow Serving ignores."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import tensorflow as tf

from alexnet_tf.evaluation.model_card import card_as_markdown, model_card
from alexnet_tf.pictures.preparation import number_of_views
from alexnet_tf.program.checkout import commit
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import read_whole
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.classes import load_classes
from alexnet_tf.runs.metrics import METRICS_FILE, validation_at
from alexnet_tf.runs.records import CHECKPOINT_PREFIX
from alexnet_tf.runs.run import Run
from alexnet_tf.serving.picture_files import MAX_ASPECT, MAX_PIXELS
from alexnet_tf.serving.versions import (
    ASSETS,
    CARD_FILE,
    CLASSES_FILE,
    CLASSES_REMEDY,
    MAKER,
    MODEL_FILE,
    STATISTICS_COPY,
)
from tfrecords.exif import Exif

UNSTATED_LICENSE = "not stated: as its training pictures allow; the program is under Apache-2.0"


def write_metadata(
    folder: Path, runs: list[Run], checkpoints: list[Path], exif: Exif, license_text: str | None
) -> None:
    """Writes all of them into a version's folder: of a single net its statistics, too, to build it anew from Python."""
    (folder / ASSETS).mkdir(exist_ok=True)
    (folder / CLASSES_FILE).write_text(runs[0].classes.model_dump_json(indent=1), encoding="utf-8")
    model = {
        "made_by": MAKER,  # without it, `alexnet-tf export --keep` leaves the folder alone
        "classes": runs[0].num_classes,
        "nets": [_net(run, checkpoint) for run, checkpoint in zip(runs, checkpoints, strict=True)],
        "exif": exif,
        "commit": commit(),
        "exported": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "tensorflow": tf.__version__,
        "license": license_text or UNSTATED_LICENSE,
        "limits": {"max_pixels": MAX_PIXELS, "max_aspect": MAX_ASPECT},
    }
    if len(runs) == 1:
        runs[0].statistics.save(folder / STATISTICS_COPY)
    (folder / MODEL_FILE).write_text(json.dumps(model, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    cards = [card_as_markdown(model_card(run, own)) for run, own in zip(runs, checkpoints, strict=True)]
    exported = (
        f"Exported {model['exported']} by commit {model['commit'] or 'unknown'} with TensorFlow {tf.__version__}. "
        f"License: {model['license']}.\n"
    )
    text = "\n".join([*cards, exported])
    (folder / CARD_FILE).write_text(text, encoding="utf-8", errors="replace")


def read_metadata(folder: AnyPath) -> dict[str, Any]:
    """The metadata in a version's folder, for people: `classes` (keys and names), `metadata` and `card` (a text).

    Each is None where the file is missing or broken: a model serves without them.
    """
    folder = Path(folder)
    try:
        classes: Any = load_classes(folder / CLASSES_FILE, CLASSES_REMEDY).model_dump()
    except UserError:
        classes = None
    return {"classes": classes, "metadata": read_model_file(folder), "card": _read_card(folder)}


def _read_card(folder: Path) -> str | None:
    try:
        return read_whole(folder / CARD_FILE).decode(errors="replace")
    except OSError:
        return None


def read_model_file(folder: AnyPath) -> dict[str, Any] | None:
    """The content of a version's model.json; None where it is missing or broken."""
    folder = Path(folder)
    try:
        metadata = json.loads(read_whole(folder / MODEL_FILE))
    except (OSError, ValueError, RecursionError):
        return None
    return metadata if isinstance(metadata, dict) else None


def exif_of(metadata: Mapping[str, Any] | None) -> Exif:
    """Whether a model of these metadata turns pictures by their EXIF orientation; those of earlier versions do not."""
    return "apply" if metadata and metadata.get("exif") == "apply" else "ignore"


def _net(run: Run, checkpoint: Path) -> dict[str, Any]:
    step = int(checkpoint.name.removeprefix(CHECKPOINT_PREFIX))
    return {
        "preset": run.config.model.preset,
        "config": run.config.model_dump(mode="json", include={"model", "augment"}, exclude_none=True),
        "seed": run.config.train.seed,
        "picture_shape": run.config.preset.network.picture_shape,
        "ten_view": number_of_views(10, run.config.preset.augment, run.config.preset.network.stored_size),
        "checkpoint_step": step,
        "epoch": CheckpointFacts.of(run, checkpoint).epoch,
        "validation": _validation(run, step),
    }


def _validation(run: Run, step: int) -> dict[str, float | int] | None:
    """Error rates (0 to 1, center view) that training measured at this very step; None where it measured none."""
    line = validation_at(run.path / METRICS_FILE, step)
    return {key: line[key] for key in ("top1_error", "top5_error")} if line else None
