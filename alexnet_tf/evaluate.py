"""Top-1 and top-5 error over every image of a split: one view or ten, one net or the average of several.

Nets come as runs, as exported models, or as both together.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.config import Config, DevicesConfig
from alexnet_tf.devices import Towers, set_up_towers
from alexnet_tf.errors import DONE, UserError, run_command
from alexnet_tf.exported_model import ExportedModel
from alexnet_tf.input_pipeline import evaluation_batches, evaluation_files
from alexnet_tf.model import AlexNet, Images
from alexnet_tf.pattern_paths import refuse_pattern
from alexnet_tf.preparation import prepare_evaluation
from alexnet_tf.presets import STORED_SIZE, Augmentation
from alexnet_tf.sanity import shifted_labels
from alexnet_tf.whole_files import write_whole
from alexnet_tf.workdir import Classes, Run, open_run
from tfrecords.manifest import Manifest, check_shards, load_manifest
from tfrecords.statistics import Statistics

FILES_AT_ONCE = 32
"""Pictures in one call of an exported model."""


@dataclass(frozen=True)
class ErrorRates:
    """Shares of images, from 0 to 1."""

    top1_error: float
    top5_error: float
    loss: float
    """Mean cross-entropy of the averaged probabilities, in nats."""
    images: int


class Bar(Protocol):
    """What is told of images done, such as tqdm's."""

    def update(self, n: int) -> object:
        """So many more."""

    def close(self) -> object:
        """It was all."""


def main(argv: list[str]) -> int:
    """Prints the error rates of one net, or of several averaged."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    for option, paths in (("--run", arguments.run), ("--model", arguments.model)):
        for path in paths:
            refuse_pattern(option, path)
    runs = [open_run(path) for path in arguments.run]
    if not runs and not (arguments.model and arguments.data):
        parser.error("give a --run, or a --model and its --data")
    data = arguments.data or runs[0].config.data.dir
    manifest = load_manifest(data)
    for run in runs:
        _check_same_classes(f"run {run.path}", run.classes, data, manifest)
    check_shards(data, manifest, arguments.split)
    towers = set_up_towers(runs[0].config.devices if runs else DevicesConfig())
    models = [ExportedModel(path) for path in arguments.model]
    for model in models:
        _check_same_classes(f"model {model.path}", model.classes, data, manifest)
    total: np.ndarray | float = 0.0
    of_runs = (_answers_of_run(run, data, manifest, towers, arguments) for run in runs)
    of_models = (_answers_of_model(model, data, manifest, arguments) for model in models)
    nets, labels = len(runs) + len(models), np.empty(0)
    for probabilities, labels in itertools.chain(of_runs, of_models):  # noqa: B007 – the labels are the same each time
        total = total + probabilities
    averaged = np.asarray(total) / nets
    rates = error_rates(averaged, labels)
    print(
        f"{arguments.split}, {rates.images} images, {arguments.views} view{'s' * (arguments.views > 1)}, "
        f"{nets} net{'s' * (nets > 1)}: "
        f"top-1 error {rates.top1_error:.2%}, top-5 error {rates.top5_error:.2%}"
    )
    if warning := shifted_labels(averaged, labels):
        print(warning, file=sys.stderr)
    if arguments.json:
        report = {
            "top1_error": rates.top1_error, "top5_error": rates.top5_error,
            "images": rates.images, "views": arguments.views, "loss": rates.loss,
            "split": arguments.split, "runs": [str(path) for path in arguments.run],
            "models": [str(path) for path in arguments.model],
        }  # fmt: skip
        write_whole(arguments.json, (json.dumps(report, indent=1) + "\n").encode())
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m alexnet_tf.evaluate", description=__doc__)
    parser.add_argument("--run", type=Path, action="append", default=[], help="a run; several nets make an ensemble")
    parser.add_argument(
        "--model", type=Path, action="append", default=[], metavar="MODELS/alexnet",
        help="an exported model: its newest version, or one version",
    )  # fmt: skip
    parser.add_argument("--views", type=int, choices=(1, 10), default=1, help="center crop, or the paper's ten views")
    parser.add_argument("--split", default="val")
    parser.add_argument("--data", type=Path, help="data folder (default: the first run's)")
    parser.add_argument("--checkpoint", choices=("best", "latest"), default="best")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    return parser


def _check_same_classes(net: str, classes: Classes, data: Path, manifest: Manifest) -> None:
    if manifest.class_keys != classes.keys:
        raise UserError(
            f"{net} knows {len(classes.keys)} classes, {data} has {manifest.num_classes} or other ones; "
            "give the data it was trained on with --data"
        )


def _answers_of_run(
    run: Run, data: Path, manifest: Manifest, towers: Towers, arguments: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    model, _ = run.load_model(towers, arguments.checkpoint)
    batches = evaluation_batches(
        data, manifest, split=arguments.split, batch_size=pictures_at_once(run.config, arguments.views)
    )
    forward = prediction_function(model, run.config.preset.augment, run.statistics, arguments.views)
    images = manifest.splits[arguments.split].records
    return class_probabilities(forward, batches, tqdm(total=images, unit="img", desc=run.path.name, disable=None))


def pictures_at_once(config: Config, views: int) -> int:
    """How many pictures make a batch of about `data.eval_batch_size` views."""
    return max(1, config.data.eval_batch_size // views)


def _answers_of_model(
    model: ExportedModel, data: Path, manifest: Manifest, arguments: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    files = evaluation_files(data, manifest, split=arguments.split, batch_size=FILES_AT_ONCE)
    bar = tqdm(total=manifest.splits[arguments.split].records, unit="img", desc=str(model.path), disable=None)
    return class_probabilities(lambda files: model.answer(files, arguments.views)[0], files, bar)


def class_probabilities(
    forward: Callable[[tf.Tensor], tf.Tensor], batches: Iterable, progress: Bar | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Softmax outputs, averaged over an image's views (paper section 4.1).

    Args:
      forward: from `prediction_function`, made once for a network: making it compiles.
      batches: of (what `forward` takes of n images, labels (n,)).
      progress: to move on by images.

    Returns:
      Probabilities float64 (images, classes) and labels int64 (images,), in the order of the batches.

    Raises:
      UserError: the network's output is not finite, or there are no batches.
    """
    probabilities, labels = [], []
    for images, batch_labels in batches:
        probabilities.append(forward(images).numpy().astype(np.float64))
        labels.append(batch_labels.numpy())
        if progress is not None:
            progress.update(len(batch_labels))
    if progress is not None:
        progress.close()
    if not labels:
        raise UserError("no pictures came to be evaluated; convert again, with some in this split")
    joined = np.concatenate(probabilities)
    if not np.isfinite(joined).all():
        raise UserError("the network's output is not finite: its weights are broken; use an earlier checkpoint")
    return joined, np.concatenate(labels)


def prediction_function(
    model: AlexNet, augment: Augmentation, statistics: Statistics, views: int = 1
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A compiled function from pictures, uint8 (n, 256, 256, 3), to probabilities (n, classes), over 1 or 10 views."""

    @tf.function(input_signature=[tf.TensorSpec((None, STORED_SIZE, STORED_SIZE, 3), tf.uint8)])
    def probabilities(pictures: tf.Tensor) -> tf.Tensor:
        return view_average(
            model,
            model.on_each_tower(
                "views", lambda device: prepare_evaluation(pictures, views, augment, statistics, device)
            ),
        )

    return probabilities


def view_average(model: AlexNet, views: Images) -> tf.Tensor:
    """Softmax per view, then the mean over the views: (n, views, size, size, 3) -> (n, classes).

    Args:
      model: the network.
      views: the images, or for each tower its own, as `AlexNet` takes them.
    """
    shape = tf.shape(tf.nest.flatten(views)[0])
    flat = tf.nest.map_structure(lambda of_tower: tf.reshape(of_tower, (-1, *of_tower.shape[2:])), views)
    softmax = tf.nn.softmax(model(flat))  # (n * views, classes)
    return tf.reduce_mean(tf.reshape(softmax, (shape[0], shape[1], model.num_classes)), axis=1)


def error_rates(probabilities: np.ndarray, labels: np.ndarray) -> ErrorRates:
    """Error rates from sums over every image; of equal probabilities the lower class index comes first.

    Args:
      probabilities: (images, classes).
      labels: (images,), from 0.
    """
    return rates_of_sums(error_sums(probabilities, labels))


def error_sums(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What error rates are made of, and what may be added up over parts of a split; arguments as for `error_rates`.

    Returns:
      float64 (4,): images wrong at top-1, images wrong at top-5, cross-entropy in nats, images.
    """
    images = len(labels)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    hits = order == labels[:, None]
    of_label = probabilities[np.arange(images), labels]
    loss = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).sum()
    return np.array([images - hits[:, 0].sum(), images - hits.any(axis=1).sum(), loss, images], np.float64)


def rates_of_sums(sums: np.ndarray) -> ErrorRates:
    """Error rates of all images that went into `error_sums`."""
    top1, top5, loss, images = sums.tolist()
    return ErrorRates(top1_error=top1 / images, top5_error=top5 / images, loss=loss / images, images=int(images))


if __name__ == "__main__":
    run_command(main)
