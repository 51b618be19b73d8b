"""The placement as a picture: the layers of each tower, and what crosses between them for every picture."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from alexnet_tf.evaluation.drawing import GRAY, INK, RED, TOWER_COLORS, Axes, FancyBboxPatch, Figure
from alexnet_tf.networks.network import NetworkVariable
from alexnet_tf.training.placement_report import Crossing, Placement, short_name

WIDTH, BETWEEN = 4.0, 3.4
"""Of a layer's box, and from tower to tower."""
STEP, BOX, MEETING = 1.0, 0.72, 0.95
"""From layer to layer, a box's height, and the room above a layer at which the towers meet."""


def placement_figure(placement: Placement, variables: Mapping[str, NetworkVariable], layers: Sequence[str]) -> Figure:
    """Draws it.

    Args:
      placement: as measured.
      variables: of the network, from `network_variables`.
      layers: their names, in the order in which a picture meets them.
    """
    boxes = _boxes(variables)
    towers = sorted({tower for _, tower in boxes})
    met = _met_at(placement.crossings)
    rows = _rows(layers, met)
    bottoms, y = {}, 0.0
    for row in rows:
        y -= STEP * (row in layers) + MEETING * (row in met)
        bottoms[row] = y
    width = WIDTH * len(towers) + BETWEEN * (len(towers) - 1)
    figure = Figure(figsize=(0.72 * width + 0.8, 0.62 * (-y + 1.6)), layout="constrained")
    axes = figure.subplots()
    homes = {"a": placement.towers.a, "b": placement.towers.b}
    for number, tower in enumerate(towers):
        left = number * (WIDTH + BETWEEN)
        axes.text(
            left + WIDTH / 2, 0.45, f"tower {tower}: {short_name(homes[tower]) or 'any device'}",
            ha="center", fontsize=11, weight="bold", color=TOWER_COLORS[tower],
        )  # fmt: skip
        for layer in layers:
            if (layer, tower) in boxes:
                _draw_box(axes, left, bottoms[layer], TOWER_COLORS[tower], layer, *boxes[layer, tower])
    for row, crossings in met.items():
        _draw_meeting(axes, bottoms[row] + (STEP if row in layers else 0.0) + MEETING / 2 - 0.14, row, crossings)
    verdict = f"{len(placement.strayed)} operations or tensors strayed" if placement.strayed else "nothing else crosses"
    if not met:
        verdict = "nothing crosses: the whole network is on one device" if not placement.strayed else verdict
    axes.text(width / 2, y - 0.5, verdict, ha="center", fontsize=9.5, color=RED if placement.strayed else INK)
    axes.set(xlim=(-0.2, width + 0.2), ylim=(y - 0.8, 0.95))
    axes.axis("off")
    return figure


def _boxes(variables: Mapping[str, NetworkVariable]) -> dict[tuple[str, str], tuple[str, int]]:
    """By layer and tower: the kernel's shape in words, and how many parameters."""
    shapes: dict[tuple[str, str], str] = {}
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for name, one in variables.items():
        shape = [int(size) for size in one.variable.shape]
        counts[one.layer, one.tower] += math.prod(shape)
        if name.endswith("/kernel"):
            shapes[one.layer, one.tower] = f"{'×'.join(map(str, shape[:-1]))} → {shape[-1]}"
    return {place: (shapes.get(place, ""), count) for place, count in counts.items()}


def _met_at(crossings: Sequence[Crossing]) -> dict[str, list[Crossing]]:
    """The crossings of activations and gradients, by the layer whose input they are."""
    met = defaultdict(list)
    for crossing in crossings:
        if crossing.kind in ("activation", "gradient"):
            met[crossing.layer].append(crossing)
    return dict(met)


def _rows(layers: Sequence[str], met: Mapping[str, object]) -> list[str]:
    """The layers and, behind the layer of the same number, the meetings that are no layer's of a config (norm1)."""
    rows = list(layers)
    for name in met:
        if name not in layers:
            number = re.search(r"\d+$", name)
            before = [row for row in rows if number and row.endswith(number[0])]
            rows.insert(rows.index(before[-1]) + 1 if before else len(rows), name)
    return rows


def _draw_box(axes: Axes, left: float, bottom: float, color: str, name: str, shape: str, parameters: int) -> None:
    axes.add_patch(
        FancyBboxPatch((left, bottom), WIDTH, BOX, boxstyle="round,pad=0.03", fc="#f7f9fb", ec=color, linewidth=1.4)
    )
    axes.text(left + 0.15, bottom + BOX / 2, name, va="center", fontsize=10.5, weight="bold", color=INK)
    right = left + WIDTH - 0.12
    axes.text(right, bottom + 0.68 * BOX, shape, va="center", ha="right", fontsize=8.5, color=INK)
    axes.text(
        right, bottom + 0.27 * BOX, f"{parameters:,} parameters", va="center", ha="right", fontsize=7.5, color=INK
    )


def _draw_meeting(axes: Axes, y: float, layer: str, crossings: Sequence[Crossing]) -> None:
    """Arrows for the ways that are taken, and bytes a picture both ways together."""
    left, right = WIDTH + 0.1, WIDTH + BETWEEN - 0.1
    first = min(crossing.source for crossing in crossings)
    forward = [crossing for crossing in crossings if crossing.kind == "activation"]
    to_right = any(crossing.source == first for crossing in forward)
    to_left = any(crossing.source != first for crossing in forward)
    style = "<|-|>" if to_right and to_left else "-|>" if to_right else "<|-"
    axes.annotate(
        "", xy=(right, y), xytext=(left, y), arrowprops={"arrowstyle": style, "color": GRAY, "linewidth": 1.6}
    )
    middle = (left + right) / 2
    gradient = sum(crossing.bytes for crossing in crossings if crossing.kind == "gradient")
    axes.text(middle, y + 0.12, f"input of {layer}", ha="center", fontsize=8.5, color=INK)
    amounts = f"{_size(sum(one.bytes for one in forward))} forward, {_size(gradient)} back"
    axes.text(middle, y - 0.16, amounts, ha="center", va="top", fontsize=7.5, color=INK)


def _size(count: int) -> str:
    return f"{count / 1024:.4g} KiB" if count >= 1024 else f"{count} bytes"
