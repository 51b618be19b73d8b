"""Names what is on pictures, with an exported model; prints a small table or JSON.

A file that cannot be read or used gets a line on stderr and makes the exit status 1; the others are answered.
"""

import argparse
import codecs
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.runs.classes import Classes
from alexnet_tf.serving.answers import add_form, answers_in
from alexnet_tf.serving.exported_model import ExportedModel
from alexnet_tf.serving.given_pictures import picture_for_model, picture_paths
from alexnet_tf.serving.picture_files import OK
from tfrecords.picture_structure import UnreadablePicture, essence


def main(argv: list[str]) -> int:
    """Prints the most probable classes of every picture."""
    parser = argparse.ArgumentParser(prog="python -m alexnet_tf.predict", description=__doc__)
    parser.add_argument(
        "--model", type=Path, required=True, metavar="MODELS/alexnet", help="newest version, or one version"
    )
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="file, folder or quoted pattern")
    parser.add_argument("--top", type=int, default=5)
    add_form(parser)
    arguments = parser.parse_args(argv)
    if arguments.top < 1:
        parser.error("--top counts from 1")
    refuse_pattern("--model", arguments.model)
    model = ExportedModel(arguments.model)
    for line in model.checkpoints:
        print(line, file=sys.stderr)  # the answers alone go to stdout, for scripts
    answers: dict[str, list[dict[str, Any]]] = {}
    faults: list[str] = []
    for path in picture_paths(arguments.images, faults):
        try:
            answers[str(path)] = _top(_classify(model, path), model.classes, arguments.top)
        except UserError as fault:
            faults.append(str(fault))
    in_ascii = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
    print(answers_in(arguments.form, answers, in_ascii=in_ascii), flush=True)
    for told in faults:
        print(f"error: {told}", file=sys.stderr)
    return FAULT if faults else DONE


def _classify(model: ExportedModel, path: Path) -> np.ndarray:
    file = picture_for_model(path)
    try:
        found = essence(file, thorough=True)  # exports of earlier versions do not judge it themselves
    except UnreadablePicture as fault:
        raise UserError(f"picture {path}: {fault}") from fault
    whole = found.cut or model.exif == "apply"  # which the rest does not tell any more
    probabilities, status = model.answer(tf.constant([file if whole else found.file]))
    if status.numpy()[0].decode() != OK:
        raise UserError(f"picture {path}: {status.numpy()[0].decode()}")
    return probabilities.numpy()[0]


def _top(probabilities: np.ndarray, classes: Classes, count: int) -> list[dict[str, Any]]:
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [
        {"label": classes.keys[i], "name": classes.names[i], "probability": round(float(probabilities[i]), 6)}
        for i in order
    ]


if __name__ == "__main__":
    run_command(main)
