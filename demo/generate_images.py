"""Draws the pictures of `make demo`: ten classes that a person names at a glance.

Stands before the first step of an image's path: it plays the part of a photograph collection, so
that the main job can be tried without one. The files are ordinary JPEG and PNG pictures in class
folders, and everything after this module treats them as such::

    OUT/train/CLASS/*.jpg|png  OUT/val/CLASS/*.jpg|png  OUT/unseen/CLASS.jpg  OUT/synset_words.txt

Nothing of this is in the paper. The classes differ in outline *and* in fill, because the full
network has to learn them from scratch, out of a thousand pictures, in a few minutes on two cores.
Color, size, place, rotation, background and proportions are drawn at random, so none of them gives
a class away.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tf.program.errors import UserError, run_command

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDES = (180, 420)  # pixels, shortest and longest side of a picture
DIAMETERS = (0.6, 0.8)  # of the shape, as a share of the picture's shorter side
VISIBLE = 224 / 256  # share of the shorter side that the center crop of evaluation shows
SUPERSAMPLING = 2  # samples per pixel and direction along a shape's edges
TRAIN_SHARE = 5 / 6  # of a class's pictures; the rest is for validation
PNG_EVERY = 8  # each so-manieth picture of a class is a PNG, the others are JPEGs
SPLITS = ("train", "val", "unseen")


class Picture(NamedTuple):
    """One picture to draw: where it goes and the integers that its random numbers come from."""

    path: Path
    kind: str
    entropy: tuple[int, int, int, int]


def main(argv: list[str] | None = None) -> int:
    """Draws the whole set into a folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.generate_images", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist")
    parser.add_argument("--per-class", type=int, default=120, help="pictures a class (120)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pictures (0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    arguments = parser.parse_args(argv)
    generate(arguments.out, arguments.per_class, arguments.seed, arguments.workers)
    return 0


def generate(out: Path, per_class: int = 120, seed: int = 0, workers: int = 1) -> None:
    """Draws all splits into the new folder `out`, which appears only once it is complete.

    The same seed gives the same bytes whatever the number of workers (with the same versions of
    NumPy and Pillow).

    Raises:
      UserError: `out` exists, or a number makes no sense.
    """
    if per_class < 6:
        raise UserError(f"--per-class {per_class}: at least 6, so that every split has pictures")
    if seed < 0 or workers < 1:
        raise UserError("--seed must be 0 or more and --workers 1 or more")
    if out.exists():
        raise UserError(f"{out}: exists already; remove it or choose another --out")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pictures = plan(partial, per_class, seed)
    for folder in {picture.path.parent for picture in pictures}:
        folder.mkdir(parents=True)
    if workers == 1:
        list(map(draw_and_save, pictures))
    else:
        # spawn: starting is cheap (no TensorFlow here), and forking a threaded process is not safe.
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            pool.map(draw_and_save, pictures, chunksize=16)
    words = "".join(f"{kind} {words}\n" for kind, (words, _) in KINDS.items())
    (partial / "synset_words.txt").write_text(words, encoding="utf-8")
    partial.rename(out)
    print(f"{len(pictures)} pictures of {len(KINDS)} classes in {out}", file=sys.stderr)


def plan(root: Path, per_class: int, seed: int) -> list[Picture]:
    """Lists every picture of the set: `per_class` of each class, and one unseen of each."""
    train = round(per_class * TRAIN_SHARE)
    counts = {"train": train, "val": per_class - train, "unseen": 1}
    pictures = []
    for split_number, split in enumerate(SPLITS):
        for kind_number, kind in enumerate(KINDS):
            for index in range(counts[split]):
                suffix = "png" if index % PNG_EVERY == PNG_EVERY - 1 else "jpg"
                name = f"{split}/{kind}/{kind}_{index:04d}.{suffix}"
                path = root / (f"unseen/{kind}.jpg" if split == "unseen" else name)
                pictures.append(Picture(path, kind, (seed, split_number, kind_number, index)))
    return pictures


def draw_and_save(picture: Picture) -> None:
    """Draws one picture from its own random numbers and writes it as JPEG or PNG by its name."""
    pixels = draw(picture.kind, np.random.default_rng(picture.entropy))
    Image.fromarray(pixels).save(picture.path, quality=92)  # a PNG has no use for the quality


def draw(kind: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws one picture of class `kind`: `(height, width, 3)` uint8."""
    height, width = (int(side) for side in rng.integers(SIDES[0], SIDES[1] + 1, 2))
    ground, ink = contrasting_colors(rng)
    canvas = background(rng, height, width, ground)
    short = min(height, width)
    radius = rng.uniform(*DIAMETERS) * short / 2
    # The whole shape stays inside the part of the picture that evaluation's center crop shows.
    reach = max(0.0, VISIBLE * short / 2 - radius)
    row = height / 2 + rng.uniform(-reach, reach)
    column = width / 2 + rng.uniform(-reach, reach)
    coverage = shape_coverage(kind, rng, (height, width), (row, column), radius)[..., None]
    shade = ink + noise(rng, height, width, 5)
    pixels = canvas * (1 - coverage) + shade * coverage
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def contrasting_colors(rng: np.random.Generator) -> tuple[Array, Array]:
    """Random RGB colors `(3,)` on 0-255: a muted, dark ground and a clearly brighter ink.

    The ink is always the brighter one: with either order the classes' mean pictures are all flat,
    and a net that starts from tiny random weights finds nothing to hold on to for many epochs.
    """
    while True:
        ground, ink = rng.uniform(20, 110, 3), rng.uniform(60, 255, 3)
        if np.dot(ink - ground, (0.299, 0.587, 0.114)) > 110:  # Rec. 601 luma
            return ground.astype(np.float32), ink.astype(np.float32)


def background(rng: np.random.Generator, height: int, width: int, color: Array) -> Array:
    """A textured ground `(height, width, 3)` around one color: gradient, stripes, noise."""
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    texture = rng.uniform(-18, 18, 3).astype(np.float32) * along[..., None]
    choice = rng.integers(3)
    if choice == 0:
        texture += blotches(rng, height, width, cells=int(rng.integers(4, 20)))
    elif choice == 1:
        wave = np.sin(along * rng.uniform(10, 60) + rng.uniform(0, 6))
        texture += rng.uniform(-10, 10, 3).astype(np.float32) * wave[..., None]
    return color + texture + noise(rng, height, width, rng.uniform(2, 9))


def noise(rng: np.random.Generator, height: int, width: int, deviation: float) -> Array:
    """Gray normal noise around 0, `(height, width, 1)`: the grain of a photograph."""
    return rng.standard_normal((height, width, 1), np.float32) * np.float32(deviation)


def blotches(rng: np.random.Generator, height: int, width: int, cells: int) -> Array:
    """Smooth colored noise `(height, width, 3)`: a coarse random picture, enlarged."""
    coarse = np.clip(rng.normal(128, 40, (cells, cells, 3)), 0, 255).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return (np.asarray(smooth, np.float32) - 128) * np.float32(rng.uniform(0.1, 0.35))


def shape_coverage(
    kind: str,
    rng: np.random.Generator,
    size: tuple[int, int],
    center: tuple[float, float],
    radius: float,
) -> Array:
    """How much of each pixel the shape covers, `(height, width)` in 0-1, edges anti-aliased.

    The shape is defined in the unit circle; `center` (row, column) and `radius` are in pixels.
    """
    inside = KINDS[kind][1]
    angle = rng.uniform(0, 2 * np.pi)
    coverage = np.zeros(size, np.float32)
    top, left = (max(0, int(middle - radius) - 1) for middle in center)
    bottom = min(size[0], int(center[0] + radius) + 2)
    right = min(size[1], int(center[1] + radius) + 2)
    rows = sample_positions(top, bottom, center[0])[:, None] / np.float32(radius)
    columns = sample_positions(left, right, center[1])[None, :] / np.float32(radius)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    mask = inside(cosine * columns + sine * rows, cosine * rows - sine * columns, rng)
    samples = mask.reshape(bottom - top, SUPERSAMPLING, right - left, SUPERSAMPLING)
    coverage[top:bottom, left:right] = samples.mean((1, 3), dtype=np.float32)
    return coverage


def sample_positions(first: int, last: int, middle: float) -> Array:
    """Positions of the samples within the pixels `first` to `last` (exclusive), from `middle`."""
    steps = np.arange((last - first) * SUPERSAMPLING, dtype=np.float32)
    return (steps + np.float32(0.5)) / np.float32(SUPERSAMPLING) + np.float32(first - middle)


# The shapes: each takes coordinates in the unit circle, `(rows, columns)` each, and says which
# points are inked. The random numbers vary the proportions, where there are any.

Shape = Callable[[Array, Array, np.random.Generator], Mask]
HALF = 0.70  # half the side of the square patches, whose corners just stay in the unit circle


def in_patch(x: Array, y: Array) -> Mask:
    """Whether a point is on the square patch."""
    return (np.abs(x) < HALF) & (np.abs(y) < HALF)


def cells(x: Array, count: int) -> Array:
    """Position within the patch's cells: the whole part counts cells, the rest is inside one."""
    return (x + np.float32(HALF)) * np.float32(count / (2 * HALF))


def checkerboard(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """A patch of 4x4 cells, every second one inked."""
    del rng
    count = 4  # coarser than the dots, which look much alike when small
    return in_patch(x, y) & ((np.floor(cells(x, count)) + np.floor(cells(y, count))) % 2 == 0)


def cross(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """Four equal arms."""
    arm = rng.uniform(0.17, 0.28)
    return (np.minimum(np.abs(x), np.abs(y)) < arm) & (np.maximum(np.abs(x), np.abs(y)) < 0.95)


def disc(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """Everything in the circle."""
    del rng
    return np.hypot(x, y) < 0.9


def dots(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """A patch of 4x4 or 5x5 dots."""
    count, size = int(rng.integers(4, 6)), rng.uniform(0.25, 0.32)
    return in_patch(x, y) & (np.hypot(cells(x, count) % 1 - 0.5, cells(y, count) % 1 - 0.5) < size)


def grid(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """A patch of crossing lines with 3 to 5 cells a side."""
    count, line = int(rng.integers(3, 6)), rng.uniform(0.10, 0.15)
    # The outer lines are as wide as the inner ones, half of them beyond the outer cells.
    scale = np.float32(1 + 2 * line / count)
    across, down = cells(x * scale, count), cells(y * scale, count)
    to_line = np.minimum(np.abs((across + 0.5) % 1 - 0.5), np.abs((down + 0.5) % 1 - 0.5))
    return in_patch(x, y) & (to_line < line)


def ring(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """A circle's outer part."""
    distance = np.hypot(x, y)
    return (distance > rng.uniform(0.58, 0.74)) & (distance < 0.95)


def star(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """Five points: a polar outline that is a straight line from each tip to each notch."""
    notch = rng.uniform(0.36, 0.44)  # radius of the notches, the tips being at 1
    turn = np.abs((np.arctan2(y, x) / (2 * np.pi / 5)) % 1 - 0.5) * (2 * np.pi / 5)
    # `turn` is 0 at a notch and 36 degrees at a tip; the line between them in polar form:
    tip = np.pi / 5
    outline = notch * np.sin(tip) / (notch * np.sin(turn) + np.sin(tip - turn))
    return np.hypot(x, y) < outline


def stripes(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """A patch of 4 to 6 parallel bars."""
    count = int(rng.integers(4, 7))
    return in_patch(x, y) & (cells(x, count) % 1 < rng.uniform(0.45, 0.6))


def target(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """A circle of concentric rings."""
    bands = rng.uniform(2.4, 3.4)
    distance = np.hypot(x, y)
    return (distance < 0.95) & ((0.95 - distance) * bands % 1 < 0.5)


def triangle(x: Array, y: Array, rng: np.random.Generator) -> Mask:
    """Equilateral, with its corners on the circle of radius 0.98."""
    del rng
    half_width = np.float32(np.sqrt(0.75))
    return np.maximum(y, half_width * np.abs(x) - y / 2) < 0.49


KINDS: dict[str, tuple[str, Shape]] = {
    "checkerboard": ("checkerboard", checkerboard),
    "cross": ("cross with four equal arms", cross),
    "disc": ("solid disc", disc),
    "dots": ("square of polka dots", dots),
    "grid": ("grid of crossing lines", grid),
    "ring": ("ring", ring),
    "star": ("five-pointed star", star),
    "stripes": ("striped square", stripes),
    "target": ("target of concentric rings", target),
    "triangle": ("solid triangle", triangle),
}

if __name__ == "__main__":
    run_command(main)
