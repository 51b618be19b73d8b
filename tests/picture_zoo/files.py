"""What the makers of the zoo's files share."""

import numpy as np

Files = dict[tuple[str, str], bytes]
"""By kind and variant."""

WIDTH, HEIGHT = 45, 37
"""Of most files: odd, so that blocks, bits and halved colors do not come out even."""


SIZES = {
    "60000x60000 claimed": (60_000, 60_000),
    "9500x9500": (9500, 9500),
    "193x31237": (193, 31_237),
    "101x1": (101, 1),
}
"""Beyond the limits; the pixels need not be there."""


def numbers(channels: int = 3, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture with slopes, hard edges and some noise, from 0 to 1: float64 (height, width, channels)."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    slopes = np.stack([across, down, 1 - across, (across + down) / 2], axis=2)
    slopes[height // 4 : height // 2, width // 4 : width // 2] = 1
    slopes[height // 2 : height * 3 // 4, width // 2 : width * 3 // 4] = 0
    noise = np.random.default_rng(0).normal(0, 0.03, slopes.shape)
    return np.clip(slopes + noise, 0, 1)[:, :, :channels]


def pixels(channels: int = 3) -> np.ndarray:
    """The same as uint8 (height, width, channels), or (height, width) for one channel."""
    found = (numbers(channels) * 255 + 0.5).astype(np.uint8)
    return found[:, :, 0] if channels == 1 else found


def cut(file: bytes, part: float) -> bytes:
    """The beginning of a file."""
    return file[: int(len(file) * part)]


def flipped(file: bytes, *places: int) -> bytes:
    """With a bit changed in each of some bytes."""
    changed = bytearray(file)
    for place in places:
        changed[place] ^= 1
    return bytes(changed)
