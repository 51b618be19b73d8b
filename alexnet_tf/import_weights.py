"""Makes a run of published weights, which evaluates, exports and trains on like any other.

    python -m alexnet_tf.import_weights --caffemodel bvlc_alexnet.caffemodel --run RUN [--mean F]
    python -m alexnet_tf.import_weights --torch alexnet-owt-7be5be79.pth --run RUN

The preset follows from the file: "caffe", "caffenet" or "owt". Classes keep the file's order, for published nets that
of their WordNet ids; --classes (a synset_words.txt) or --data gives their keys and names. Without, the keys are
"class 0", "class 1" and so on, which fit no data, so that the run can be exported but not evaluated.
"""

import argparse
import contextlib
import dataclasses
import os
from pathlib import Path

import numpy as np
import yaml

from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.text_files import read_text
from alexnet_tf.program.whole_files import UNFINISHED, cannot_be_written, held, make_folder, put_in_place, remove
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.folder import LOCK_FILE, TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.settings.config import Config, parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from alexnet_tf.training.step import TrainingStep
from alexnet_tf.weights.caffemodel import read_caffemodel, read_mean_image
from alexnet_tf.weights.layouts import CAFFE, LAYERS, TORCHVISION, LayerWeights, check_published, from_published
from alexnet_tf.weights.torch_state_dict import read_state_dict
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
TORCHVISION_NAMES = {
    "conv1": "features.0", "conv2": "features.3", "conv3": "features.6", "conv4": "features.8", "conv5": "features.10",
    "fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6",
}  # fmt: skip


def main(argv: list[str]) -> int:
    """Writes the run and says what it is."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.torch and (arguments.mean or arguments.preset):
        parser.error("--mean and --preset are for --caffemodel")
    refuse_pattern("--run", arguments.run)
    if arguments.run.exists() and (not arguments.run.is_dir() or any(arguments.run.iterdir())):
        raise UserError(f"{arguments.run} exists and stays as it is; give another --run")
    named = _classes(arguments)  # told before much is read
    if arguments.torch:
        path, preset, layout, layers = arguments.torch, "owt", TORCHVISION, _torchvision_layers(arguments.torch)
        mean_image = _one_color(TORCHVISION_MEAN)
    else:
        path, layout = arguments.caffemodel, CAFFE
        preset, layers = _caffe_layers(path, arguments.preset)
        mean_image = _mean_image(arguments.mean) if arguments.mean else _one_color(CAFFE_MEAN)
    num_classes = check_published(path, layers, layout)
    config = _config(arguments, preset)
    classes = named or _numbered(num_classes)
    if len(classes.keys) != num_classes:
        source = arguments.classes or arguments.data
        raise UserError(f"{path} tells {num_classes} classes apart, {source} has {len(classes.keys)}")
    statistics = _statistics(arguments.data, mean_image)
    _write_run(arguments.run, config, classes, statistics, from_published(layers, layout))
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


def _caffe_layers(path: Path, chosen: str | None) -> tuple[str, dict[str, LayerWeights]]:
    """The preset and the weights by layer, the older form's four sides taken back to what they mean."""
    layers = read_caffemodel(path)
    weights = {}
    for layer in layers:
        if len(layer.blobs) == 2:
            kernel, bias = layer.blobs
            flat = kernel.ndim == 4 and kernel.shape[:2] == (1, 1)  # fully connected: 1 x 1 x outputs x inputs
            weights[layer.name] = (kernel[0, 0] if flat else kernel, bias.reshape(-1))
        elif layer.blobs:
            raise UserError(f"{path} is another net: layer {layer.name} has {len(layer.blobs)} blobs, not 2")
    _check_names(path, list(weights), list(LAYERS))
    before_norm1 = next((layer.bottom[0] for layer in layers if layer.name == "norm1" and layer.bottom), "")
    found = {"conv1": "caffe", "pool1": "caffenet"}.get(before_norm1)
    if found and chosen and found != chosen:
        raise UserError(f"--preset {chosen}: {path} normalizes the output of {before_norm1}, which is {found}")
    preset = found or chosen
    if preset is None:
        raise UserError(
            f"{path} does not tell whether it normalizes first or pools first; give --preset caffe (bvlc_alexnet: "
            "normalizes first) or caffenet"
        )
    return preset, weights


def _torchvision_layers(path: Path) -> dict[str, LayerWeights]:
    # "module." is what DataParallel puts before each name.
    tensors = {name.removeprefix("module."): tensor for name, tensor in read_state_dict(path).items()}
    expected = {layer: (f"{name}.weight", f"{name}.bias") for layer, name in TORCHVISION_NAMES.items()}
    _check_names(path, list(tensors), [name for names in expected.values() for name in names])
    return {layer: (tensors[weight], tensors[bias]) for layer, (weight, bias) in expected.items()}


def _check_names(path: Path, found: list[str], expected: list[str]) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise UserError(f"{path} is another net: it has no weights {missing[0]}; it has {', '.join(found) or 'none'}")
    extra = [name for name in found if name not in expected]
    if extra:
        raise UserError(f"{path} is another net: it has weights {extra[0]}, which this one does not know")


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
        raise UserError(f"{path} cannot be read: {fault.strerror}") from fault
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    keys = [pair[0] for pair in pairs]
    twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
    if twice:
        raise UserError(f"{path} has the key {twice} twice")
    return Classes(keys=keys, names=[pair[-1].strip() for pair in pairs])


def _statistics(data: Path | None, mean_image: np.ndarray) -> Statistics:
    """The mean that belongs to the weights; colors of the data, or none at all (0 pixels)."""
    if data:
        return dataclasses.replace(Statistics.load(data / STATISTICS_FILE), mean_image=mean_image)
    return Statistics.of_mean_image(mean_image)


def _write_run(
    path: Path, config: Config, classes: Classes, statistics: Statistics, values: dict[str, np.ndarray]
) -> None:
    """A run's folder as before its first step, whole or not at all."""
    step = TrainingStep(config.preset, len(classes.keys), Towers.unplaced(), config.train.seed)
    for name, variable in step.variables.items():
        variable.assign(values[name])
    make_folder(path.parent)
    _remove_leftovers(path)
    unfinished = path.with_name(f"{UNFINISHED}{path.name}-{os.getpid()}")
    try:
        with TrainingFolder(unfinished, config, classes, statistics) as folder:
            folder.save(step.checkpoint, TrainingState())
        put_in_place(unfinished, path)
    except OSError as fault:
        raise cannot_be_written(path, fault) from fault
    finally:
        remove(unfinished)


def _remove_leftovers(path: Path) -> None:
    """Removes the half runs that killed imports of the same name left; one that is locked is still being written."""
    for old in path.parent.iterdir():
        number = old.name.removeprefix(f"{UNFINISHED}{path.name}-")
        if number != old.name and number.isdecimal() and (old / LOCK_FILE).is_file():
            with contextlib.suppress(UserError), held(old / LOCK_FILE, "being written"):
                remove(old)


if __name__ == "__main__":
    run_command(main)
