"""Top-1 and top-5 error over every image of a split: one view or ten, one net or the average of several.

Nets come as runs, as exported models, or as both together.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np

from alexnet_tf.evaluation.error_rates import error_rates, shifted_labels
from alexnet_tf.evaluation.probabilities import class_probabilities, pictures_at_once, prediction_function
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.pictures.input_pipeline import evaluation_batches, evaluation_files
from alexnet_tf.pictures.preparation import number_of_views
from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.progress_lines import progress_bar
from alexnet_tf.program.standard_streams import lines_dropped, outlive_readers
from alexnet_tf.program.whole_files import check_place, write_whole
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.classes import Classes, how_they_differ
from alexnet_tf.runs.run import Run, open_run
from alexnet_tf.serving.exported_model import ExportedModel
from alexnet_tf.settings.config import DevicesConfig
from alexnet_tf.settings.network_checks import check_pictures
from alexnet_tf.towers import Towers, set_up_towers
from tfrecords.manifest import Manifest, check_shards, load_manifest

FILES_AT_ONCE = 32
"""Pictures in one call of an exported model."""


def main(argv: list[str]) -> int:
    """Prints the error rates of one net, or of several averaged."""
    outlive_readers()
    parser = _parser()
    arguments = parser.parse_args(argv)
    for option, paths in (("--run", arguments.run), ("--model", arguments.model)):
        for path in paths:
            refuse_pattern(option, path)
    if arguments.json:
        check_place(arguments.json)
    runs = [open_run(path) for path in arguments.run]
    if not runs and not (arguments.model and arguments.data):
        parser.error("give a --run, or a --model and its --data")
    data = arguments.data or runs[0].config.data.dir
    manifest = load_manifest(data)
    for run in runs:
        _check_same_classes(f"run {run.path}", run.classes, data, manifest)
        check_pictures(data, manifest, run.config.preset.network, run.config.model.preset)
    check_shards(data, manifest, arguments.split)
    towers = set_up_towers(runs[0].config.devices if runs else DevicesConfig())
    models = [ExportedModel(path) for path in arguments.model]
    for model in models:
        _check_same_classes(f"model {model.path}", model.classes, data, manifest)
        for line in model.checkpoints:
            print(line)
    total: np.ndarray | float = 0.0
    of_runs = (_answers_of_run(run, data, manifest, towers, arguments) for run in runs)
    of_models = (_answers_of_model(model, data, manifest, arguments) for model in models)
    nets, labels = len(runs) + len(models), np.empty(0)
    for probabilities, labels in itertools.chain(of_runs, of_models):  # noqa: B007 – the labels are the same each time
        total = total + probabilities
    averaged = np.asarray(total) / nets
    rates = error_rates(averaged, labels)
    views = {net.number_of_views(arguments.views) for net in models}
    views |= {number_of_views(arguments.views, run.config.preset.augment, manifest.size) for run in runs}
    shown = " or ".join(map(str, sorted(views)))
    if arguments.json:  # first of all, for stdout may have gone away in the meantime
        report = {
            "top1_error": rates.top1_error, "top5_error": rates.top5_error,
            "images": rates.images, "views": max(views), "loss": rates.loss,
            "split": arguments.split, "runs": [str(path) for path in arguments.run],
            "models": [str(path) for path in arguments.model],
        }  # fmt: skip
        write_whole(arguments.json, (json.dumps(report, indent=1) + "\n").encode())
    print(
        f"{arguments.split}, {rates.images} images, {shown} view{'s' * (views != {1})}, "
        f"{nets} net{'s' * (nets > 1)}: "
        f"top-1 error {rates.top1_error:.2%}, top-5 error {rates.top5_error:.2%}"
    )
    if views != {arguments.views}:
        print(
            f"{arguments.views} views are {shown} here: pictures that must not be mirrored have half as many, and of a "
            "picture that a net sees whole there is one crop"
        )
    if warning := shifted_labels(averaged, labels):
        print(warning, file=sys.stderr)
    return FAULT if lines_dropped() and not arguments.json else DONE


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
            f"{net} knows {len(classes.keys)} classes, {data} {how_they_differ(classes.keys, manifest.class_keys)}; "
            "give the data it was trained on with --data"
        )


def _answers_of_run(
    run: Run, data: Path, manifest: Manifest, towers: Towers, arguments: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    model, checkpoint = trained_network(run, towers, arguments.checkpoint)
    print(f"weights of run {run.path}: {CheckpointFacts.of(run, checkpoint)}")
    batches = evaluation_batches(
        data, manifest, split=arguments.split, batch_size=pictures_at_once(run.config, arguments.views)
    )
    forward = prediction_function(model, run.config.preset.augment, run.statistics, arguments.views)
    images = manifest.splits[arguments.split].records
    return class_probabilities(forward, batches, progress_bar(images, desc=run.path.name))


def _answers_of_model(
    model: ExportedModel, data: Path, manifest: Manifest, arguments: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    files = evaluation_files(data, manifest, split=arguments.split, batch_size=FILES_AT_ONCE)
    bar = progress_bar(manifest.splits[arguments.split].records, desc=str(model.path))
    return class_probabilities(lambda files: model.answer(files, arguments.views)[0], files, bar)


if __name__ == "__main__":
    run_command(main)
