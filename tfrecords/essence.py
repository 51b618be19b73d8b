"""The part of a picture file that its decoder needs. No TensorFlow here."""

from typing import NamedTuple

from tfrecords import picture_limits as limits

MAX_PALETTE = 256 * 3
"""Bytes of a PNG or GIF file's palette."""


class UnreadablePicture(Exception):
    """The picture cannot be used; the message says why, in a few words."""


class Essence(NamedTuple):
    """The part of a file that the decoder needs, and what was found on the way."""

    file: bytes
    animated: bool = False
    exif: bytes | None = None
    """Exif data that were left out: a TIFF header and what follows."""
    cut: bool = False
    """Whether it is a file that ends before its pixels are known to."""
    transparent: bool = False
    """Whether it holds transparency beside the colors."""
    pixels: int = 0
    """Height times width."""


def judge_size(width: int, height: int) -> int:
    """The number of pixels, where it is within the limits."""
    if fault := limits.size_fault(width, height):
        raise UnreadablePicture(fault)
    return width * height
