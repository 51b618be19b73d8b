"""The nets after AlexNet written a second time, with PyTorch and its own kernels, to hold the first against.

Weights come by the names of `network_variables` and in TensorFlow's layout, as leaves that gather gradients. Images are
(N, H, W, 3), channels last.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

Weights = dict[str, torch.Tensor]


class Resnet:
    """Residual and plain nets; in training, `moving` gathers the moving averages after the step."""

    def __init__(self, weights: Weights, training: bool, residual: bool = True) -> None:
        self.weights = weights
        self.training = training
        self.residual = residual
        self.moving: dict[str, torch.Tensor] = {}

    def imagenet(self, images: np.ndarray, blocks: Sequence[int], bottleneck: bool) -> torch.Tensor:
        """Table 1."""
        x = F.relu(self.norm("conv1", self.conv("conv1", planes(images), stride=2)))
        x = F.max_pool2d(x, 3, 2, padding=1)
        for stage, count in enumerate(blocks, start=2):
            for number in range(1, count + 1):
                stride = 2 if stage > 2 and number == 1 else 1
                projected = number == 1 and (bottleneck or stage > 2)
                x = self.block(f"conv{stage}_block{number}", x, stride, 3 if bottleneck else 2, projected)
        return dense(x.mean(dim=(2, 3)), self.weights, "predictions")

    def cifar(self, images: np.ndarray, blocks: int) -> torch.Tensor:
        """Section 4.2."""
        x = F.relu(self.norm("conv1", self.conv("conv1", planes(images))))
        for stage in (2, 3, 4):
            for number in range(1, blocks + 1):
                x = self.block(f"conv{stage}_block{number}", x, 2 if stage > 2 and number == 1 else 1, 2, False)
        return dense(x.mean(dim=(2, 3)), self.weights, "predictions")

    def block(self, name: str, x: torch.Tensor, stride: int, convolutions: int, projected: bool) -> torch.Tensor:
        y = x
        for number in range(1, convolutions + 1):
            y = F.relu(y) if number > 1 else y
            part = f"{name}_{number}"
            y = self.norm(part, self.conv(part, y, stride=stride if number == 1 else 1))
        if not self.residual:
            return F.relu(y)
        if projected:
            return F.relu(y + self.norm(f"{name}_0", self.conv(f"{name}_0", x, stride=stride)))
        x = F.avg_pool2d(x, 1, stride)  # takes every stride-th pixel
        return F.relu(y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])))

    def conv(self, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        kernel = self.weights[f"{name}_conv/kernel"].permute(3, 2, 0, 1)
        return F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        gamma, beta, mean, variance = (
            self.weights[f"{name}_bn/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        mean, variance = mean.detach().clone(), variance.detach().clone()
        y = F.batch_norm(x, mean, variance, gamma, beta, self.training, momentum=0.1, eps=1.001e-5)
        self.moving |= {f"{name}_bn/moving_mean": mean, f"{name}_bn/moving_variance": variance}
        return y


NO_DROPOUT = (1.0, 1.0)


def vgg(
    images: np.ndarray, weights: Weights, blocks: Sequence[int], masks: Sequence[torch.Tensor | float] = NO_DROPOUT
) -> torch.Tensor:
    """Table 1; the two masks are what dropout multiplies by in training."""
    x = planes(images)
    for block, count in enumerate(blocks, start=1):
        for number in range(1, count + 1):
            x = conv(x, weights, f"block{block}_conv{number}")
        x = F.max_pool2d(x, 2)
    x = F.relu(dense(in_rows(x), weights, "fc1")) * masks[0]
    return dense(F.relu(dense(x, weights, "fc2")) * masks[1], weights, "predictions")


def network_in_network(
    images: np.ndarray, weights: Weights, masks: Sequence[torch.Tensor | float] = NO_DROPOUT
) -> torch.Tensor:
    """Poolings reach over the edge, as in cuda-convnet; masks as for `vgg`."""
    x = planes(images)
    for block in (("conv1", "cccp1", "cccp2"), ("conv2", "cccp3", "cccp4"), ("conv3", "cccp5", "cccp6")):
        for name in block:
            x = conv(x, weights, name)
        if block[0] != "conv3":
            x = F.max_pool2d(x, 3, 2, ceil_mode=True) * masks[int(block[0] == "conv2")]
    return x.mean(dim=(2, 3))


def inception(
    images: np.ndarray, weights: Weights, modules: Sequence[str], masks: dict[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """Logits by the output's name, loss1 to loss3.

    Args:
      images: (N, 224, 224, 3).
      weights: see above.
      modules: those there are.
      masks: what dropout multiplies by in training, by the output's name; None at test, where there are no loss1 and 2.
    """
    logits = {}
    x = F.max_pool2d(conv(planes(images), weights, "conv1_7x7_s2", stride=2), 3, 2, ceil_mode=True)
    x = conv(conv(lrn(x), weights, "conv2_3x3_reduce"), weights, "conv2_3x3")
    x = F.max_pool2d(lrn(x), 3, 2, ceil_mode=True)
    for before, module in zip(("3", *modules), modules, strict=False):
        if before[0] != module[0]:
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = inception_module(x, weights, f"inception_{module}")
        side = {"4a": "loss1", "4d": "loss2"}.get(module)
        if side and masks:
            y = in_rows(conv(F.avg_pool2d(x, 5, 3), weights, f"{side}_conv"))
            logits[side] = dense(F.relu(dense(y, weights, f"{side}_fc")) * masks[side], weights, f"{side}_classifier")
    x = x.mean(dim=(2, 3)) * (masks["loss3"] if masks else 1.0)
    return {**logits, "loss3": dense(x, weights, "loss3_classifier")}


def inception_module(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    ways = [conv(x, weights, f"{name}_1x1")]
    ways += [conv(conv(x, weights, f"{name}_{size}_reduce"), weights, f"{name}_{size}") for size in ("3x3", "5x5")]
    ways.append(conv(F.max_pool2d(x, 3, 1, padding=1), weights, f"{name}_pool_proj"))
    return torch.cat(ways, 1)


def lrn(x: torch.Tensor) -> torch.Tensor:
    """Caffe's, whose alpha is divided by the five maps as PyTorch's is."""
    return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)


def lenet5(images: np.ndarray, weights: Weights, table: Sequence[Sequence[int]]) -> torch.Tensor:
    """Section II.B, of pictures (N, 26, 26, 1) in the middle of 32x32 pixels."""

    def squash(x: torch.Tensor) -> torch.Tensor:
        return 1.7159 * torch.tanh(2 / 3 * x)

    def convolved(x: torch.Tensor, name: str) -> torch.Tensor:
        return squash(F.conv2d(x, weights[f"{name}/kernel"].permute(3, 2, 0, 1), weights[f"{name}/bias"]))

    def pooled(x: torch.Tensor, name: str) -> torch.Tensor:
        coefficient, bias = (weights[f"{name}/{part}"][:, None, None] for part in ("coefficient", "bias"))
        return squash(4 * F.avg_pool2d(x, 2) * coefficient + bias)

    x = pooled(convolved(F.pad(planes(images), (3, 3, 3, 3)), "c1"), "s2")
    kernels, number, maps = weights["c3/kernel"], 0, []
    for own, seen in enumerate(table):
        kernel = kernels[..., number : number + len(seen)].permute(2, 0, 1)[None]
        maps.append(F.conv2d(x[:, list(seen)], kernel, weights["c3/bias"][own : own + 1]))
        number += len(seen)
    x = convolved(pooled(squash(torch.cat(maps, 1)), "s4"), "c5")
    return dense(squash(dense(x.flatten(1), weights, "f6")), weights, "output")


def weights_from(values: dict[str, np.ndarray]) -> Weights:
    """Leaves that gather gradients."""
    return {name: torch.from_numpy(np.array(value)).requires_grad_() for name, value in values.items()}


def planes(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def in_rows(x: torch.Tensor) -> torch.Tensor:
    """Flattened place by place, the maps last."""
    return x.permute(0, 2, 3, 1).flatten(1)


def conv(x: torch.Tensor, weights: Weights, name: str, stride: int = 1) -> torch.Tensor:
    """With ReLU."""
    kernel = weights[f"{name}/kernel"].permute(3, 2, 0, 1)
    return F.relu(F.conv2d(x, kernel, weights[f"{name}/bias"], stride=stride, padding=kernel.shape[-1] // 2))


def dense(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]
