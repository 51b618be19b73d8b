"""AlexNet written a second time, with PyTorch and its own kernels, to hold the first against.

Shapes are (N, C, H, W); weights come by the names of `alexnet_tf.networks.alexnet.named_variables` and in
TensorFlow's layout.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Variant:
    """What the recipes' networks of two towers differ in, and what a test bends to see that it shows."""

    order: str
    """Of block 1, where "relu" stands for the activation, whichever it is; in block 2 that always comes first."""
    alpha: float
    spatial_norm: bool
    k: float = 2
    norm_across_towers: bool = False
    padding: tuple[int, int, int, int] = (0, 3, 0, 3)  # left, right, top, bottom
    towers_joined_at: tuple[str, ...] = ("conv3", "fc6", "fc7", "fc8")
    test_factor: float = 0.5
    activation: str = "relu"
    pool: int = 3
    normalized: bool = True
    towers: str = "ab"

    @property
    def active(self) -> Callable[[torch.Tensor], torch.Tensor]:
        return {"relu": torch.relu, "tanh": torch.tanh}[self.activation]

    def but(self, **changes: object) -> "Variant":
        return replace(self, **changes)


PAPER = Variant("relu norm pool", alpha=1e-4, spatial_norm=False)
PROGRAM = Variant("norm pool relu", alpha=1e-4 / 5, spatial_norm=True)
CAFFE = Variant(
    "relu norm pool", alpha=1e-4 / 5, spatial_norm=False, k=1, norm_across_towers=True, padding=(0, 0, 0, 0),
    test_factor=1.0,
)  # fmt: skip
CAFFENET = CAFFE.but(order="relu pool norm")


def weights_from(values: dict[str, np.ndarray]) -> Weights:
    """Leaves that gather gradients."""
    return {name: torch.from_numpy(np.array(v)).requires_grad_() for name, v in values.items()}


def logits(
    images: np.ndarray,
    weights: Weights,
    variant: Variant,
    masks: dict[str, np.ndarray] | None = None,
) -> torch.Tensor:
    """(N, 224, 224, 3), Caffe's nets (N, 227, 227, 3) -> (N, classes).

    Args:
      images: float32, channels last.
      weights: see above.
      variant: which network.
      masks: what dropout multiplies by, as "dropout6_a" and so on, each (N, 2048), in training; None at test.
    """
    x = F.pad(torch.from_numpy(images).permute(0, 3, 1, 2), variant.padding)
    parts = _fronts(x, weights, variant)
    parts = [
        _back(_seen("conv3", number, parts, weights, variant), weights, variant, tower)
        for number, tower in enumerate(variant.towers)
    ]
    for layer in ("fc6", "fc7"):
        outputs = []
        for number, tower in enumerate(variant.towers):
            seen = _seen(layer, number, parts, weights, variant)
            y = variant.active(_dense(seen, weights, f"{layer}_{tower}"))
            name = f"dropout{layer[-1]}_{tower}"
            outputs.append(y * (torch.from_numpy(masks[name]) if masks else variant.test_factor))
        parts = outputs
    return _dense(torch.cat(parts, 1), weights, "fc8_a")


def _seen(layer: str, number: int, parts: list[torch.Tensor], weights: Weights, variant: Variant) -> torch.Tensor:
    """What the layer of tower `number` sees: all towers or, where they do not meet, its own as often as its weights
    have room for."""
    if layer in variant.towers_joined_at:
        return torch.cat(parts, 1)
    inputs = weights[f"{layer}_{variant.towers[number]}/kernel"].shape[-2]
    own = parts[number]
    return torch.cat([own] * (inputs // own.shape[1]), 1)


def _fronts(x: torch.Tensor, weights: Weights, variant: Variant) -> list[torch.Tensor]:
    """conv1 to pool2 of all towers, which meet in Caffe's normalization only."""
    halves = [_conv(x, weights, f"conv1_{tower}", stride=4, padding=0) for tower in variant.towers]
    for step in variant.order.split():
        halves = _step(step, halves, variant)
    pairs = zip(variant.towers, halves, strict=True)
    halves = [variant.active(_conv(x, weights, f"conv2_{tower}", stride=1, padding=2)) for tower, x in pairs]
    for step in ("pool", "norm") if variant.order == "relu pool norm" else ("norm", "spatial norm", "pool"):
        halves = _step(step, halves, variant)
    return halves


def _step(step: str, halves: list[torch.Tensor], variant: Variant) -> list[torch.Tensor]:
    if "norm" in step and not variant.normalized:
        return halves
    if step == "norm" and variant.norm_across_towers:
        return list(_across_maps(torch.cat(halves, 1), variant).chunk(2, 1))
    if step == "spatial norm" and not variant.spatial_norm:
        return halves
    function = {
        "relu": variant.active,
        "norm": lambda x: _across_maps(x, variant),
        "spatial norm": _inside_maps,
        "pool": lambda x: F.max_pool2d(x, variant.pool, 2),
    }[step]
    return [function(x) for x in halves]


def _back(x: torch.Tensor, weights: Weights, variant: Variant, tower: str) -> torch.Tensor:
    """conv3 to pool5, flattened row by row with the channels last."""
    for layer in ("conv3", "conv4", "conv5"):
        x = variant.active(_conv(x, weights, f"{layer}_{tower}", stride=1, padding=1))
    return F.max_pool2d(x, variant.pool, 2).permute(0, 2, 3, 1).flatten(1)


def _conv(x: torch.Tensor, weights: Weights, name: str, stride: int, padding: int) -> torch.Tensor:
    kernel = weights[f"{name}/kernel"].permute(3, 2, 0, 1)
    return F.conv2d(x, kernel, weights[f"{name}/bias"], stride=stride, padding=padding)


def _dense(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def _across_maps(x: torch.Tensor, variant: Variant) -> torch.Tensor:
    """n = 5, beta = 0.75; the sum is not divided."""
    padded = F.pad(x**2, (0, 0, 0, 0, 2, 2))
    total = sum(padded[:, shift : shift + x.shape[1]] for shift in range(5))
    return x / (variant.k + variant.alpha * total) ** 0.75


def _inside_maps(x: torch.Tensor) -> torch.Tensor:
    channels = x.shape[1]
    total = F.conv2d(x**2, torch.ones(channels, 1, 5, 5, dtype=x.dtype), padding=2, groups=channels)
    return x / (1 + 0.001 / 25 * total) ** 0.75
