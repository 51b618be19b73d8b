"""Draws a run's learning curve: training loss, validation loss and error rates over the epochs.

alexnet-tf learning-curve --run runs/paper --out curve.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.arguments import command_parser
from alexnet_tf.program.errors import DONE, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the picture."""
    arguments = _parser().parse_args(argv)

    from alexnet_tf.evaluation.figures import draw_learning_curve

    draw_learning_curve(arguments.run, arguments.out)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("learning-curve", __doc__)
    add = parser.add_argument
    add("--run", type=Path, required=True, metavar="RUN", help="the run's folder, whose metrics.jsonl is drawn")
    add("--out", type=Path, required=True, metavar="FILE.png",
        help="the picture to write; its ending says of which kind, such as .png, .svg or .pdf")  # fmt: skip
    return parser


if __name__ == "__main__":
    run_command(main)
