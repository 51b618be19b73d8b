"""AlexNet's relatives as users of PyTorch write them, beside ours; with as many layers, weights and operations."""

import itertools
from typing import Any

import torch
from torch import nn

from alexnet_tf.networks.lenet5 import C3_TABLE
from alexnet_tf.networks.resnet import EPSILON
from alexnet_tf.settings.later_networks import InceptionSettings, NetworkInNetworkSettings, VGGSettings
from alexnet_tf.settings.presets import CifarNetSettings, LeNet5Settings
from alexnet_tf.settings.recipe import NetworkSettings
from alexnet_tf.settings.residual_networks import AnyResNetSettings, BlockPlan, ResNetSettings


def torch_network(settings: NetworkSettings, classes: int) -> nn.Module:
    """A net of these settings, from images (N, C, H, W) to a list of logits: Inception's auxiliary ones come last.

    Raises:
      TypeError: there is none here.
    """
    if isinstance(settings, AnyResNetSettings):
        return Listed(_resnet(settings, classes))
    if settings == LeNet5Settings():
        return Listed(_lenet5(classes))
    if settings == CifarNetSettings():
        return Listed(_cifar_net(settings, classes))
    if isinstance(settings, VGGSettings):
        return Listed(_vgg(settings, classes))
    if isinstance(settings, NetworkInNetworkSettings):
        return Listed(_network_in_network(settings, classes))
    if isinstance(settings, InceptionSettings):
        return Inception(settings, classes)
    raise TypeError(f"no PyTorch net is written here for {settings}")


class Listed(nn.Module):
    """A net of one output as one of a list of outputs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The logits, in a list."""
        return [self.net(x)]


class Squash(nn.Module):
    """LeNet-5's activation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The activation's output."""
        return 1.7159 * torch.tanh(2 / 3 * x)


class TrainedPooling(nn.Module):
    """LeNet-5's: means over 2x2 pixels times a coefficient plus a bias, both each map's own; then the activation."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.ones(maps, 1, 1))
        self.bias = nn.Parameter(torch.zeros(maps, 1, 1))
        self.squash = Squash()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, H / 2, W / 2)."""
        return self.squash(nn.functional.avg_pool2d(x, 2) * self.coefficient + self.bias)


class TableConvolution(nn.Module):
    """LeNet-5's C3: a 5x5 convolution whose maps see some of the input's each, by a table."""

    def __init__(self) -> None:
        super().__init__()
        joined = [(own, seen) for own, maps in enumerate(C3_TABLE) for seen in maps]
        self.own, self.seen = (torch.tensor(one) for one in zip(*joined, strict=True))
        self.kernels = nn.Parameter(nn.init.xavier_uniform_(torch.empty(len(joined), 5, 5)))
        self.bias = nn.Parameter(torch.zeros(len(C3_TABLE)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 6, H, W) to (N, 16, H - 4, W - 4)."""
        every = torch.zeros(len(C3_TABLE), x.shape[1], 5, 5)
        return nn.functional.conv2d(x, every.index_put((self.own, self.seen), self.kernels), self.bias)


def _lenet5(classes: int) -> nn.Module:
    return nn.Sequential(
        nn.ZeroPad2d(3), nn.Conv2d(1, 6, 5), Squash(), TrainedPooling(6), TableConvolution(), Squash(),
        TrainedPooling(16), nn.Conv2d(16, 120, 5), Squash(), nn.Flatten(), nn.Linear(120, 84), Squash(),
        nn.Linear(84, classes),
    )  # fmt: skip


def _cifar_net(settings: CifarNetSettings, classes: int) -> nn.Module:
    window = 2 * settings.lrn_depth_radius + 1
    lrn = (window, window * settings.lrn_alpha, settings.lrn_beta, settings.lrn_bias)
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(inplace=True),
        nn.LocalResponseNorm(*lrn),
        *convolution(32, 32, 5), nn.AvgPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(*lrn),
        *convolution(32, 64, 5), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Flatten(), nn.Linear((settings.image_size // 8) ** 2 * 64, classes),
    )  # fmt: skip


def convolution(before: int, maps: int, size: int, stride: int = 1) -> list[nn.Module]:
    """With a bias and ReLU."""
    return [nn.Conv2d(before, maps, size, stride, size // 2), nn.ReLU(inplace=True)]


def normalized(before: int, maps: int, size: int, stride: int = 1, relu: bool = True) -> list[nn.Module]:
    """With batch normalization, without a bias."""
    layers: list[nn.Module] = [
        nn.Conv2d(before, maps, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(maps, eps=EPSILON),
    ]
    return [*layers, nn.ReLU(inplace=True)] if relu else layers


def averaged() -> list[nn.Module]:
    """Over all places."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


class Block(nn.Module):
    """A residual block."""

    def __init__(self, plan: BlockPlan, before: int) -> None:
        super().__init__()
        self.plan = plan
        self.maps = plan.kernels[-1][0]
        layers, seen = [], before
        for number, (maps, size) in enumerate(plan.kernels):
            last = number == len(plan.kernels) - 1
            layers += normalized(seen, maps, size, plan.stride if number == 0 else 1, relu=not last)
            seen = maps
        self.layers = nn.Sequential(*layers)
        projected = plan.shortcut == "projection"
        self.projection = nn.Sequential(*normalized(before, seen, 1, plan.stride, relu=False)) if projected else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Behind the sum and ReLU."""
        y = self.layers(x)
        if self.plan.shortcut == "none":
            return torch.relu(y)
        if self.projection is not None:
            x = self.projection(x)
        elif self.plan.shortcut == "zeros":
            stride = self.plan.stride
            x = nn.functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, self.maps - x.shape[1]))
        return torch.relu(x + y)


def _resnet(settings: AnyResNetSettings, classes: int) -> nn.Module:
    first = settings.widths.conv1
    if isinstance(settings, ResNetSettings):
        layers = [*normalized(3, first, 7, stride=2), nn.MaxPool2d(3, 2, 1)]
    else:
        layers = normalized(3, first, 3)
    for plan in itertools.chain(*settings.stages):
        layers.append(Block(plan, first))
        first = plan.kernels[-1][0]
    return nn.Sequential(*layers, *averaged(), nn.Linear(first, classes))


def _vgg(settings: VGGSettings, classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    before, widths = 3, settings.widths
    for block, names in enumerate(settings.convolutions, start=1):
        maps = getattr(widths, f"block{block}")
        for _ in names:
            layers += convolution(before, maps, 3)
            before = maps
        layers.append(nn.MaxPool2d(2))
    before *= (settings.image_size // 2 ** len(settings.blocks)) ** 2
    layers.append(nn.Flatten())
    for units in (widths.fc1, widths.fc2):
        layers += [nn.Linear(before, units), nn.ReLU(inplace=True), nn.Dropout(settings.dropout_rate)]
        before = units
    return nn.Sequential(*layers, nn.Linear(before, classes))


def _network_in_network(settings: NetworkInNetworkSettings, classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    before = 3
    for name in settings.layers:
        maps = getattr(settings.widths, name, classes)
        layers += convolution(before, maps, {"conv1": 5, "conv2": 5, "conv3": 3}.get(name, 1))
        before = maps
        if name in ("cccp2", "cccp4"):
            layers += [nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(settings.dropout_rate)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=settings.weight_stddev)
    return nn.Sequential(*layers, *averaged())


class Module(nn.Module):
    """Of Inception."""

    def __init__(self, before: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = widths
        self.ways = nn.ModuleList(
            [
                nn.Sequential(*convolution(before, one, 1)),
                nn.Sequential(*convolution(before, reduce3, 1), *convolution(reduce3, three, 3)),
                nn.Sequential(*convolution(before, reduce5, 1), *convolution(reduce5, five, 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), *convolution(before, pool, 1)),
            ]
        )
        self.maps = one + three + five + pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The four ways side by side."""
        return torch.cat([way(x) for way in self.ways], 1)


class Inception(nn.Module):
    """GoogLeNet."""

    def __init__(self, settings: InceptionSettings, classes: int) -> None:
        super().__init__()
        widths = settings.widths

        def norm() -> nn.Module:
            return nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)

        def classified(before: int, rate: float) -> list[nn.Module]:
            return [nn.Dropout(rate), nn.Linear(before, classes)]

        self.stem = nn.Sequential(
            *convolution(3, widths.conv1, 7, stride=2), nn.MaxPool2d(3, 2, ceil_mode=True), norm(),
            *convolution(widths.conv1, widths.conv2_reduce, 1), *convolution(widths.conv2_reduce, widths.conv2, 3),
            norm(), nn.MaxPool2d(3, 2, ceil_mode=True),
        )  # fmt: skip
        self.parts, self.sides = nn.ModuleList(), nn.ModuleDict()
        before = widths.conv2
        for earlier, name in zip(("3", *settings.modules), settings.modules, strict=False):
            module = Module(before, getattr(widths, f"inception_{name}"))
            pool = [nn.MaxPool2d(3, 2, ceil_mode=True)] if earlier[0] != name[0] else []
            self.parts.append(nn.Sequential(*pool, module))
            before = module.maps
            if name in settings.sides:
                self.sides[str(len(self.parts) - 1)] = nn.Sequential(
                    nn.AvgPool2d(5, 3), *convolution(before, widths.side_conv, 1), nn.Flatten(),
                    nn.Linear(16 * widths.side_conv, widths.side_fc), nn.ReLU(inplace=True),
                    *classified(widths.side_fc, settings.side_dropout_rate),
                )  # fmt: skip
        self.last = nn.Sequential(*averaged(), *classified(before, settings.dropout_rate))

    def forward(self, x: Any) -> list[torch.Tensor]:
        """The logits, and those of the auxiliary outputs."""
        x, sides = self.stem(x), []
        for number, part in enumerate(self.parts):
            x = part(x)
            if str(number) in self.sides:
                sides.append(self.sides[str(number)](x))
        return [self.last(x), *sides]
