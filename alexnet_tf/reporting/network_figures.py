"""Figures of what is inside a network: its first filters, what its convolutions put out, and Grad-CAM."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from alexnet_tf.evaluation.activations import most_varied
from alexnet_tf.evaluation.drawing import GREEN, INK, RED, TOWER_COLORS, Figure, shortened
from alexnet_tf.pictures.input_pipeline import StoredPicture
from alexnet_tf.reporting.picture_figures import show

FILTERS_IN_A_ROW = 16
MAPS_IN_A_ROW = 12
"""Of each convolution and tower, those that vary most over the picture."""
RANDOM_SHARE = 2 / 3
"""The color share of independent random weights: two of a pixel's three directions are color."""


def color_share(kernels: np.ndarray) -> float:
    """How much of filters is color: the part of their sum of squares that is gone once each pixel is made gray.

    Args:
      kernels: (height, width, 3, filters).

    Returns:
      0 of filters that see gray alone, 1 of such as see no brightness, 2/3 of random ones.
    """
    gray = kernels.mean(axis=2, keepdims=True)
    return float(((kernels - gray) ** 2).sum() / max(float((kernels**2).sum()), np.finfo(np.float64).tiny))


def filters_figure(kernels: Sequence[np.ndarray], layer: str) -> Figure:
    """The paper's Figure 3: the first convolution's filters, tower a's above and tower b's below.

    Args:
      kernels: (height, width, 3 or 1, filters), one a tower.
      layer: its name.
    """
    across = min(FILTERS_IN_A_ROW, max(one.shape[3] for one in kernels))
    rows = [-(-one.shape[3] // across) for one in kernels]
    figure = Figure(figsize=(max(0.62 * across, 4.5), 0.62 * sum(rows) + 0.45 * len(rows)), layout="constrained")
    grid = figure.subplots(len(kernels), 1, squeeze=False, height_ratios=rows)[:, 0]
    for tower, axes, one in zip("ab", grid, kernels, strict=False):
        scaled = one / (2 * np.maximum(np.abs(one).max(axis=(0, 1, 2)), 1e-12)) + 0.5  # each by itself; 0 is gray
        tiles = np.moveaxis(scaled, 3, 0)
        image = _tiled(tiles, across, gap=1)
        axes.imshow(
            image if image.shape[2] == 3 else image[..., 0], interpolation="nearest", cmap="gray", vmin=0, vmax=1
        )
        axes.axis("off")
        where = f"tower {tower}: " if len(kernels) > 1 else ""
        color = f", color share {color_share(one):.0%}" if one.shape[2] == 3 else ""
        title = f"{where}{one.shape[3]} filters of {layer}, {one.shape[0]}×{one.shape[1]} pixels{color}"
        axes.set_title(title, loc="left", color=TOWER_COLORS[tower])
    return figure


def feature_maps_figure(outputs: dict[str, list[np.ndarray]]) -> Figure:
    """Of each convolution and tower the maps that vary most over a picture, each from its lowest value to its highest.

    Args:
      outputs: by layer (height, width, maps), one a tower.
    """
    rows = [(layer, tower, maps) for layer, of_towers in outputs.items() for tower, maps in enumerate(of_towers)]
    figure = Figure(figsize=(10.5, 0.95 * len(rows) + 0.2), layout="constrained")
    grid = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axes, (layer, tower, maps) in zip(grid, rows, strict=True):
        height, width, count = maps.shape
        name = f"{layer}{' ' + 'ab'[tower] if len(outputs[layer]) > 1 else ''}"
        chosen = most_varied(tf.constant(maps[None]), MAPS_IN_A_ROW).numpy()[0]
        if height * width == 1:  # a point a map: all of them in a row
            axes.imshow(chosen[..., 0], aspect="auto", cmap="viridis")
            label = f"{name}\n{count} units"
        else:
            tiles = np.moveaxis(chosen, 2, 0)[..., None]
            axes.imshow(_tiled(tiles, MAPS_IN_A_ROW, gap=max(1, width // 14))[..., 0], cmap="viridis", aspect="equal")
            label = f"{name}, {height}×{width}\n{len(tiles)} of {count}"
        axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, color=TOWER_COLORS["ab"[tower]])
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure


def grad_cam_figure(
    pictures: Sequence[StoredPicture], crops: np.ndarray, heat: np.ndarray, guesses: np.ndarray,
    probabilities: np.ndarray, names: Sequence[str],
) -> Figure:  # fmt: skip
    """Above what the network sees, below how much each place speaks for the class that it names.

    Args:
      pictures: N of them.
      crops: uint8 (N, size, size, channels), their center views.
      heat: (N, height, width), from `evaluation.activations.grad_cam`.
      guesses: (N,), the labels asked about.
      probabilities: (N,), theirs.
      names: of the classes.
    """
    figure = Figure(figsize=(1.9 * len(pictures) + 0.2, 4.3), layout="constrained")
    grid = figure.subplots(2, len(pictures), squeeze=False)
    for number, picture in enumerate(pictures):
        above, below = grid[:, number]
        show(above, crops[number])
        above.set_title(shortened(names[picture.label], 20), fontsize=8.5)
        right = guesses[number] == picture.label
        gray = np.repeat(crops[number].mean(axis=2, keepdims=True), 3, axis=2)
        show(below, np.clip(110 + 0.55 * gray, 0, 255).astype(np.uint8))  # pale, so that the colors stand out
        size = crops.shape[1]
        smooth = np.asarray(
            Image.fromarray(heat[number].astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
        )
        share = smooth / max(float(smooth.max()), 1e-12)
        below.imshow(share, cmap="turbo", alpha=0.75 * np.clip(1.5 * share, 0, 1), vmin=0, vmax=1)
        text = f"{shortened(names[guesses[number]], 20)}\n{probabilities[number]:.0%}"
        if not share.any():
            below.text(
                0.5, 0.5, "no place\nspeaks for it", transform=below.transAxes, ha="center", va="center", color=INK
            )
        below.set_xlabel(text, fontsize=8.5, color=GREEN if right else RED)
    return figure


def _tiled(tiles: np.ndarray, across: int, gap: int) -> np.ndarray:
    """N tiles, (N, height, width, channels), in rows of `across`, with white (or nothing, beyond the last) between."""
    count, height, width, channels = tiles.shape
    rows = -(-count // across)
    image = np.full(
        (rows * (height + gap) - gap, across * (width + gap) - gap, channels), np.nan if channels == 1 else 1.0
    )
    for number, tile in enumerate(tiles):
        top, left = number // across * (height + gap), number % across * (width + gap)
        image[top : top + height, left : left + width] = tile
    return image
