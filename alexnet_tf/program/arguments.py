"""What the command lines of all commands have in common: how help looks, and types for numbers.

No command imports TensorFlow, or what needs it, before its arguments are read: help and wrong usage answer at once.
"""

import argparse
import math
import sys
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)

PROGRAM = "alexnet-tf"
"""The one installed command."""
EPILOG = (
    "Exit status: 0 done, 1 a fault, told in one line, 2 wrong usage, 75 stopped by a signal after saving: run the "
    "same command again to resume, 141 where nobody reads on what it prints. --debug, or ALEXNET_DEBUG=1 in the "
    "environment, shows a fault's traceback."
)


class HelpFormatter(argparse.HelpFormatter):
    """Wraps the paragraphs of a description, leaves indented examples alone, and adds an option's default value."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            # Where nothing but an example follows the first line, formatters take its indentation away.
            textwrap.indent(textwrap.dedent(part), "    ") if part.startswith((" ", f"{PROGRAM} "))
            else textwrap.fill(" ".join(part.split()), width)
            for part in text.strip().split("\n\n")
        )  # fmt: skip

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.help
        nothing = action.default is None or action.default in ([], argparse.SUPPRESS) or action.nargs == 0
        if not told or "default" in told or not action.option_strings or nothing:
            return told
        return f"{told} (default: %(default)s)"


class CommandParser(argparse.ArgumentParser):
    """A parser, and those of its subcommands, with help as it looks here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, "epilog": EPILOG, **options})


def command_parser(name: str, description: str | None) -> CommandParser:
    """The parser of a command, which calls itself as it was called.

    Args:
      name: the command's name, as in "import-weights".
      description: paragraphs and indented examples; a module's docstring.
    """
    return CommandParser(prog=_called_as(name), description=description)


def _called_as(name: str) -> str:
    """`alexnet-tf NAME`, unless the process was started by one of the command's other doors."""
    started = getattr(sys.modules.get("__main__"), "__spec__", None)
    if started is not None and started.name.rpartition(".")[2] == name.replace("-", "_"):
        return f"python -m {started.name}"
    script = sys.argv[0].rpartition("/")[2]
    return script if started is None and script == f"{name}.py" else f"{PROGRAM} {name}"


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argparse type: whole numbers from `least` on, up to `most` where given."""

    def whole_number(text: str) -> int:
        value = _number(int, text, "a whole number")
        if value < least or (most is not None and value > most):
            limit = f"at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {limit}, not {value}")
        return value

    return whole_number


def positive_number(text: str) -> float:
    """An argparse type: finite numbers above 0."""
    value = _number(float, text, "a number")
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be above 0, and finite, not {text}")
    return value


def not_negative_number(text: str) -> float:
    """An argparse type: finite numbers from 0 on."""
    value = _number(float, text, "a number")
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be from 0 on, and finite, not {text}")
    return value


def fraction(text: str) -> float:
    """An argparse type: numbers between 0 and 1, without either."""
    value = _number(float, text, "a number")
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, not {text}")
    return value


def _number(kind: Callable[[str], Number], text: str, wanted: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}") from None


def add_split_and_views(parser: argparse.ArgumentParser) -> None:
    """Adds the options of all commands that evaluate nets: on which pictures, and on how many views of each."""
    add = parser.add_argument
    add("--split", default="val", metavar="NAME", help="which part of the data is evaluated: val or train")
    add("--views", type=int, choices=(1, 10), default=1,
        help="views of each image whose probabilities are averaged: the center crop, or the paper's ten")  # fmt: skip
