"""Names what is on pictures, with an exported model; prints a small table, JSON or CSV.

    alexnet-tf predict --model models/alexnet cat.jpg dog.png new_pictures/

A file that cannot be read or used gets a line on stderr and makes the exit status 1; the others are answered.
"""

import argparse
import codecs
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet_tf.program.arguments import command_parser, whole_number
from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.serving.answers import add_form, add_images, answers_in
from alexnet_tf.serving.versions import newest_version


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the most probable classes of every picture."""
    arguments = _parser().parse_args(argv)
    refuse_pattern("--model", arguments.model)
    newest_version(arguments.model)  # a wrong path is told before TensorFlow is loaded

    from alexnet_tf.serving.exported_model import ExportedModel
    from alexnet_tf.serving.given_pictures import picture_paths

    model = ExportedModel(arguments.model)
    for line in model.checkpoints:
        print(line, file=sys.stderr)  # the answers alone go to stdout, for scripts
    answers: dict[str, list[dict[str, Any]]] = {}
    faults: list[str] = []
    for path in picture_paths(arguments.images, faults.append):
        try:
            answers[str(path)] = model.top(path, arguments.top)
        except UserError as fault:
            faults.append(str(fault))
    in_ascii = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    if text := answers_in(arguments.form, answers, in_ascii=in_ascii):
        print(text, flush=True)
    for told in faults:
        print(f"error: {told}", file=sys.stderr)
    return FAULT if faults else DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("predict", __doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="MODELS/alexnet",
        help="an exported model: its newest version, or the folder of one version")  # fmt: skip
    add_images(parser)
    add("--top", type=whole_number(1), default=5, metavar="N", help="how many classes to name of each picture")
    add_form(parser)
    return parser


if __name__ == "__main__":
    run_command(main)
