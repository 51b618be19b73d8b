"""The random choices for a training picture: where it is cropped, whether it is mirrored, how its color is shifted.

Draws are a function of (seed, epoch, position of the image in its epoch), so any step of any run can be drawn again.
Where the recipes differ is stated in `recipe.Augmentation`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.recipe import Augmentation
from tfrecords.statistics import Statistics

GEOMETRY, COLOR = 0, 1
"""Independent streams of random numbers."""
BLOCK = 512
"""Rows of random numbers that are drawn together, for making a generator takes longer than a row."""


class Draws(NamedTuple):
    """The random choices for N images: arrays when they are drawn, tensors later."""

    offset: Any
    """int32 (N, 2), rows and columns cut off above and to the left."""
    mirrored: Any
    """bool (N,)."""
    color_shift: Any
    """float32 (N, channels), gray levels to add to R, G, B, or to gray (zeros where the noise is off)."""
    noisy: Any
    """bool (N,), whether noise is on in the image's epoch."""


def draw_augmentation(
    augment: Augmentation, axes: np.ndarray, seed: int, epochs: np.ndarray, positions: np.ndarray, stored_size: int
) -> Draws:
    """Draws the random choices for some images.

    Args:
      augment: the recipe.
      axes: from `noise_axes`.
      seed: of the run.
      epochs: int64 (N,), counted from 0.
      positions: int64 (N,), the images' places in their epochs.
      stored_size: side of the stored pictures, in pixels.
    """
    noisy = np.full(len(epochs), augment.noise != "none")
    if augment.noise_until_epoch is not None:
        noisy &= epochs + 1 < augment.noise_until_epoch
    strengths = _rows(lambda draw, shape: draw.standard_normal(shape, np.float32), (seed, COLOR), epochs, positions)
    # Not as a matrix product, whose last bit may depend on the other rows.
    shift = np.sum(strengths[:, None, : len(axes)] * axes.astype(np.float32), axis=2) * noisy[:, None]
    if augment.crop == "center":
        center = (stored_size - augment.crop_size) // 2 + augment.padding
        return Draws(np.full((len(epochs), 2), center, np.int32), np.zeros(len(epochs), bool), shift, noisy)
    shared = positions // augment.images_per_draw
    limits = (augment.max_offset + 1, augment.max_offset + 1, 2)
    geometry = _rows(lambda draw, shape: draw.integers(0, limits, shape, np.int32), (seed, GEOMETRY), epochs, shared)
    return Draws(geometry[:, :2], (geometry[:, 2] == 1) & augment.mirror, shift, noisy)


def _rows(
    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray],
    stream: tuple[int, int], epochs: np.ndarray, numbers: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Rows `numbers` of each epoch's endless table of random numbers, (N, 3)."""
    blocks, of_row = np.unique(np.stack([epochs, numbers // BLOCK]), axis=1, return_inverse=True)
    tables = [draw(np.random.default_rng([*stream, *block]), (BLOCK, 3)) for block in blocks.T]
    return np.stack(tables)[of_row.reshape(-1), numbers % BLOCK]


def noise_axes(augment: Augmentation, statistics: Statistics) -> np.ndarray:
    """The principal axes of color, scaled to one standard deviation of the noise, in gray levels.

    They are the columns of the result, (channels, channels).

    With p_i the eigenvectors and l_i the eigenvalues of the RGB covariance on the 0-1 scale, the paper (section 4.1)
    adds sum p_i a_i l_i with a_i ~ N(0, 0.1), on that scale; the 2012 program takes the roots of l_i. On 0-255 the
    eigenvalues are 255^2 and the pixels 255 times as large.

    Raises:
      UserError: noise is on, and the statistics came with imported weights, where no pictures were measured.
    """
    if augment.noise != "none" and not statistics.pixels:
        raise UserError(
            "augment.noise: imported statistics hold no color covariance to draw it from; set augment.noise=none, or "
            "import the weights again with --data"
        )
    if augment.noise == "standard-deviation":
        lengths = statistics.eigenvalues**0.5
    elif augment.noise == "eigenvalue":
        lengths = statistics.eigenvalues / 255.0
    else:
        lengths = statistics.eigenvalues * 0.0
    return statistics.eigenvectors * (augment.noise_stddev * lengths)
