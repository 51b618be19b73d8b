"""Exif data: a TIFF header and its first directory, as cameras put them into a picture file."""

import struct

EXIF = b"Exif\0\0"
"""Comes before them in a JPEG file."""
ORIENTATION = 0x0112


def exif_orientation(exif: bytes) -> int | None:
    """The orientation of the camera, 1 to 8 as TIFF numbers it; None where the data do not say."""
    exif = exif.removeprefix(EXIF)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, directory)
        for entry in range(entries):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", exif, directory + 2 + 12 * entry)
            if tag == ORIENTATION:
                return value if (kind, count) == (3, 1) else None
    except struct.error:  # it ends before that
        pass
    return None
