"""Writes a config that fits converted pictures: batch, rate, epochs and schedule, each with its reason.

    alexnet-tf new-config data/own --from runs/paper --out own.yaml

With --from the weights of that run are gone on with, which few pictures need.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.arguments import command_parser
from alexnet_tf.program.errors import DONE, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Writes it. Returns the exit status."""
    arguments = _parser().parse_args(argv)

    from alexnet_tf.training.new_configs import write_new_config

    write_new_config(arguments.data, arguments.run, arguments.out)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("new-config", __doc__)
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="the folder of converted pictures")
    add("--from", type=Path, metavar="RUN", dest="run", help="a run whose weights are begun with: fine-tuning")
    add("--out", type=Path, metavar="FILE.yaml", help="the file to write, never over another one (default: stdout)")
    return parser


if __name__ == "__main__":
    run_command(main)
