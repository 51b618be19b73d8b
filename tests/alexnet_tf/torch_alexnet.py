"""AlexNet written a second time, with PyTorch and its own kernels, to hold the first against.

Shapes are (N, C, H, W); weights come by the names of `alexnet_tf.model.named_variables` and in
TensorFlow's layout.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Variant:
    """What the two recipes' networks differ in, and what a test bends to see that it shows."""

    relu_before_norm: bool
    alpha: float
    spatial_norm: bool
    padding: tuple[int, int, int, int] = (0, 3, 0, 3)  # left, right, top, bottom
    towers_joined_at: tuple[str, ...] = ("conv3", "fc6", "fc7", "fc8")
    test_factor: float = 0.5

    def but(self, **changes: object) -> "Variant":
        return replace(self, **changes)


PAPER = Variant(relu_before_norm=True, alpha=1e-4, spatial_norm=False)
PROGRAM = Variant(relu_before_norm=False, alpha=1e-4 / 5, spatial_norm=True)


def weights_from(values: dict[str, np.ndarray]) -> Weights:
    """Leaves that gather gradients."""
    return {name: torch.from_numpy(np.array(v)).requires_grad_() for name, v in values.items()}


def logits(
    images: np.ndarray,
    weights: Weights,
    variant: Variant,
    masks: dict[str, np.ndarray] | None = None,
) -> torch.Tensor:
    """(N, 224, 224, 3) -> (N, classes).

    Args:
        images: float32, channels last.
        weights: see above.
        variant: which network.
        masks: 0/1 by "dropout6_a" and so on, each (N, 2048), in training; None at test.
    """
    x = F.pad(torch.from_numpy(images).permute(0, 3, 1, 2), variant.padding)
    a, b = (_front(x, weights, tower, variant) for tower in "ab")
    both = torch.cat([a, b], 1) if "conv3" in variant.towers_joined_at else None
    a = _back(both if both is not None else torch.cat([a, a], 1), weights, "a")
    b = _back(both if both is not None else torch.cat([b, b], 1), weights, "b")
    for layer in ("fc6", "fc7"):
        joined = torch.cat([a, b], 1)
        halves = []
        for tower in "ab":
            y = torch.relu(_dense(joined, weights, f"{layer}_{tower}"))
            name = f"dropout{layer[-1]}_{tower}"
            halves.append(y * (torch.from_numpy(masks[name]) if masks else variant.test_factor))
        a, b = halves
    return _dense(torch.cat([a, b], 1), weights, "fc8_a")


def _front(x: torch.Tensor, weights: Weights, tower: str, variant: Variant) -> torch.Tensor:
    """conv1 to pool2, where a tower is alone."""
    x = _conv(x, weights, f"conv1_{tower}", stride=4, padding=0)
    if variant.relu_before_norm:
        x = F.max_pool2d(_across_maps(torch.relu(x), variant.alpha), 3, 2)
    else:
        x = torch.relu(F.max_pool2d(_across_maps(x, variant.alpha), 3, 2))
    x = torch.relu(_conv(x, weights, f"conv2_{tower}", stride=1, padding=2))
    x = _across_maps(x, variant.alpha)
    if variant.spatial_norm:
        x = _inside_maps(x)
    return F.max_pool2d(x, 3, 2)


def _back(x: torch.Tensor, weights: Weights, tower: str) -> torch.Tensor:
    """conv3 to pool5, flattened row by row with the channels last."""
    for layer in ("conv3", "conv4", "conv5"):
        x = torch.relu(_conv(x, weights, f"{layer}_{tower}", stride=1, padding=1))
    return F.max_pool2d(x, 3, 2).permute(0, 2, 3, 1).flatten(1)


def _conv(x: torch.Tensor, weights: Weights, name: str, stride: int, padding: int) -> torch.Tensor:
    kernel = weights[f"{name}/kernel"].permute(3, 2, 0, 1)
    return F.conv2d(x, kernel, weights[f"{name}/bias"], stride=stride, padding=padding)


def _dense(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def _across_maps(x: torch.Tensor, alpha: float) -> torch.Tensor:
    """n = 5, k = 2, beta = 0.75; the sum is not divided."""
    padded = F.pad(x**2, (0, 0, 0, 0, 2, 2))
    total = sum(padded[:, shift : shift + x.shape[1]] for shift in range(5))
    return x / (2 + alpha * total) ** 0.75


def _inside_maps(x: torch.Tensor) -> torch.Tensor:
    channels = x.shape[1]
    total = F.conv2d(x**2, torch.ones(channels, 1, 5, 5, dtype=x.dtype), padding=2, groups=channels)
    return x / (1 + 0.001 / 25 * total) ** 0.75
