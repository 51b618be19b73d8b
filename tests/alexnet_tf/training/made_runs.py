"""Runs that were never trained, but whose nets are sure enough of themselves to tell pictures apart."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from alexnet_tf.networks.network import named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.settings.config import parse_config
from alexnet_tf.towers import Towers
from tfrecords.manifest import Manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics


def write_opinionated_run(
    folder: AnyPath, data: Path, manifest: Manifest, preset: str, towers: Towers, seed: int, *, bound: bool = False
) -> None:
    """A run of one checkpoint with weights scaled to keep the size of the activations; `bound` to the data if asked.

    `preset` may be followed by choices of its network, as in "paper towers=one".
    """
    name, *choices = preset.split()
    overrides = [f"data.dir={data}", "data.eval_batch_size=20", f"train.seed={seed}", "devices.towers=two-cpus",
                 f"model.preset={name}", *(f"model.{choice}" for choice in choices)]  # fmt: skip
    config = parse_config("", "test", overrides)
    model = build_network(config.preset.network, manifest.num_classes, towers, seed)
    variables = named_variables(model)
    for name, variable in variables.items():
        if name.endswith("/kernel"):
            fan_in = np.prod(variable.shape[:-1])
            variable.assign(variable * np.sqrt(2 / fan_in) / np.std(variable))
    known = manifest if bound else None
    with TrainingFolder(
        folder, config, Classes.of(manifest), Statistics.load(data / STATISTICS_FILE), known
    ) as training:
        training.save(tf.train.Checkpoint(weights=variables), TrainingState(step=1))
