"""Names what is on pictures, with an exported model; prints a small table or JSON."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from alexnet_tf.errors import DONE, UserError, run_command
from alexnet_tf.serving import CLASSES_FILE, versions
from alexnet_tf.workdir import Classes, load_classes


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
    version = newest_version(arguments.model)
    classes = load_classes(version / CLASSES_FILE)
    probabilities = tf.saved_model.load(str(version)).signatures["probabilities"]
    answers = {str(path): _top(_classify(probabilities, path), classes, arguments.top) for path in arguments.images}
    print(json.dumps(answers, indent=1, ensure_ascii=False) if arguments.json else _table(answers))
    return DONE


def newest_version(model: Path) -> Path:
    """The highest version in a model's folder; a version's own folder stands for itself.

    Raises:
      UserError: there is no exported model.
    """
    if (model / "saved_model.pb").is_file():
        return model
    found = versions(model)
    if not found:
        raise UserError(f"{model} holds no exported model; make one with export.py --out {model}")
    return model / str(found[-1])


def _classify(probabilities: Any, path: Path) -> np.ndarray:
    try:
        encoded = path.read_bytes()
    except OSError as fault:
        raise UserError(f"picture {path} cannot be read: {fault.strerror}") from fault
    try:
        return probabilities(image_bytes=tf.constant([encoded]))["probabilities"].numpy()[0]
    except tf.errors.InvalidArgumentError as fault:
        raise UserError(f"picture {path} is no readable JPEG, PNG or GIF file") from fault


def _top(probabilities: np.ndarray, classes: Classes, count: int) -> list[dict[str, Any]]:
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [
        {"label": classes.keys[i], "name": classes.names[i], "probability": round(float(probabilities[i]), 6)}
        for i in order
    ]


def _table(answers: dict[str, list[dict[str, Any]]]) -> str:
    lines = []
    for path, top in answers.items():
        lines.append(path)
        lines += [f"  {answer['probability']:7.2%}  {answer['name']}" for answer in top]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
