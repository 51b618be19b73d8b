"""Pictures turned by EXIF's numbers in another way than the program's, and Exif data of all sorts."""

import struct

import numpy as np
from PIL import Image

from tfrecords.exif import EXIF


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """By numbers of rows and columns, as TIFF 6.0 puts them: where the stored row 0 and column 0 are seen."""
    rows = np.asarray(picture)
    if orientation >= 5:
        rows = np.swapaxes(rows, 0, 1)
    if orientation in (3, 4, 7, 8):
        rows = rows[::-1]
    if orientation in (2, 3, 6, 7):
        rows = rows[:, ::-1]
    return Image.fromarray(np.ascontiguousarray(rows))


def odd_exif() -> list[bytes]:
    """Exif data of all sorts, sound and broken."""

    def directory(order: str, *entries: tuple[int, int, int, int], count: int | None = None, at: int = 8) -> bytes:
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at) + bytes(at - 8)
        packed = b"".join(struct.pack(order + "HHIHH", *entry, 0) for entry in entries)
        return head + struct.pack(order + "H", len(entries) if count is None else count) + packed

    six, other, again = (0x0112, 3, 1, 6), (0x010F, 2, 9, 7), (0x0112, 3, 1, 3)
    found = [directory(order, *entries) for order in "<>" for entries in ((six,), (other, six), (six, again), (other,))]
    found += [directory("<", (0x0112, kind, count, 6)) for kind, count in ((4, 1), (3, 2), (3, 0), (1, 1))]
    found += [directory("<", (0x0112, 3, 1, value)) for value in (0, 1, 2, 8, 9, 300)]
    found += [directory(">", six, at=20), directory(">", other, count=2), directory("<", other, six, count=1)]
    whole = directory("<", other, six)
    found += [whole[:length] for length in range(len(whole))]
    found += [EXIF + whole, EXIF + EXIF + whole, b"II*\0\xff\xff\xff\xff" + whole, b"MM*\0" + whole[4:], b""]
    draw = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(whole)
        for place in draw.integers(len(changed), size=draw.integers(1, 4)):
            changed[place] = draw.choice([0, 1, 2, 3, 6, 8, 0x12, 255])
        found.append(bytes(changed))
    return found
