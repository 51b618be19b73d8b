"""The weights in files that Keras wrote, by our names: VGG16 and ResNet50 of keras.applications. Keras is not needed.

Keras has two forms of them in HDF5. The older one (.h5, as the weights for ImageNet are published) names every layer.
In the newer one (.weights.h5, and inside a .keras file) Keras 2 counts the layers of a kind. Nothing in it is executed.
"""

import contextlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath

MEMBER = "model.weights.h5"
"""The file of weights in a .keras file."""
MOST_BYTES = 2**31
"""Of that file; VGG16's has 553 million."""
PARTS = {"conv": ("kernel", "bias"), "bn": ("gamma", "beta", "moving_mean", "moving_variance")}
"""A layer's weights in the order of the file."""
VGG, RESNET = "vgg16", "resnet50"
"""The presets."""
BLOCKS = {VGG: (2, 2, 3, 3, 3), RESNET: (3, 4, 6, 3)}
"""Convolutions between poolings; blocks at each size."""

Shapes = dict[str, list[tuple[int, ...]]]
"""Of each layer's weights, by its name, in the order in which Keras counts the layers of a kind."""


class KerasWeights(NamedTuple):
    """What a file holds."""

    preset: str
    num_classes: int
    values: dict[str, np.ndarray]
    """Of the network's variables, by their names."""


def read_keras(path: AnyPath) -> KerasWeights:
    """The weights of VGG16 or ResNet50, with their classifier.

    Keras' pictures have blue first, ours red. A convolution's bias in front of a batch normalization is taken off the
    moving mean, for our convolutions there have none: what comes out is the same.

    Raises:
      UserError: the file is missing, damaged or of another net.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            layers = _named(file)
            preset = _preset(path, layers)
            shapes = _shapes(preset, _classes(path, layers))
            arrays = _read(path, layers, shapes)
    except UserError:
        raise
    except Exception as fault:  # a damaged file may fail in any way
        raise UserError(f"{path} is damaged or no file of Keras' weights; fetch it again, or save it anew") from fault
    return KerasWeights(preset, shapes["predictions"][0][1], _values(arrays, next(iter(shapes))))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The HDF5 file at `path`, or the one in a .keras file there."""
    try:
        path.open("rb").close()
    except OSError as fault:
        raise cannot_be_read(path, fault) from fault
    source: Any = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MEMBER).file_size > MOST_BYTES:
                raise UserError(f"{path} holds more than {MOST_BYTES / 1e9:.1f} GB of weights, so it is another net")
            source = io.BytesIO(archive.read(MEMBER))
    with h5py.File(source, "r") as file:
        yield file


def _named(file: Any) -> dict[str, list[Any]]:
    """The layers' weights, not yet read, by the layers' names, or by conv2d_2 where the file has no names."""
    if "layers" in file and "weight_names" not in file["layers"].attrs:
        found = {key: group["vars"] for key, group in file["layers"].items() if "vars" in group}
        return {
            str(group.attrs.get("name", key)): [group[str(number)] for number in range(len(group))]
            for key, group in found.items()
            if len(group)
        }
    groups = file.get("model_weights", file)
    named = {key: (group, list(group.attrs.get("weight_names", ()))) for key, group in groups.items()}
    return {key: [group[_text(name)] for name in names] for key, (group, names) in named.items() if names}


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _preset(path: Path, layers: Mapping[str, list[Any]]) -> str:
    """Whose weights they are, by a layer's name, or by what Keras 2 counts."""
    if "block1_conv1" in layers or "conv1_conv" in layers:
        return VGG if "block1_conv1" in layers else RESNET
    counts = [sum(key.startswith(kind) for key in layers) for kind in ("conv2d", "batch_normalization", "dense")]
    if counts == [13, 0, 3]:
        return VGG
    if counts == [53, 53, 1]:
        return RESNET
    raise UserError(
        f"{path} is another net: VGG16 and ResNet50 of keras.applications are known here, with a classifier; it has "
        f"{', '.join(list(layers)[:3]) or 'no layers'}"
    )


def _classes(path: Path, layers: Mapping[str, list[Any]]) -> int:
    last = layers.get("predictions") or layers.get("dense_2") or layers.get("dense")
    if not last or len(last[-1].shape) != 1:
        raise UserError(f"{path} has no classifier (layer predictions); save the net with include_top=True")
    return int(last[-1].shape[0])


def _shapes(preset: str, classes: int) -> Shapes:
    shapes: Shapes = {}

    def conv(name: str, size: int, inputs: int, outputs: int) -> None:
        shapes[name] = [(size, size, inputs, outputs), (outputs,)]

    if preset == VGG:
        maps = 3
        for block, (count, width) in enumerate(zip(BLOCKS[VGG], (64, 128, 256, 512, 512), strict=True), start=1):
            for number in range(1, count + 1):
                conv(f"block{block}_conv{number}", 3, maps, width)
                maps = width
        dense = {"fc1": (7 * 7 * 512, 4096), "fc2": (4096, 4096), "predictions": (4096, classes)}
        for name, (inputs, outputs) in dense.items():
            shapes[name] = [(inputs, outputs), (outputs,)]
        return shapes

    conv("conv1_conv", 7, 3, 64)
    maps = 64
    for stage, (count, width) in enumerate(zip(BLOCKS[RESNET], (64, 128, 256, 512), strict=True), start=2):
        for number in range(1, count + 1):
            name = f"conv{stage}_block{number}"
            conv(f"{name}_1_conv", 1, maps, width)
            conv(f"{name}_2_conv", 3, width, width)
            if number == 1:  # where Keras counts the shortcut's
                conv(f"{name}_0_conv", 1, maps, 4 * width)
            conv(f"{name}_3_conv", 1, width, 4 * width)
            maps = 4 * width
    for name, (_, bias) in list(shapes.items()):
        shapes[f"{name[:-4]}bn"] = [bias] * 4
    return shapes | {"predictions": [(2048, classes), (classes,)]}


def _read(path: Path, layers: Mapping[str, list[Any]], shapes: Shapes) -> dict[str, list[np.ndarray]]:
    """The arrays by our layers' names, each checked before it is read."""
    counted = _by_count(shapes)
    by_name = "predictions" in layers
    arrays = {}
    for name, expected in shapes.items():
        key = name if by_name else counted[name]
        if key not in layers:
            raise UserError(f"{path} is another net: it has no weights {key}")
        found = [part.shape for part in layers[key]]
        if found != expected:
            raise UserError(f"{path} is another net: {key} has weights of shape {found}, expected {expected}")
        if any(part.external or part.is_virtual for part in layers[key]):
            raise UserError(f"{path} keeps the weights {key} in other files; save it anew")
        arrays[name] = [np.asarray(part[()], np.float32) for part in layers[key]]
        if not all(np.isfinite(array).all() for array in arrays[name]):
            raise UserError(f"{path} is damaged: {key} holds numbers that are not finite")
    extra = [key for key in layers if key not in (shapes if by_name else counted.values())]
    if extra:
        raise UserError(f"{path} is another net: it has weights {extra[0]}, which this one does not know")
    return arrays


def _by_count(shapes: Shapes) -> dict[str, str]:
    """What Keras 2 calls each layer in the newer form: its kind, and a number from the second on."""
    counts: dict[str, int] = {}
    found = {}
    for name, (first, *_) in shapes.items():
        kind = {4: "conv2d", 2: "dense", 1: "batch_normalization"}[len(first)]
        number = counts[kind] = counts.get(kind, -1) + 1
        found[name] = f"{kind}_{number}" if number else kind
    return found


def _values(arrays: Mapping[str, list[np.ndarray]], first: str) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {}
    for name, weights in arrays.items():
        parts = PARTS["bn" if len(weights) == 4 else "conv"]
        values |= {f"{name}/{part}": weight for part, weight in zip(parts, weights, strict=True)}
    values[f"{first}/kernel"] = values[f"{first}/kernel"][:, :, ::-1]
    for name in arrays:
        if name.endswith("_bn"):
            values[f"{name}/moving_mean"] = values[f"{name}/moving_mean"] - values.pop(f"{name[:-2]}conv/bias")
    return values
