"""Pictures made on the spot, in folders of classes."""

from pathlib import Path

import numpy as np
from PIL import Image

from tfrecords.plan import Settings

SIZE = 24
SETTINGS = Settings(size=SIZE, shards=3)
CLASSES = ("ant", "bee", "cat")


def noise(seed: int, width: int, height: int) -> np.ndarray:
    """A colorful picture with coarse and fine structure, uint8 (height, width, 3)."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return np.clip(smooth + draw.normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)


def write_pictures(folder: Path, classes: tuple[str, ...], per_class: int, seed: int) -> None:
    for label, key in enumerate(classes):
        (folder / key).mkdir(parents=True)
        for number in range(per_class):
            one = seed + 1000 * label + number
            pixels = noise(one, 20 + one % 37, 20 + one % 23)
            suffix = "png" if number % 4 == 0 else "jpg"
            Image.fromarray(pixels).save(folder / key / f"{key}_{number}.{suffix}")
