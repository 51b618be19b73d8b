"""Evaluation with one view and with ten: images/s, and what ten views cost.

    python -m benchmarks.evaluation --run RUN [--data DATA] [--images 256] [--json FILE]

Both sides go through the same pictures of the validation split, from records to probabilities, as
`python -m alexnet_tf.evaluate` does. Ten views share reading, decoding and the way to the device, so that they should
cost less than ten times one.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from alexnet_tf.evaluation.probabilities import class_probabilities, pictures_at_once, prediction_function
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.pictures.input_pipeline import evaluation_batches
from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.runs.run import open_run
from alexnet_tf.towers import set_up_towers
from benchmarks.report import (
    Figure,
    benchmark_parser,
    describe_machine,
    format_machine,
    format_table,
    in_turns,
    parse_options,
    whole_number,
    write_report,
)
from tfrecords.manifest import load_manifest


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parse_options(_parser(), argv)
    run = open_run(options.run)
    data = options.data or run.config.data.dir
    manifest = load_manifest(data)
    model, _ = trained_network(run, set_up_towers(run.config.devices))
    machine = describe_machine()
    print(format_machine(machine))
    rates: dict[int, list[float]] = {1: [], 10: []}

    def side(views: int) -> Callable[[], None]:
        forward = prediction_function(model, run.config.preset.augment, run.statistics, views)
        batch_size = pictures_at_once(run.config, views)
        batches = evaluation_batches(data, manifest, split="val", batch_size=batch_size)
        forward(next(iter(batches))[0])  # compiles

        def take_turn() -> None:
            some = batches.take(max(1, options.images // batch_size))
            before = time.perf_counter()
            images = len(class_probabilities(forward, some)[1])
            rates[views].append(images / (time.perf_counter() - before))

        return take_turn

    sides = [side(views) for views in rates]
    for number in tqdm(range(options.rounds), unit="round", disable=None, leave=False):
        in_turns(number, *sides)
    figures = summarize(rates)
    print(format_table(list(figures.values())))
    if options.json:
        settings = {"run": str(options.run), "data": str(data), "images": options.images, "rounds": options.rounds}
        write_report(options.json, "evaluation", settings, machine, figures)
    return DONE


def summarize(rates: dict[int, list[float]]) -> dict[str, Figure]:
    """The figures of a run, from images/s by the number of views; the cost is taken round by round."""
    costs = [one / ten for one, ten in zip(rates[1], rates[10], strict=True)]
    return {
        "one_view": Figure("one view", "images/s", rates[1]),
        "ten_views": Figure("ten views", "images/s", rates[10]),
        "cost_of_ten": Figure("ten views cost as much as", "single views", costs),
    }


def _parser() -> argparse.ArgumentParser:
    parser = benchmark_parser("evaluation", "Time evaluation with one view and with ten.")
    parser.add_argument("--run", type=Path, required=True, help="a run with a checkpoint")
    parser.add_argument("--data", type=Path, help="data folder (default: the run's)")
    parser.add_argument("--images", type=whole_number, default=256, help="pictures a turn (256)")
    return parser


if __name__ == "__main__":
    run_command(main)
