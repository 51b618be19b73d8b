"""Damage by chance to the zoo's files."""

import zlib
from collections.abc import Iterator

import numpy as np

from tests.picture_zoo.zoo import ZOO
from tfrecords.picture_kinds import PNG_SIGNATURE


def damaged_files(seed: int) -> Iterator[bytes]:
    """Without end: files of the zoo with bits, bytes and pieces changed, left out, added and doubled."""
    draw = np.random.default_rng(seed)
    whole = [file for form in ("JPEG", "PNG", "GIF") for file in ZOO[form]().values() if len(file) > 30]
    while True:
        file = bytearray(whole[draw.integers(len(whole))])
        for _ in range(draw.integers(1, 4)):
            if len(file) > 20:
                _damage(file, draw)
        # With the old checksums a PNG file's chunks would not be looked into.
        yield _checked(bytes(file)) if file.startswith(PNG_SIGNATURE) and draw.random() < 0.8 else bytes(file)


def _damage(file: bytearray, draw: np.random.Generator) -> None:
    at = int(draw.integers(2, len(file) if draw.random() < 0.5 else min(len(file), 700)))
    match draw.integers(7):
        case 0:
            file[at] ^= 1 << draw.integers(8)
        case 1:
            file[at] = draw.integers(256)
        case 2:
            file[at] = draw.choice([0, 1, 127, 255])
        case 3:
            del file[at : at + draw.integers(1, 20)]
        case 4:
            file[at:at] = draw.bytes(draw.integers(1, 10))
        case 5:
            file[at:at] = file[at : at + draw.integers(1, 60)]
        case 6 if draw.random() < 0.2:
            del file[max(at, 20) :]


def _checked(png: bytes) -> bytes:
    """With the checksums that its chunks should have."""
    file, at = bytearray(png), len(PNG_SIGNATURE)
    while at + 12 <= len(file):
        end = at + 8 + int.from_bytes(file[at : at + 4], "big")
        if end + 4 <= len(file):
            file[end : end + 4] = zlib.crc32(file[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(file)
