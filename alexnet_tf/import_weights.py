"""Makes a run of published weights, which evaluates, exports and trains on like any other.

    python -m alexnet_tf.import_weights --caffemodel bvlc_alexnet.caffemodel --run RUN [--mean F]
    python -m alexnet_tf.import_weights --torch alexnet-owt-7be5be79.pth --run RUN

The preset follows from the file: "caffe", "caffenet" or "owt". Classes keep the file's order, for published nets that
of their WordNet ids; --classes (a synset_words.txt) or --data gives their keys and names. Without, the keys are
"class 0", "class 1" and so on, which fit no data, so that the run can be exported but not evaluated.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import yaml

from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.program.text_files import read_text
from alexnet_tf.runs.classes import Classes
from alexnet_tf.settings.config import Config, parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.training.imported_run import write_run
from alexnet_tf.weights.caffemodel import read_mean_image
from alexnet_tf.weights.layouts import CAFFE, TORCHVISION, check_published, from_published
from alexnet_tf.weights.published_files import caffe_layers, torchvision_layers
from tfrecords.manifest import load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

CAFFE_MEAN = (123.0, 117.0, 104.0)
"""R, G, B of ImageNet as Caffe rounds it (models/bvlc_googlenet/train_val.prototxt); its AlexNets' own is an image."""
TORCHVISION_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
"""R, G, B (torchvision's ImageClassification preset)."""
MEAN_SHAPE = PRESETS["caffe"].network.stored_shape
"""The published nets' pictures are all of one size."""
BATCH_SIZE = 256
"""Of both recipes: Caffe's batch_size, and torchvision's 32 on each of 8 GPUs."""


def main(argv: list[str]) -> int:
    """Writes the run and says what it is."""
    outlive_readers()
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.torch and (arguments.mean or arguments.preset):
        parser.error("--mean and --preset are for --caffemodel")
    refuse_pattern("--run", arguments.run)
    if arguments.run.exists() and (not arguments.run.is_dir() or any(arguments.run.iterdir())):
        raise UserError(f"{arguments.run} exists and stays as it is; give another --run")
    named = _classes(arguments)  # told before much is read
    if arguments.torch:
        path, preset, layout, layers = arguments.torch, "owt", TORCHVISION, torchvision_layers(arguments.torch)
        mean_image = _one_color(TORCHVISION_MEAN)
    else:
        path, layout = arguments.caffemodel, CAFFE
        preset, layers = caffe_layers(path, arguments.preset)
        mean_image = _mean_image(arguments.mean) if arguments.mean else _one_color(CAFFE_MEAN)
    num_classes = check_published(path, layers, layout)
    config = _config(arguments, preset)
    classes = named or _numbered(num_classes)
    if len(classes.keys) != num_classes:
        source = arguments.classes or arguments.data
        raise UserError(f"{path} tells {num_classes} classes apart, {source} has {len(classes.keys)}")
    statistics = _statistics(arguments.data, mean_image)
    write_run(arguments.run, config, classes, statistics, from_published(layers, layout))
    color = ", ".join(f"{value:.1f}" for value in mean_image.mean(axis=(0, 1)))
    print(f"{arguments.run}: preset {preset}, {num_classes} classes, mean R, G, B {color}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_tf.import_weights", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--caffemodel", type=Path, metavar="F", help="of bvlc_alexnet or bvlc_reference_caffenet")
    source.add_argument("--torch", type=Path, metavar="F", help="state dict of torchvision's alexnet; never executed")
    parser.add_argument("--run", type=Path, required=True, help="the run's folder, made anew")
    parser.add_argument(
        "--mean", type=Path, metavar="F", help="imagenet_mean.binaryproto (default: the mean color 123, 117, 104)"
    )
    parser.add_argument(
        "--preset", choices=("caffe", "caffenet"), help="for a file that does not tell where it normalizes"
    )
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--classes", type=Path, metavar="FILE", help="`key words...` a line, in label order")
    names.add_argument("--data", type=Path, help="data folder with the same classes; becomes data.dir")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="of the run's config")
    return parser


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


def _config(arguments: argparse.Namespace, preset: str) -> Config:
    data = {"statistics": str(arguments.run / STATISTICS_FILE), "batch_size": BATCH_SIZE}
    if arguments.data:
        data["dir"] = str(arguments.data)
    text = yaml.safe_dump({"model": {"preset": preset}, "data": data})
    config = parse_config(text, "command line", arguments.overrides)
    if config.model.preset != preset:
        raise UserError(f"model.preset is {preset} for these weights, not {config.model.preset}; leave it out")
    return config


def _classes(arguments: argparse.Namespace) -> Classes | None:
    if arguments.data:
        return Classes.of(load_manifest(arguments.data))
    return _read_classes(arguments.classes) if arguments.classes else None


def _numbered(num_classes: int) -> Classes:
    names = [f"class {number}" for number in range(num_classes)]
    return Classes(keys=names, names=names)


def _read_classes(path: Path) -> Classes:
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


if __name__ == "__main__":
    run_command(main)
