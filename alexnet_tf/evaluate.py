"""Measures top-1 and top-5 error over every image of a split: with one view or ten, of one net or of several averaged.

    alexnet-tf evaluate --run runs/paper --views 10

Nets come as runs, as exported models, or as both together; several make an ensemble.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet_tf.program.arguments import add_split_and_views, command_parser
from alexnet_tf.program.errors import DONE, FAULT, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import lines_dropped, outlive_readers
from alexnet_tf.program.whole_files import check_place, write_whole
from alexnet_tf.runs.place import check_is_run
from alexnet_tf.settings.sections import DevicesConfig

if TYPE_CHECKING:
    from alexnet_tf.evaluation.ensemble import Evaluation


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the error rates of one net, or of several averaged."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    outlive_readers()
    for option, paths in (("--run", arguments.run), ("--model", arguments.model)):
        for path in paths:
            refuse_pattern(option, path)
    if arguments.json:
        check_place(arguments.json)
    if not arguments.run and not (arguments.model and arguments.data):
        parser.error("give a --run, or a --model and its --data")
    for run in arguments.run:
        check_is_run(run)

    from alexnet_tf.evaluation.ensemble import EvaluatedRun, Net, Pictures, evaluate
    from alexnet_tf.runs.run import open_run
    from alexnet_tf.serving.evaluated_model import EvaluatedModel

    runs = [open_run(path) for path in arguments.run]
    data = arguments.data or runs[0].config.data.dir
    nets: list[Net] = [EvaluatedRun(run, arguments.checkpoint) for run in runs]
    nets += [EvaluatedModel(path) for path in arguments.model]
    pictures = Pictures.open(data, arguments.split, nets)
    found = evaluate(nets, pictures, arguments.views, runs[0].config.devices if runs else DevicesConfig(), print)
    if arguments.json:  # first of all, for stdout may have gone away in the meantime
        _write_json(found, arguments)
    _print(found, len(nets), arguments)
    return FAULT if lines_dropped() and not arguments.json else DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("evaluate", __doc__)
    add = parser.add_argument
    add("--run", type=Path, action="append", default=[], metavar="RUN",
        help="a trained run's folder; give it again for each further net")  # fmt: skip
    add("--model", type=Path, action="append", default=[], metavar="MODELS/alexnet",
        help="an exported model, or the folder of one version; give it again for each further net")  # fmt: skip
    add_split_and_views(parser)
    add("--data", type=Path, metavar="DATA", help="the folder of converted pictures (default: the first run's)")
    add("--checkpoint", choices=("best", "latest"), default="best",
        help="which weights of a run: of the best validation error, or the last saved")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write the figures into this file, too; error rates from 0 to 1")
    return parser


def _write_json(found: "Evaluation", arguments: argparse.Namespace) -> None:
    rates = found.rates
    report = {
        "top1_error": rates.top1_error, "top5_error": rates.top5_error,
        "images": rates.images, "views": max(found.views), "loss": rates.loss,
        "split": arguments.split, "runs": [str(path) for path in arguments.run],
        "models": [str(path) for path in arguments.model],
    }  # fmt: skip
    write_whole(arguments.json, (json.dumps(report, indent=1) + "\n").encode())


def _print(found: "Evaluation", nets: int, arguments: argparse.Namespace) -> None:
    rates, shown = found.rates, " or ".join(map(str, sorted(found.views)))
    print(
        f"{arguments.split}, {rates.images} images, {shown} view{'s' * (found.views != {1})}, "
        f"{nets} net{'s' * (nets > 1)}: "
        f"top-1 error {rates.top1_error:.2%}, top-5 error {rates.top5_error:.2%}"
    )
    if found.views != {arguments.views}:
        print(
            f"{arguments.views} views are {shown} here: pictures that must not be mirrored have half as many, and of a "
            "picture that a net sees whole there is one crop"
        )
    if found.warning:
        print(found.warning, file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
