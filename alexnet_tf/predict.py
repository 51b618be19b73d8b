"""Names what is on pictures, with an exported model; prints a small table or JSON.

A file that cannot be read or used gets a line on stderr and makes the exit status 1; the others are answered.
"""

import argparse
import codecs
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.serving.answers import answer_table, most_probable, readable_picture
from alexnet_tf.serving.exported_model import ExportedModel
from alexnet_tf.serving.picture_files import OK


def main(argv: list[str]) -> int:
    """Prints the most probable classes of every picture."""
    parser = argparse.ArgumentParser(prog="python -m alexnet_tf.predict", description=__doc__)
    parser.add_argument(
        "--model", type=Path, required=True, metavar="MODELS/alexnet", help="newest version, or one version"
    )
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    if arguments.top < 1:
        parser.error("--top counts from 1")
    refuse_pattern("--model", arguments.model)
    model = ExportedModel(arguments.model)
    for line in model.checkpoints:
        print(line, file=sys.stderr)  # the answers alone go to stdout, for scripts
    answers: dict[str, list[dict[str, Any]]] = {}
    faults: list[UserError] = []
    for path in arguments.images:
        try:
            answers[str(path)] = most_probable(_classify(model, path), model.classes, arguments.top)
        except UserError as fault:
            faults.append(fault)
    in_ascii = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    text = json.dumps(answers, indent=1, ensure_ascii=in_ascii) if arguments.json else answer_table(answers)
    print(text, flush=True)
    for told in faults:
        print(f"error: {told}", file=sys.stderr)
    return FAULT if faults else DONE


def _classify(model: ExportedModel, path: Path) -> np.ndarray:
    probabilities, status = model.answer(tf.constant([readable_picture(path)]))
    if status.numpy()[0].decode() != OK:
        raise UserError(f"picture {path}: {status.numpy()[0].decode()}")
    return probabilities.numpy()[0]


if __name__ == "__main__":
    run_command(main)
