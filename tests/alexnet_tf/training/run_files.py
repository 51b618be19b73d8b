"""Reads what a run left behind, without the program that wrote it."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf


def tensors(run: Path, step: int) -> dict[str, np.ndarray]:
    """Every weight and velocity of a checkpoint."""
    reader = tf.train.load_checkpoint(str(run / f"checkpoints/step-{step:08d}/variables"))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names}


def steps_of(run: Path) -> list[int]:
    """Of the whole checkpoints; a killed process leaves an unfinished one beside them, until the next one starts."""
    return sorted(int(path.name[5:]) for path in run.glob("checkpoints/step-*"))


def metrics(run: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]
