"""Draws a run's metrics.jsonl: training loss, validation loss and error rates over the epochs."""

import argparse
from pathlib import Path

from alexnet_tf.evaluation.drawing import our_style
from alexnet_tf.evaluation.figures import learning_curve
from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.runs.metrics import METRICS_FILE, rate_drops, read_metrics


def main(argv: list[str]) -> int:
    """Writes the picture."""
    parser = argparse.ArgumentParser(prog="python -m alexnet_tf.learning_curve", description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    arguments = parser.parse_args(argv)
    training, validation = read_metrics(arguments.run / METRICS_FILE)
    if not training or not validation:
        raise UserError(f"run {arguments.run} has not finished an epoch yet; nothing to draw")
    kind = arguments.out.suffix[1:] or "png"
    with our_style():
        figure = learning_curve(training, validation, arguments.run.name, rate_drops(arguments.run / METRICS_FILE))
        write_whole(arguments.out, lambda file: figure.savefig(file, dpi=120, format=kind))
    return DONE


if __name__ == "__main__":
    run_command(main)
