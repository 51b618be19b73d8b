"""Writes a config that fits converted pictures: batch, rate, epochs and schedule, each with its reason.

    alexnet-tf new-config data/own --from runs/paper --out own.yaml

With --from the weights of that run are gone on with, which few pictures need.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.training.new_configs import write_new_config


def main(argv: Sequence[str] | None = None) -> int:
    """Writes it. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="alexnet-tf new-config", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="folder of converted pictures")
    add("--from", type=Path, metavar="RUN", dest="run", help="fine-tune: begin with this run's weights")
    add("--out", type=Path, metavar="FILE.yaml", help="file to write, never over another (default: stdout)")
    arguments = parser.parse_args(argv)
    write_new_config(arguments.data, arguments.run, arguments.out)
    return DONE


if __name__ == "__main__":
    run_command(main)
