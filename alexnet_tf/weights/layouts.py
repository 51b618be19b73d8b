"""Between the layouts of published weights and this project's: every number keeps its value and changes its place.

Caffe and PyTorch store a layer as (outputs, inputs, height, width) or (outputs, inputs), the channels of both towers
together; here a kernel is (height, width, inputs, outputs) or (inputs, outputs), and each tower has its own half of the
outputs. A layer with groups needs no more than that: group 1 is tower a, group 2 tower b.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet_tf.program.errors import UserError

POOL5_SIDE = 6
"""fc6's inputs are maps of 6x6; there they come map after map, here position after position (within a tower)."""


@dataclass(frozen=True)
class Layout:
    """How a published net stores its weights."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shapes of the weights of every layer but fc8, which has (classes, 4096)."""
    towers: str
    """"ab", or "a" for a net of one tower."""
    blue_first: bool
    """Whether conv1's input channels are B, G, R."""


CAFFE = Layout(
    shapes={
        "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3), "conv4": (384, 192, 3, 3),
        "conv5": (256, 192, 3, 3), "fc6": (4096, 9216), "fc7": (4096, 4096),
    },
    towers="ab",
    blue_first=True,
)  # fmt: skip

TORCHVISION = Layout(
    shapes={
        "conv1": (64, 3, 11, 11), "conv2": (192, 64, 5, 5), "conv3": (384, 192, 3, 3), "conv4": (256, 384, 3, 3),
        "conv5": (256, 256, 3, 3), "fc6": (4096, 9216), "fc7": (4096, 4096),
    },
    towers="a",
    blue_first=False,
)  # fmt: skip

LAYERS = (*CAFFE.shapes, "fc8")

LayerWeights = tuple[np.ndarray, np.ndarray]
"""A layer's weights and its bias, float32, as published."""


def check_published(path: Path, layers: Mapping[str, LayerWeights], layout: Layout) -> int:
    """The number of classes of a net read from `path`, after a check that it is the net it should be.

    Raises:
      UserError: a weight has another shape or is not finite.
    """
    classes = layers["fc8"][0].shape[0]
    for name in LAYERS:
        expected = layout.shapes.get(name, (classes, 4096))
        found = [array.shape for array in layers[name]]
        if found != [expected, expected[:1]]:
            raise UserError(
                f"{path} is another net: {name} has weights and bias of shape {found[0]} and {found[1]}, "
                f"expected {expected} and {expected[:1]}"
            )
        if not all(np.isfinite(array).all() for array in layers[name]):
            raise UserError(f"{path} is damaged: {name} holds numbers that are not finite")
    return classes


def from_published(layers: Mapping[str, LayerWeights], layout: Layout) -> dict[str, np.ndarray]:
    """Published weights as values of the network's variables, by the names of `named_variables`."""
    values = {}
    for name in LAYERS:
        weights, bias = layers[name]
        towers = layout.towers if name != "fc8" else "a"
        kernel = _kernel(name, weights, layout)
        for part, whole in (("kernel", kernel), ("bias", bias)):
            for tower, own in zip(towers, np.split(whole, len(towers), axis=-1), strict=True):
                values[f"{name}_{tower}/{part}"] = own
    return values


def to_published(values: Mapping[str, np.ndarray], layout: Layout) -> dict[str, LayerWeights]:
    """The inverse of `from_published`."""
    layers = {}
    for name in LAYERS:
        towers = layout.towers if name != "fc8" else "a"
        kernel, bias = (
            np.concatenate([values[f"{name}_{tower}/{part}"] for tower in towers], axis=-1)
            for part in ("kernel", "bias")
        )
        layers[name] = (_weights(name, kernel, layout), bias)
    return layers


def _kernel(name: str, weights: np.ndarray, layout: Layout) -> np.ndarray:
    if name == "fc6":
        maps = _fc6_maps(layout)
        return weights.reshape(-1, *maps).transpose(1, 3, 4, 2, 0).reshape(weights.shape[::-1])
    if name == "conv1" and layout.blue_first:
        weights = weights[:, ::-1]
    return weights.transpose(2, 3, 1, 0) if weights.ndim == 4 else weights.T


def _weights(name: str, kernel: np.ndarray, layout: Layout) -> np.ndarray:
    if name == "fc6":
        towers, channels, height, width = _fc6_maps(layout)
        maps = kernel.reshape(towers, height, width, channels, -1)
        return maps.transpose(4, 0, 3, 1, 2).reshape(kernel.shape[::-1])
    weights = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
    return weights[:, ::-1] if name == "conv1" and layout.blue_first else weights


def _fc6_maps(layout: Layout) -> tuple[int, int, int, int]:
    """(towers, maps of a tower, height, width) of fc6's input."""
    towers = len(layout.towers)
    return towers, layout.shapes["conv5"][0] // towers, POOL5_SIDE, POOL5_SIDE
