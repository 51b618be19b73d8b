"""Trainings of one process that share what TensorFlow traces of their network: that takes most of a short one's time.

What these tests break lies in files. Every training has the variables that it would begin with, and reads and writes
all that it would; only the graphs of the step and of the validation are those of an earlier one of equal settings.
"""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.evaluation.probabilities import prediction_function
from alexnet_tf.networks.network import Network
from alexnet_tf.settings.recipe import Augmentation, Preset
from alexnet_tf.towers import Towers
from alexnet_tf.training import loop
from alexnet_tf.training.step import TrainingStep
from alexnet_tf.workers.together import OneWorker
from tfrecords.statistics import Statistics

Forward = Callable[[tf.Tensor], tf.Tensor]
_steps: dict[str, tuple[TrainingStep, dict[str, np.ndarray]]] = {}
"""By their settings, with the values that their variables begin with."""
_forwards: dict[str, Forward] = {}


def trace_once(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone."""
    patch.setattr(loop, "TrainingStep", _step)
    patch.setattr(loop, "prediction_function", _forward)


def _step(
    preset: Preset, num_classes: int, towers: Towers, seed: int, statistics: Statistics | None, workers: OneWorker,
    class_weights: np.ndarray | None = None,
) -> TrainingStep:  # fmt: skip
    key = f"{preset} {num_classes} {towers} {seed} {statistics and statistics.digest()} {class_weights}"
    if key not in _steps:
        made = TrainingStep(preset, num_classes, towers, seed, statistics, workers, class_weights)
        _steps[key] = made, {name: variable.numpy() for name, variable in made.variables.items()}
    step, beginning = _steps[key]
    assert not step.from_features
    for name, variable in step.variables.items():
        variable.assign(beginning[name])
    for slot in step.optimizer.slots.values():
        for variable in slot.values():
            variable.assign(tf.zeros_like(variable))
    return step


def _forward(model: Network, augment: Augmentation, statistics: Statistics) -> Forward:
    key = f"{id(model)} {augment} {statistics.digest()}"
    if key not in _forwards:
        _forwards[key] = prediction_function(model, augment, statistics)
    return _forwards[key]
