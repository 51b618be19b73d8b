"""A run that begins with another run's weights: which of them it takes, and which mean image it uses.

How much of the network is then trained depends on train.freeze, train.rate_multipliers and train.cache_features.
"""

from pathlib import Path

from alexnet_tf.networks.network import NetworkVariable
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.place import CONFIG_FILE, no_run
from alexnet_tf.runs.run import Run
from alexnet_tf.settings.config import Config
from tfrecords.manifest import load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics


def take_weights(source: Run, variables: dict[str, NetworkVariable], config: Config, classes: Classes) -> None:
    """Gives the variables the best weights of `source`, except the last layers where the classes differ.

    Raises:
      UserError: `source` has another network or sees pictures prepared in another way.
    """
    own, theirs = config.preset, source.config.preset
    if own.network != theirs.network:
        described = [" ".join(f"model.{key}={value}" for key, value in chosen.model_dump().items())
                     for chosen in (source.config.model, config.model)]  # fmt: skip
        raise UserError(
            f"train.init_from: run {source.path} has another network, {described[0]}, than this config, "
            f"{described[1]}; set the same"
        )
    for name in ("mean", "color_divisors"):
        if getattr(own.augment, name) != getattr(theirs.augment, name):
            raise UserError(
                f"train.init_from: run {source.path} was trained with augment.{name} {getattr(theirs.augment, name)}, "
                f"not {getattr(own.augment, name)}; set it to the same"
            )
    same_classes = source.classes.keys == classes.keys
    ends = (*own.network.auxiliary_layers, own.network.layers[-1])
    taken = {name: known.variable for name, known in variables.items() if same_classes or known.layer not in ends}
    checkpoint = source.load_weights(taken)
    starts = f"{' and '.join(ends)} {'start' if len(ends) > 1 else 'starts'}"
    head = "" if same_classes else f"; {starts} afresh for {len(classes.keys)} other classes"
    print(f"weights of {checkpoint}{head}")


def load_statistics(config: Config, run: Path) -> Statistics:
    """The mean image and colors to train with: those named, else those of train.init_from, else the data's own.

    A run under way has a copy of those that it began with, so that the other run may be gone by then.

    Raises:
      UserError: the file is missing or broken, or is of pictures of another size than the network's, or a run that
        begins is to take weights from what is no run.
    """
    own = run / STATISTICS_FILE
    source = config.train.init_from
    if source is not None and not own.exists() and not (source / CONFIG_FILE).exists():
        raise UserError(f"train.init_from: {no_run(source)}")
    of_data = config.data.dir / STATISTICS_FILE
    path = config.data.statistics or of_data
    if config.data.statistics is None and config.train.init_from is not None:
        path = own if own.exists() else config.train.init_from / STATISTICS_FILE
    if path == of_data:
        found = Statistics.of_data(config.data.dir, load_manifest(config.data.dir))
    else:
        found = Statistics.load(path, "restore it")
    shapes = [" x ".join(map(str, shape)) for shape in (found.mean_image.shape, config.preset.network.stored_shape)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{path} has a mean image of {shapes[0]}, the pictures for model.preset={config.model.preset} are "
            f"{shapes[1]}; set another data.statistics or train.init_from"
        )
    return found
