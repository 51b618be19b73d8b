"""What `alexnet_tf.load` is given: a run's folder, an exported model's, or the name of a preset."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.from_python.net import Net, Prepared
from alexnet_tf.networks.network import named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.place import CONFIG_FILE
from alexnet_tf.runs.run import Run, Which, open_run
from alexnet_tf.serving.exported_model import ExportedModel
from alexnet_tf.serving.versions import MODEL_FILES, PROTO, STATISTICS_COPY, version_folders
from alexnet_tf.settings.config import Config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from tfrecords.manifest import MANIFEST_FILE
from tfrecords.statistics import Statistics

MEAN_COLOR = {3: (123.0, 117.0, 104.0), 1: (33.3,)}
"""Of a network without a run, by its channels: of ILSVRC-2012 as Caffe has it, and of MNIST's digits."""


def load_net(
    source: AnyPath, checkpoint: Which = "best", classes: int | Sequence[str] | None = None, seed: int = 0
) -> Net:
    """See `alexnet_tf.load`."""
    if checkpoint not in ("best", "latest"):
        raise UserError(f'checkpoint is {checkpoint!r}: give "best" or "latest"')
    path = Path(source)
    if not os.path.lexists(path) and str(source) in PRESETS:
        return _of_preset(str(source), classes, seed)
    if classes is not None or seed:
        raise UserError(
            f"{path}: classes and seed are for a preset's fresh weights, not for trained ones; leave them out"
        )
    if (path / CONFIG_FILE).exists():
        return _of_run(open_run(path), checkpoint)
    if (path / PROTO).is_file() or any((folder / PROTO).is_file() for folder in version_folders(path).values()):
        return _of_export(ExportedModel(path))
    raise UserError(_what_it_is(path))


def _what_it_is(path: Path) -> str:
    if not os.path.lexists(path):
        return (
            f"{path} does not exist, and no preset is called so; give a run's folder, an exported model's, or one of "
            f"{', '.join(PRESETS)}"
        )
    if path.suffix == ".keras":
        return (
            f"{path} is a Keras model: keras.models.load_model reads it after "
            "`from alexnet_tf.networks.keras_network import KerasNetwork`"
        )
    for folder in (path, *version_folders(path).values()):
        for model_format, file in MODEL_FILES.items():
            if (folder / file).is_file():
                return f"{path} is a model of format {model_format}: its README.md says how to run it; give the run"
    if (path / MANIFEST_FILE).exists():
        return f"{path} holds converted data; train a run on it, and give the run's folder"
    return (
        f"{path} is neither a run's folder nor an exported model's; give the folder of train's --run or export's --out"
    )


def _of_run(run: Run, which: Which) -> Net:
    network, checkpoint = trained_network(run, Towers.unplaced(), which)
    prepared = Prepared(network, run.config.preset.augment, run.statistics, run.exif(checkpoint))
    return _of_prepared(f"run {run.path}, {CheckpointFacts.of(run, checkpoint)}", run.classes, prepared)


def _of_preset(preset: str, classes: int | Sequence[str] | None, seed: int) -> Net:
    settings, augment = PRESETS[preset].network, PRESETS[preset].augment
    if classes is None:
        classes = 10 if settings.stored_size <= 32 else 1000  # MNIST's and CIFAR-10's, ILSVRC's
    names = [f"class {number}" for number in range(classes)] if isinstance(classes, int) else list(classes)
    if not names:
        raise UserError("classes: a network tells at least one apart; give their number or their names")
    mean = np.broadcast_to(np.array(MEAN_COLOR[settings.channels]), settings.stored_shape)
    network = build_network(settings, len(names), Towers.unplaced(), seed)
    prepared = Prepared(network, augment, Statistics.of_mean_image(mean))
    return _of_prepared(f"preset {preset}, fresh weights", Classes(keys=names, names=names), prepared)


def _of_prepared(description: str, classes: Classes, prepared: Prepared) -> Net:
    return Net(description, classes, prepared.answer, lambda: prepared, prepared.exif)


def _of_export(model: ExportedModel) -> Net:
    return Net(f"exported model {model.path}", model.classes, model.answer, lambda: _built_anew(model), model.exif)


def _built_anew(model: ExportedModel) -> Prepared:
    """An exported model's network in Python, for what its signatures do not answer."""
    nets: Any = model.metadata.get("nets")
    if not isinstance(nets, list) or not nets:
        nets = [{}]
    if len(nets) > 1:
        raise UserError(
            f"{model.path} is an ensemble of {len(nets)} nets, it only predicts; load one of its runs for the rest"
        )
    if "config" not in nets[0]:
        raise UserError(
            f"{model.path} was exported by an earlier version and only predicts; load its run, or export it again"
        )
    try:
        config = Config.model_validate(nets[0]["config"])
    except ValueError as fault:
        raise UserError(
            f"the settings in {model.path} are none that this version knows; export the run again"
        ) from fault
    statistics = Statistics.load(model.path / STATISTICS_COPY, "copy the whole folder again, or export again")
    network = build_network(config.preset.network, len(model.classes.keys), Towers.unplaced())
    values, variables = model.values(), named_variables(network)
    if any(name not in values or values[name].shape != tuple(one.shape) for name, one in variables.items()):
        raise UserError(f"the weights in {model.path} do not fit its settings; export the run again")
    for name, variable in variables.items():
        variable.assign(values[name])
    return Prepared(network, config.preset.augment, statistics, model.exif)
