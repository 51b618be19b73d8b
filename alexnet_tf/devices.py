"""Prints the placement report: on which device every operation of a training step really runs, and what crosses.

    alexnet-tf devices --config paper

It is read from the graph as TensorFlow placed it. No data are needed. The exit status is 1 where an operation strayed
from its tower's device.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.arguments import command_parser
from alexnet_tf.program.errors import DONE, FAULT, run_command
from alexnet_tf.program.whole_files import check_place, write_whole
from alexnet_tf.settings.config import load_config
from alexnet_tf.settings.named_configs import add_config_options


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the placement report; status 1 if anything strayed from its tower's device."""
    arguments = _parser().parse_args(argv)
    config = load_config(arguments.config, arguments.overrides)
    if arguments.json:
        check_place(arguments.json)

    from alexnet_tf.training.placement_report import placement_of, report_dict, report_lines

    placement = placement_of(config)
    print("\n".join(report_lines(placement)))
    if arguments.json:
        write_whole(arguments.json, (json.dumps(report_dict(placement), indent=1) + "\n").encode())
    return FAULT if placement.strayed else DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("devices", __doc__)
    add_config_options(parser)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the report into this file, too; sizes in bytes"
    )
    return parser


if __name__ == "__main__":
    run_command(main)
