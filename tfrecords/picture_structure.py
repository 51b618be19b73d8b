"""A picture file's structure, followed as the decoders follow it, before one of them is let at it. No TensorFlow here.

What the limits of `picture_limits` refuse is refused here. Of other JPEG, PNG and GIF files only what the pixels need
is handed on: decoders spend time and memory on comments, profiles, texts and further pictures as well, and stumble over
damage in them. The same rules, as a graph, are in `alexnet_tf.serving.picture_structure`.
"""

import re
import struct
import zlib
from typing import NamedTuple

from tfrecords import picture_limits as limits


class UnreadablePicture(Exception):
    """The picture cannot be used; the message says why, in a few words."""


class Essence(NamedTuple):
    """What is left of a file for the decoder, and what has been seen on the way."""

    file: bytes
    animated: bool = False
    exif: bytes | None = None
    """Where it was cut out: a TIFF header and what follows."""
    cut: bool = False
    """Whether it is a PNG file that ends before its pixels are known to; Pillow would not mind."""


def essence(data: bytes, *, inflate: bool = False) -> Essence:
    """Follows a file's structure.

    Args:
      data: a picture file of any kind; of those that are no JPEG, PNG or GIF nothing is judged here.
      inflate: whether a PNG file's data are inflated to see that they are no more than the picture needs. Pillow stops
        there by itself; TensorFlow's decoder goes on to their end, 2 s for each compressed MB at worst.

    Raises:
      UnreadablePicture: it demands too much work, or it is a JPEG of a kind that no decoder here reads.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(PNG_SIGNATURE):
        return _png(data, inflate)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    return Essence(data)


# JPEG: ISO/IEC 10918-1, annex B.

MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""Every marker but those that stand alone within the data (RST0 to RST7, TEM) and codes that mean nothing. A 0xFF
before another is filling, and 0xFF 0x00 is a byte of data."""
DHT, SOI, EOI, SOS, APP0, APP14, APP15, COM = 0xC4, 0xD8, 0xD9, 0xDA, 0xE0, 0xEE, 0xEF, 0xFE
FRAMES = {code for code in range(0xC0, 0xD0) if code not in (DHT, 0xC8, 0xCC)}  # the others are JPG and DAC
READ_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended and progressive, with Huffman codes
EXIF = b"Exif\0\0"


def _jpeg(data: bytes) -> Essence:
    """Between segments a decoder looks for the next marker, whatever lies before it, and so does this."""
    at, segments, scans, scanned, pixels, framed = 2, 0, 0, 0, 0, False
    needed: list[bytes] = []
    copied = 0  # up to here the file is in `needed` or left out
    exif = None
    while (found := MARKER.search(data, at)) is not None:
        place, code = found.start(), data[found.start() + 1]
        if code == EOI:
            break
        segments += 1
        if segments > limits.MAX_SEGMENTS:
            raise UnreadablePicture(limits.MANY_SEGMENTS)
        at = place + 2
        if code == SOI or at + 2 > len(data):
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        at += max(length, 2)
        if code in FRAMES and not framed:
            framed = True
            if code not in READ_FRAMES or data[place + 4 : place + 5] != b"\x08":
                raise UnreadablePicture(limits.OTHER_JPEG)
            height, width = struct.unpack(">HH", data[place + 5 : place + 9].ljust(4, b"\0"))
            pixels = height * width if height * width <= limits.MAX_PIXELS else 0  # refused for that anyway
        elif code == SOS:
            scans += 1
            scanned += pixels * min(max(data[place + 4] if place + 4 < len(data) else 1, 1), 4)
            if scans > limits.MAX_SCANS:
                raise UnreadablePicture(limits.MANY_SCANS)
            if scanned > limits.MAX_SCANNED:
                raise UnreadablePicture(limits.MUCH_SCANNED)
        elif not scans and (code == COM or (APP0 < code <= APP15 and code != APP14)):
            if code == APP0 + 1 and exif is None and data.startswith(EXIF, place + 4):
                exif = data[place + 4 + len(EXIF) : at]
            needed.append(data[copied:place])
            copied = at
    file = b"".join([*needed, data[copied:]]) if needed else data
    return Essence(file, exif=exif)


# PNG: W3C's specification, section 5.

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
CHUNK_FRAME = 12  # length, type and checksum of a chunk
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of a pixel, by color type."""


MAX_PALETTE = 256 * 3


def _png(data: bytes, inflate: bool) -> Essence:
    """Keeps the header, the palette, transparency and the pixels."""
    at, chunks, pixel_data = len(PNG_SIGNATURE), 0, 0
    needed, compressed = [PNG_SIGNATURE], []
    animated, exif = False, None
    while at + CHUNK_FRAME <= len(data):
        chunks += 1
        if chunks > limits.MAX_CHUNKS + len(data) // 1024:
            raise UnreadablePicture(limits.MANY_CHUNKS)
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + CHUNK_FRAME + length
        if kind == b"IDAT":
            pixel_data += length
            compressed.append(memoryview(data)[at + 8 : end - 4])
        elif pixel_data:
            break
        if kind in (b"IHDR", b"IDAT") or (kind in (b"PLTE", b"tRNS") and length <= MAX_PALETTE):
            if _checked(data[at:end]):
                needed.append(data[at:end])
            elif kind != b"tRNS" and end <= len(data):
                raise UnreadablePicture(f"damaged: the checksum of a PNG file's {kind.decode()} chunk is wrong")
        animated |= kind == b"acTL"
        exif = data[at + 8 : end - 4] if kind == b"eXIf" else exif
        at = end
    room, spare = png_room(data), limits.SPARE_PNG_DATA
    if pixel_data > room + spare or (
        pixel_data > 2 * spare and _inflates_beyond(compressed, room, pixel_data if inflate else spare)
    ):
        raise UnreadablePicture(limits.MUCH_PNG_DATA)
    if at + CHUNK_FRAME > len(data):
        return Essence(data, animated, exif, cut=True)
    return Essence(b"".join([*needed, PNG_END]), animated, exif)


def _checked(chunk: bytes) -> bool:
    return zlib.crc32(memoryview(chunk)[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _inflates_beyond(compressed: list[memoryview], room: int, count: int) -> bool:
    """Whether the first `count` bytes of a zlib stream stand for more than `room` bytes."""
    stream = zlib.decompressobj()
    try:
        for piece in compressed:
            room -= len(stream.decompress(piece[:count], max(room, 0) + 1))
            count -= len(piece)
            if room < 0 or count <= 0:
                break
    except zlib.error:  # the decoder is to tell
        pass
    return room < 0


def png_room(data: bytes) -> int:
    """Bytes that a PNG file of this header has when uncompressed, and an eighth more: interlacing adds some."""
    width, height, depth, color = struct.unpack(">IIBB", data[16:26].ljust(10, b"\0"))
    raw = height * (1 + (width * depth * SAMPLES.get(color, 4) + 7) // 8)
    return raw + raw // 8 + 64


# GIF: Graphics Interchange Format, version 89a.

EXTENSION, IMAGE, END = 0x21, 0x2C, 0x3B
NO_PALETTE = "damaged: a GIF file without a palette"
NO_FRAME = "damaged: the GIF file ends before its first frame does"


def _gif(data: bytes) -> Essence:
    """Keeps the first frame, as a picture of its own size, without transparency.

    What lies around a smaller frame and behind transparent pixels is the viewer's, not the file's.
    """
    try:
        return _first_frame(data)
    except IndexError:
        raise UnreadablePicture(NO_FRAME) from None


def _first_frame(data: bytes) -> Essence:
    blocks = _Blocks(data)
    palette = 13 + color_table(data[10])
    at = blocks.behind_extensions(palette)
    if data[at] != IMAGE:
        raise IndexError("no image")
    if data[at + 9] < 128 and data[10] < 128:
        raise UnreadablePicture(NO_PALETTE)
    end = blocks.behind_data(at + 10 + color_table(data[at + 9]) + 1)
    size = data[at + 5 : at + 9]
    frame = bytes([IMAGE]) + bytes(4) + size + data[at + 9 : end]
    alone = b"GIF89a" + size + data[10:palette] + frame + bytes([END])
    try:
        animated = data[blocks.behind_extensions(end)] == IMAGE
    except (IndexError, UnreadablePicture):
        animated = False
    return Essence(alone, animated)


def color_table(flags: int) -> int:
    """Bytes of the color table that a GIF file's flags announce."""
    return 3 << (flags % 8 + 1) if flags >= 128 else 0


class _Blocks:
    """Walks over a GIF file's data blocks and counts them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.count = 0

    def behind_extensions(self, at: int) -> int:
        while self.data[at] == EXTENSION:
            self._count()
            at = self.behind_data(at + 2)
        return at

    def behind_data(self, at: int) -> int:
        """Pieces of up to 255 bytes, each after its length; 0 ends them."""
        while length := self.data[at]:
            self._count()
            for _ in range(limits.EQUAL_BLOCKS):
                at += 1 + length
                if self.data[at] != length:
                    break
        return at + 1

    def _count(self) -> None:
        self.count += 1
        if self.count > limits.MAX_BLOCKS:
            raise UnreadablePicture(limits.MANY_BLOCKS)


# Exif: a TIFF header and its first directory.

ORIENTATION = 0x0112


def exif_orientation(exif: bytes) -> int | None:
    """How a camera was held, 1 to 8 as TIFF numbers it; None where the data do not say."""
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
