"""Figures that show pictures: what the network answers, where it is surely wrong, what is near, what ten views see."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alexnet_tf.evaluation.drawing import BLUE, GREEN, INK, RED, Axes, Figure, shortened
from alexnet_tf.pictures.input_pipeline import StoredPicture

VIEW_NAMES = ("upper left", "upper right", "lower left", "lower right", "center")


def show(axes: Axes, pixels: np.ndarray) -> None:
    """A picture, uint8 (height, width, 3 or 1), without an axis."""
    gray: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255} if pixels.shape[-1] == 1 else {}
    axes.imshow(pixels[..., 0] if gray else pixels, **gray)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def readable(file_name: bytes) -> str:
    """A file's name as text, whatever bytes it is made of."""
    return file_name.decode("utf-8", "backslashreplace")


def mistakes_figure(pictures: Sequence[StoredPicture], probabilities: np.ndarray, names: Sequence[str]) -> Figure:
    """Each picture with its file's name, its class and the wrong guess.

    Args:
      pictures: N of them.
      probabilities: (N, classes).
      names: of the classes.
    """
    columns = min(5, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(2.1 * columns + 0.2, 2.75 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[len(pictures) :]:
        axes.axis("off")
    for axes, picture, row in zip(grid, pictures, probabilities, strict=False):
        show(axes, picture.pixels)
        axes.set_title(shortened(readable(picture.file_name), 26, synonyms=False), fontsize=7, color=INK)
        guess = int(row.argmax())
        truth = f"is: {shortened(names[picture.label], 18)}, {row[picture.label]:.0%}"
        axes.text(0.5, -0.04, truth, transform=axes.transAxes, ha="center", va="top", fontsize=7.5, color=GREEN)
        told = f"guess: {shortened(names[guess], 18)}, {row[guess]:.0%}"
        axes.set_xlabel(told, fontsize=7.5, color=RED, labelpad=15)
    return figure


def top5_figure(pictures: Sequence[StoredPicture], probabilities: np.ndarray, names: Sequence[str]) -> Figure:
    """The paper's Figure 4, left: each picture, its class, and bars for the five most probable classes."""
    columns = min(4, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(2.7 * columns, 4.3 * rows), layout="constrained")
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3, 2] * rows)
    for number in range(rows * columns):
        above, below = (grid[2 * (number // columns) + part, number % columns] for part in (0, 1))
        if number >= len(pictures):
            above.axis("off")
            below.axis("off")
            continue
        picture = pictures[number]
        show(above, picture.pixels)
        above.set_title(shortened(names[picture.label], 26), fontsize=9, weight="bold", color=INK)
        _answer_bars(below, probabilities[number], picture.label, names)
    return figure


def _answer_bars(axes: Axes, probabilities: np.ndarray, label: int, names: Sequence[str]) -> None:
    order = np.argsort(-probabilities, kind="stable")[:5]
    colors = ["#9fdcb4" if one == label else "#cfe0f3" for one in order]
    axes.barh(range(len(order)), probabilities[order], color=colors, height=0.82)
    for place, one in enumerate(order):
        weight = "bold" if one == label else "normal"
        axes.text(0.02, place, shortened(names[one], 24), va="center", fontsize=8, color=INK, weight=weight)
        axes.text(1.0, place, f"{probabilities[one]:.0%}", va="center", ha="right", fontsize=7.5, color=INK)
    axes.set(xlim=(0, 1), ylim=(4.5, -0.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def neighbors_figure(
    queries: Sequence[StoredPicture], nearest: Sequence[Sequence[StoredPicture]], distances: np.ndarray,
    names: Sequence[str],
) -> Figure:  # fmt: skip
    """The paper's Figure 4, right: in each row a picture, then the training pictures nearest to it by their features.

    Args:
      queries: Q pictures.
      nearest: of each the nearest, the first one first.
      distances: (Q, most).
      names: of the classes.
    """
    columns = 1 + max(len(row) for row in nearest)
    figure = Figure(figsize=(1.55 * columns + 0.3, 1.95 * len(queries)), layout="constrained")
    ratios = [1.0, 0.12, *[1.0] * (columns - 1)]
    grid = figure.subplots(len(queries), columns + 1, squeeze=False, width_ratios=ratios)
    for axes in grid.flat:
        axes.axis("off")
    for row, (query, others, apart) in enumerate(zip(queries, nearest, distances, strict=True)):
        _framed(grid[row, 0], query, shortened(names[query.label], 20), INK)
        for column, (other, distance) in enumerate(zip(others, apart, strict=True), 2):
            same = other.label == query.label
            title = f"{shortened(names[other.label], 20)}\n{distance:.3g}"
            _framed(grid[row, column], other, title, GREEN if same else RED)
    return figure


def _framed(axes: Axes, picture: StoredPicture, title: str, color: str) -> None:
    axes.axis("on")
    show(axes, picture.pixels)
    axes.spines[:].set(visible=True, color=color, linewidth=2)
    axes.set_title(title, fontsize=7, color=color)


def views_figure(
    picture: StoredPicture, views: np.ndarray, offsets: Sequence[tuple[int, int]], probabilities: np.ndarray,
    names: Sequence[str],
) -> Figure:  # fmt: skip
    """Where the views lie in a picture, and what the network makes of each.

    Args:
      picture: as it is stored.
      views: uint8 (views, size, size, channels), as seen, the mirrored ones last.
      offsets: rows above and columns to the left of each crop that is not mirrored.
      probabilities: (views, classes).
      names: of the classes.
    """
    crops, size = len(offsets), views.shape[1]
    rows = len(views) // crops
    figure = Figure(figsize=(3.4 + 1.55 * crops, max(3.6, 2.0 * rows + 0.7)), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3.2, 1.55 * crops), squeeze=False)[0]
    whole = left.subplots()
    show(whole, picture.pixels)
    whole.set_title(
        f"{shortened(names[picture.label], 28)}\n{shortened(readable(picture.file_name), 32, synonyms=False)}",
        fontsize=8.5,
    )
    colors = (RED, BLUE, GREEN, "#b7791f", "#d53f8c")
    for number, (top, across) in enumerate(offsets):
        color = colors[-1] if crops == 1 else colors[number]
        corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) * (size - 1) + (across, top)
        whole.plot(*corners.T, color=color, linewidth=2)
    grid = right.subplots(rows, crops, squeeze=False)
    for number, (axes, view, row) in enumerate(zip(grid.flat, views, probabilities, strict=True)):
        place, mirrored = number % crops, number >= crops
        show(axes, view)
        axes.spines[:].set(visible=True, color=colors[-1] if crops == 1 else colors[place], linewidth=2)
        where = "center" if crops == 1 else VIEW_NAMES[place]
        axes.set_title(f"{where}{', mirrored' if mirrored else ''}", fontsize=7.5)
        guess = int(row.argmax())
        color = GREEN if guess == picture.label else RED
        axes.set_xlabel(f"{shortened(names[guess], 18)}\n{row[guess]:.1%}", fontsize=7.5, color=color)
    return figure
