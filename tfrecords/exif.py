"""Exif data: a TIFF header and its first directory, as cameras put them into a picture file.

Of all that they tell, only the orientation counts here: how the camera was held, and so how the stored pixels have to
be turned to stand upright. The same rules, as a graph, are in `alexnet_tf.serving.exif_orientation`.
"""

import struct
from typing import Literal

Exif = Literal["apply", "ignore"]
"""Whether pictures are turned by their orientation; data, runs and exports all say which."""

EXIF = b"Exif\0\0"
"""Comes before them in a JPEG file."""
ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
"""How the header says in which order the bytes of a number stand."""
ORIENTATION = 0x0112
SHORT = 3
"""The type of a number of two bytes."""
ENTRY = 12
"""Bytes of an entry in a directory, behind the two that count them."""

UPRIGHT = 1
TURNED = range(2, 9)
"""Orientations that ask for something to be done, as TIFF 6.0 numbers them; other numbers mean nothing."""
SWAPPED = (5, 6, 7, 8)
"""Those whose rows are columns. That comes first, then what the next two say of the swapped picture."""
MIRRORED = (2, 3, 6, 7)
"""Those whose columns come in reverse order."""
UPSIDE_DOWN = (3, 4, 7, 8)
"""Those whose rows come in reverse order."""


def exif_orientation(exif: bytes) -> int:
    """The orientation of the camera, 1 to 8 as TIFF numbers it; UPRIGHT where the data do not say, or say nonsense."""
    exif = exif.removeprefix(EXIF)
    order = ORDERS.get(exif[:4])
    if order is None:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, directory)
        for entry in range(entries):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", exif, directory + 2 + ENTRY * entry)
            if tag == ORIENTATION:
                return value if (kind, count) == (SHORT, 1) and value in TURNED else UPRIGHT
    except struct.error:  # it ends before that
        pass
    return UPRIGHT


def exif_with(orientation: int) -> bytes:
    """Exif data that hold this orientation and nothing else."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, ORIENTATION, SHORT, 1, orientation, 0, 0)
