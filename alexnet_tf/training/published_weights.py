"""From the published weights of others to a run: their preset, the pictures they expect, their classes."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.text_files import read_text
from alexnet_tf.runs.classes import Classes
from alexnet_tf.settings.config import Config, parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.training.imported_run import write_run
from alexnet_tf.weights.caffemodel import read_mean_image
from alexnet_tf.weights.keras_files import read_keras
from alexnet_tf.weights.layouts import CAFFE, TORCHVISION, LayerWeights, Layout, check_published, from_published
from alexnet_tf.weights.published_files import caffe_layers, torchvision_layers
from tfrecords.manifest import load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

CAFFE_MEAN = (123.0, 117.0, 104.0)
"""R, G, B of ImageNet as Caffe rounds it (models/bvlc_googlenet/train_val.prototxt); its AlexNets' own is an image."""
TORCHVISION_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
"""R, G, B (torchvision's ImageClassification preset)."""
KERAS_MEAN = (123.68, 116.779, 103.939)
"""R, G, B (keras.applications.imagenet_utils, mode "caffe", which VGG16 and ResNet50 take)."""
MEAN_SHAPE = PRESETS["caffe"].network.stored_shape
"""The published nets' pictures are all of one size."""
BATCH_SIZE = 256
"""Of all recipes: Caffe's batch_size, torchvision's 32 on each of 8 GPUs, section 3.1 of VGG's and 3.4 of ResNet's."""


@dataclasses.dataclass(frozen=True)
class Published:
    """What a file holds."""

    path: Path
    preset: str
    num_classes: int
    values: dict[str, np.ndarray]
    """Of the network's variables, by their names."""
    mean_image: np.ndarray
    """float64, what the network expects to be subtracted."""


class Named(NamedTuple):
    """Classes, and where their names come from."""

    source: Path
    classes: Classes


def read_caffe(path: Path, preset: str | None, mean: Path | None) -> Published:
    """A .caffemodel, with the mean image from a .binaryproto, else ImageNet's mean color.

    Raises:
      UserError: a file is none of that kind or damaged, or needs `preset`.
    """
    found, layers = caffe_layers(path, preset)
    return _published(path, found, CAFFE, layers, _mean_image(mean) if mean else _one_color(CAFFE_MEAN))


def read_torchvision(path: Path) -> Published:
    """The state dict of torchvision's alexnet.

    Raises:
      UserError: the file is none, or damaged.
    """
    return _published(path, "owt", TORCHVISION, torchvision_layers(path), _one_color(TORCHVISION_MEAN))


def read_keras_applications(path: Path) -> Published:
    """The weights of VGG16 or ResNet50 of keras.applications.

    Raises:
      UserError: the file is none, or damaged.
    """
    found = read_keras(path)
    return Published(path, found.preset, found.num_classes, found.values, _one_color(KERAS_MEAN))


def _published(
    path: Path, preset: str, layout: Layout, layers: dict[str, LayerWeights], mean_image: np.ndarray
) -> Published:
    num_classes = check_published(path, layers, layout)
    return Published(path, preset, num_classes, from_published(layers, layout), mean_image)


def name_classes(names: Path | None, data: Path | None) -> Named | None:
    """The classes that a file lists, `key words...` a line, or those of a data folder; None without either.

    Raises:
      UserError: the file is missing or has a key twice, or there are no converted data.
    """
    if data:
        return Named(data, Classes.of(load_manifest(data)))
    return Named(names, _listed_classes(names)) if names else None


def import_run(
    published: Published, run: Path, named: Named | None, data: Path | None, overrides: list[str]
) -> tuple[Config, Classes]:
    """Makes a run's folder of published weights.

    Args:
      published: the weights.
      run: the folder, which is not there yet or empty.
      named: the classes in label order; None numbers them.
      data: a data folder of the same classes; becomes data.dir, and gives the colors' statistics.
      overrides: of the run's config, `section.key=value`.

    Raises:
      UserError: the classes are of another number than the weights'.
    """
    num_classes = published.num_classes
    config = _config(published.preset, run, data, overrides)
    classes = named.classes if named else _numbered(num_classes)
    if named and len(classes.keys) != num_classes:
        raise UserError(
            f"{published.path} tells {num_classes} classes apart, {named.source} has {len(classes.keys)}; give the "
            "names that the weights were trained for"
        )
    statistics = _statistics(data, published.mean_image)
    write_run(run, config, classes, statistics, published.values)
    return config, classes


def _one_color(color: tuple[float, float, float]) -> np.ndarray:
    return np.full(MEAN_SHAPE, color, np.float64)


def _mean_image(path: Path) -> np.ndarray:
    mean_image = read_mean_image(path)
    if mean_image.shape != MEAN_SHAPE:
        height, width, _ = mean_image.shape
        raise UserError(f"{path} holds a mean of {height}x{width} pixels, not of {MEAN_SHAPE[0]}x{MEAN_SHAPE[1]}")
    if not (mean_image.min() >= 0 and mean_image.max() <= 255):  # fails for NaN, too
        raise UserError(f"{path} is damaged: it holds values outside 0 to 255")
    return mean_image


def _config(preset: str, run: Path, data: Path | None, overrides: list[str]) -> Config:
    fields = {"statistics": str(run / STATISTICS_FILE), "batch_size": BATCH_SIZE}
    if data:
        fields["dir"] = str(data)
    text = yaml.safe_dump({"model": {"preset": preset}, "data": fields})
    config = parse_config(text, "command line", overrides)
    if config.model.preset != preset:
        raise UserError(f"model.preset is {preset} for these weights, not {config.model.preset}; leave it out")
    return config


def _numbered(num_classes: int) -> Classes:
    names = [f"class {number}" for number in range(num_classes)]
    return Classes(keys=names, names=names)


def _listed_classes(path: Path) -> Classes:
    try:
        lines = read_text(path).splitlines()
    except FileNotFoundError as fault:
        raise cannot_be_read(path, fault) from fault
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    keys = [pair[0] for pair in pairs]
    twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
    if twice:
        raise UserError(f"{path} has the key {twice} twice")
    return Classes(keys=keys, names=[pair[-1].strip() for pair in pairs])


def _statistics(data: Path | None, mean_image: np.ndarray) -> Statistics:
    """The mean that belongs to the weights; colors of the data, or none at all (0 pixels)."""
    if data:
        return dataclasses.replace(Statistics.of_data(data, load_manifest(data)), mean_image=mean_image)
    return Statistics.of_mean_image(mean_image)
