"""Lists the configs that come with the program, or prints one, to be copied and changed.

    alexnet-tf configs
    alexnet-tf configs paper > mine.yaml

A name that is listed can stand for a file, as in `alexnet-tf train --config paper`.
"""

import argparse
import textwrap
from collections.abc import Sequence

from alexnet_tf.program.arguments import command_parser
from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.program.text_files import read_text
from alexnet_tf.settings.named_configs import named_configs, purpose

WIDTH = 100
"""Characters of a line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the list, or the text of one config."""
    arguments = _parser().parse_args(argv)
    known = named_configs()
    if arguments.name:
        print(read_text(known[arguments.name]), end="")
        return DONE
    for name, path in known.items():
        print(name)
        print(textwrap.fill(purpose(path), WIDTH, initial_indent="    ", subsequent_indent="    "))
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("configs", __doc__)
    parser.add_argument("name", nargs="?", choices=tuple(named_configs()), metavar="NAME",
        help="the config to print, with its comments (default: list all)")  # fmt: skip
    return parser


if __name__ == "__main__":
    run_command(main)
