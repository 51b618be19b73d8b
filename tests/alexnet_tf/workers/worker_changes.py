"""Changes to a worker of the tests, and what it leaves behind; loads TensorFlow, unlike `worker_program`."""

import json
import os
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.training.loop import Trainer
from alexnet_tf.training.placement_report import measure_placement
from alexnet_tf.training.step import TrainingStep
from alexnet_tf.workers.together import TowerTensor
from tests.alexnet_tf.conftest import switch_dropout_off


def change(out: Path, changes: list[str]) -> None:
    """Makes the changes, for good, and has `Trainer.run` leave traces in the folder `out`."""
    patch = pytest.MonkeyPatch()
    for name in changes:
        if name in CHANGES:
            CHANGES[name](patch)
    run = Trainer.run

    def leave_traces(trainer: Trainer) -> None:
        stem = out / str(trainer.workers.index)
        stem.with_suffix(".pid").write_text(str(os.getpid()))
        if "placement" in changes:
            stem.with_suffix(".json").write_text(json.dumps(what_is_where(trainer)))
            with (out / f"{stem.name}-averaged").open("wb") as file:
                np.savez(file, **averaged_gradients(trainer))
        run(trainer)
        np.savez(stem.with_suffix(".npz"), **{name: value.numpy() for name, value in trainer.step.variables.items()})

    patch.setattr(Trainer, "run", leave_traces)


def compute_in_float64(patch: pytest.MonkeyPatch) -> None:
    """Two right programs then agree to 14 digits, and after 30 steps still to 9."""
    keras.mixed_precision.set_global_policy("float64")


def end_few_epochs(patch: pytest.MonkeyPatch) -> None:
    """Where every step is an epoch: validating and saving after each would take most of the time."""
    patch.setattr(Trainer, "_ends_epoch", lambda trainer: trainer.state.step % 15 == 0)


def stand_still_on_1(patch: pytest.MonkeyPatch) -> None:
    """Worker 1's main thread does nothing after step 3."""
    check = Trainer._check_batch

    def stand(trainer: Trainer, *given: object) -> None:
        if trainer.workers.index == 1 and trainer.state.step == 3:
            time.sleep(120)
        check(trainer, *given)

    patch.setattr(Trainer, "_check_batch", stand)


def be_slow_after_rename(patch: pytest.MonkeyPatch) -> None:
    """A save takes 3 s more once its checkpoint has its name, and leaves RUN-saved-STEP when it has ended."""
    replace, save = os.replace, TrainingFolder.save

    def slow(source: object, target: object, **options: object) -> None:
        replace(source, target, **options)
        if Path(str(target)).name.startswith("step-"):
            time.sleep(3)

    def note(folder: TrainingFolder, checkpoint: object, state: TrainingState, **options: object) -> None:
        save(folder, checkpoint, state, **options)
        folder.path.with_name(f"{folder.path.name}-saved-{state.step}").touch()

    patch.setattr(os, "replace", slow)
    patch.setattr(TrainingFolder, "save", note)


CHANGES = {
    "stand-still-on-1": stand_still_on_1,
    "slow-after-rename": be_slow_after_rename,
    "no-dropout": switch_dropout_off,
    "float64": compute_in_float64,
    "few-epochs": end_few_epochs,
}


def averaged_gradients(trainer: Trainer) -> dict[str, np.ndarray]:
    shapes = {name: tuple(variable.shape) for name, variable in trainer.step.variables.items()}
    gradients = made_gradients(trainer.workers.index, shapes)
    values = [TowerTensor(name, trainer.step.known[name].tower, gradient) for name, gradient in gradients.items()]
    means, _ = tf.function(lambda: trainer.workers.average(values, {"loss": tf.constant(0.0)}))()
    return {name: mean.numpy() for name, mean in means.items()}


def made_gradients(worker: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Any numbers, others for every worker."""
    draw = np.random.default_rng(worker)
    return {name: draw.normal(size=shapes[name]).astype(np.float32) for name in sorted(shapes)}


def what_is_where(trainer: Trainer) -> dict:
    towers, classes = trainer.step.towers, trainer.manifest.num_classes
    step = TrainingStep(trainer.preset, classes, towers, 0, trainer.statistics, trainer.workers)
    placement = measure_placement(step)
    pictures = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), step.input_specs(4))
    rates = dict.fromkeys(step.optimizer.variables, 1e-9)
    arguments = step.arguments(pictures, np.zeros(4, np.int64), 0, rates)
    graph = step.compiled.get_concrete_function(*arguments).graph
    sent = [operation for operation in graph.get_operations() if operation.type == "CollectiveReduceV2"]
    return {
        "strayed": placement.strayed,
        "crossings": sorted({crossing.kind for crossing in placement.crossings}),
        "reduced": [
            {"tower": op.tower, "device": op.device, "name": op.name}
            for op in placement.operations
            if op.type == "CollectiveReduceV2"
        ],
        "sent": {op.name: [op.inputs[0].dtype.name, op.inputs[0].shape.num_elements()] for op in sent},
    }
