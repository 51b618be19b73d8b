"""A picture file's structure, followed as the decoders follow it, before one of them is let at it. No TensorFlow here.

What the limits of `picture_limits` refuse is refused here. Of other JPEG, PNG and GIF files only what the pixels need
is handed on: decoders spend time and memory on comments, profiles, texts and further pictures as well, stumble over
damage in them, and do not agree on what a damaged header or a missing color means. The same rules, as a graph, are in
`alexnet_tf.serving.picture_structure`.
"""

import re
import struct
import zlib
from typing import NamedTuple

from tfrecords import picture_limits as limits
from tfrecords.exif import EXIF
from tfrecords.picture_kinds import APPLE_PNG, GIF_SIGN, JPEG_SIGN, PNG_SIGNATURE, damaged


class UnreadablePicture(Exception):
    """The picture cannot be used; the message says why, in a few words."""


class Essence(NamedTuple):
    """What is left of a file for the decoder, and what has been seen on the way."""

    file: bytes
    animated: bool = False
    exif: bytes | None = None
    """Where it was cut out: a TIFF header and what follows."""
    cut: bool = False
    """Whether it is a file that ends before its pixels are known to."""
    transparent: bool = False
    """Whether it says what of the picture is transparent, beside the colors."""
    pixels: int = 0
    """Height times width."""


def essence(data: bytes, *, inflate: bool = False) -> Essence:
    """Follows a file's structure.

    Args:
      data: a picture file of any kind; of those that are no JPEG, PNG or GIF nothing is judged here.
      inflate: whether a PNG file's data are inflated, to see that they are whole and no more than the picture needs.
        Pillow does not mind if their end is missing; TensorFlow's decoder goes on beyond the pixels, 2 s for each
        compressed MB at worst.

    Raises:
      UnreadablePicture: its size is beyond the limits, it demands too much work, its structure is damaged, or it is
        of a kind that no decoder here reads.
    """
    if data.startswith(JPEG_SIGN):
        return _jpeg(data)
    if data.startswith(PNG_SIGNATURE):
        return _png(data, inflate)
    if data.startswith(GIF_SIGN):
        return _gif(data)
    return Essence(data)


def _judge_size(width: int, height: int) -> int:
    """The number of pixels, where it is within the limits."""
    if fault := limits.size_fault(width, height):
        raise UnreadablePicture(fault)
    return width * height


# JPEG: ISO/IEC 10918-1, annex B.

MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""Every marker but those that stand alone within the data (RST0 to RST7, TEM) and codes that mean nothing. A 0xFF
before another is filling, and 0xFF 0x00 is a byte of data."""
DHT, SOI, EOI, SOS, APP0, APP14, APP15, COM = 0xC4, 0xD8, 0xD9, 0xDA, 0xE0, 0xEE, 0xEF, 0xFE
FRAMES = {code for code in range(0xC0, 0xD0) if code not in (DHT, 0xC8, 0xCC)}  # the others are JPG and DAC
PROGRESSIVE = 0xC2
READ_FRAMES = {0xC0, 0xC1, PROGRESSIVE}  # baseline, extended and progressive, with Huffman codes
NEEDED_MARKS = {APP0: 16, APP14: 14}
"""Segments that say what the components are, and their least length; decoders do not agree on shorter ones."""
RARE_JPEG = "a JPEG file of a rare kind: "
RARE_CODES = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical"),
    **dict.fromkeys((0xC3, 0xCB), "lossless"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic coding"),
}
"""By the marker of the frame. The precision, 8 bits in all usual files, counts behind these."""


COMPONENTS = (1, 3, 4)
UNEVEN = "a component's sampling is no part of another's"
MISSING_SCANS = "damaged: scans of the progressive JPEG file are missing"
"""Decoders guess at what these would bring, and not alike."""
SMOOTHED = 9
"""Coefficients of a block, behind its mean, at which decoders guess."""


def rare_jpeg(code: int, precision: int, samplings: bytes) -> str | None:
    """What is said of a frame that no decoder here reads; None for one that they read.

    Args:
      code: the frame's marker.
      precision: bits of a sample.
      samplings: of each component, four bits across and four down.
    """
    kind = RARE_CODES.get(code)
    if kind is None and precision != 8:
        kind = f"{precision} bits a sample"
    if kind is None and len(samplings) not in COMPONENTS:
        kind = f"{len(samplings)} components"
    across, down = [factor >> 4 for factor in samplings], [factor & 15 for factor in samplings]
    if kind is None and all(across + down) and any(max(way) % factor for way in (across, down) for factor in way):
        kind = UNEVEN
    return kind and RARE_JPEG + kind


def _jpeg(data: bytes) -> Essence:
    """Between segments a decoder looks for the next marker, whatever lies before it, and so does this."""
    at, segments, scans, scanned, frame = 2, 0, 0, 0, None
    needed: list[bytes] = []
    copied = 0  # up to here the file is in `needed` or left out
    exif, code = None, 0
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
        if code in FRAMES and frame is None:
            frame = _judged_frame(code, data[place + 4 : at])
        elif code == SOS:
            scans += 1
            if frame is not None:
                scanned += frame.pixels * min(max(data[place + 4] if place + 4 < len(data) else 1, 1), 4)
                frame.count(data[place + 4 : at])
            if scans > limits.MAX_SCANS:
                raise UnreadablePicture(limits.MANY_SCANS)
            if scanned > limits.MAX_SCANNED:
                raise UnreadablePicture(limits.MUCH_SCANNED)
        elif not scans and (code == COM or (APP0 <= code <= APP15 and length < NEEDED_MARKS.get(code, 1 << 16))):
            if code == APP0 + 1 and exif is None and data.startswith(EXIF, place + 4):
                exif = data[place + 4 + len(EXIF) : at]
            needed.append(data[copied:place])
            copied = at
    if frame is not None and frame.lacks_scans:
        raise UnreadablePicture(MISSING_SCANS)
    file = b"".join([*needed, data[copied:]]) if needed else data
    return Essence(file, exif=exif, cut=code != EOI, pixels=frame.pixels if frame else 0)


class _Frame:
    """The pixels of a JPEG file, and what its scans have brought of them."""

    def __init__(self, progressive: bool, pixels: int, components: bytes) -> None:
        self.pixels = pixels
        self._progressive = progressive
        self._bits_left = {component: [1] * SMOOTHED for component in components}
        """Of the coefficients behind the mean, by component; 1 where nothing is known of one."""

    def count(self, scan: bytes) -> None:
        """Takes in the header of a scan: its components, coefficients, and how many of their bits are left."""
        count = scan[0] if scan else 0
        if len(scan) < 4 + 2 * count:
            return
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
        for component in scan[1 : 1 + 2 * count : 2]:
            known = self._bits_left.get(component, [])
            for number in range(max(first, 1), min(last, len(known)) + 1):
                known[number - 1] = bits & 15

    @property
    def lacks_scans(self) -> bool:
        """Whether something is still left."""
        return self._progressive and any(map(any, self._bits_left.values()))


def _judged_frame(code: int, head: bytes) -> _Frame:
    """The frame, from its precision, height, width and components."""
    if len(head) < 6:
        raise UnreadablePicture(damaged("the file ends in its header"))
    precision, height, width, count = struct.unpack_from(">BHHB", head)
    components = head[6 : 6 + 3 * count]
    if rare := rare_jpeg(code, precision, components[1::3]):
        raise UnreadablePicture(rare)
    if not (height and width):
        raise UnreadablePicture(damaged(f"{width}x{height} pixels claimed"))
    return _Frame(code == PROGRESSIVE, _judge_size(width, height), components[::3])


# PNG: W3C's specification, section 5.

PNG_HEADER = b"\0\0\0\rIHDR"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
CHUNK_FRAME = 12  # length, type and checksum of a chunk
HEADER_END = len(PNG_SIGNATURE) + CHUNK_FRAME + 13
PALETTE = 3
SAMPLES = {0: 1, 2: 3, PALETTE: 1, 4: 2, 6: 4}
"""Of a pixel, by color type."""
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits of a sample, by color type."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and the steps, of the seven passes of interlacing."""
MAX_PALETTE = 256 * 3


class _PngHeader(NamedTuple):
    width: int
    height: int
    depth: int
    color: int
    compression: int
    filters: int
    interlaced: int

    @property
    def known(self) -> bool:
        """Whether it is one that the specification allows."""
        usual = (self.compression, self.filters) == (0, 0) and self.interlaced in (0, 1)
        return usual and self.depth in DEPTHS.get(self.color, ())

    @property
    def raw_size(self) -> int:
        """Bytes of all lines, each with the number of its filter before it."""
        bits, size = self.depth * SAMPLES[self.color], 0
        for x, y, across, down in ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            wide, tall = -(-(self.width - x) // across), -(-(self.height - y) // down)
            size += tall * (1 + (wide * bits + 7) // 8) if wide > 0 and tall > 0 else 0
        return size


def _png(data: bytes, inflate: bool) -> Essence:
    """Keeps the header, the palette and the pixels."""
    header = _png_header(data)
    pixels = _judge_size(header.width, header.height)
    if not header.known:
        raise UnreadablePicture(damaged("the header of the PNG file makes no sense"))
    _check(data, 8, HEADER_END)
    at, chunks, pixel_data = HEADER_END, 1, 0
    needed, compressed, palettes = [data[:HEADER_END]], [], 0
    animated, transparent, exif = False, False, None
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
        if kind == b"IDAT" or (kind == b"PLTE" and header.color == PALETTE):
            if end <= len(data):
                _check(data, at, end)
            needed.append(data[at:end])
        if kind == b"PLTE" and header.color == PALETTE:
            palettes += 1
            if palettes > 1 or not 3 <= length <= MAX_PALETTE or length % 3:
                raise UnreadablePicture(damaged("the palette of the PNG file makes no sense"))
        animated |= kind == b"acTL"
        transparent |= kind == b"tRNS"
        exif = data[at + 8 : end - 4] if kind == b"eXIf" else exif
        at = end
    cut = at + CHUNK_FRAME > len(data)
    _judge_png_data(compressed, pixel_data, header, png_room(data), inflate and not cut)
    if header.color == PALETTE and not palettes and not cut:
        raise UnreadablePicture(damaged("the palette of the PNG file is missing"))
    file = data if cut else b"".join([*needed, PNG_END])
    return Essence(file, animated, exif, cut, transparent, pixels)


def _png_header(data: bytes) -> _PngHeader:
    if data.startswith(b"CgBI", 12):
        raise UnreadablePicture(APPLE_PNG)
    if not data.startswith(PNG_HEADER, len(PNG_SIGNATURE)) or len(data) < HEADER_END:
        raise UnreadablePicture(damaged("the PNG file has no whole header"))
    return _PngHeader(*struct.unpack_from(">II5B", data, 16))


def _check(data: bytes, start: int, end: int) -> None:
    """Holds a chunk's checksum against its content."""
    if zlib.crc32(memoryview(data)[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        kind = data[start + 4 : start + 8].decode("latin-1")
        raise UnreadablePicture(damaged(f"the checksum of the PNG file's {kind} chunk is wrong"))


def _judge_png_data(compressed: list[memoryview], size: int, header: _PngHeader, room: int, whole: bool) -> None:
    spare = limits.SPARE_PNG_DATA
    if size > room + spare:
        raise UnreadablePicture(limits.MUCH_PNG_DATA)
    if not whole and size <= 2 * spare:
        return
    inflated, ended = _inflate(compressed, room, size if whole else spare)
    if inflated > room and size > 2 * spare:
        raise UnreadablePicture(limits.MUCH_PNG_DATA)
    if whole and not ended and inflated <= header.raw_size:
        raise UnreadablePicture(damaged("the compressed data of the PNG file are damaged or end too early"))


PIECE = 1 << 20


def _inflate(compressed: list[memoryview], room: int, count: int) -> tuple[int, bool]:
    """Bytes behind the first `count` of a zlib stream, at most one more than `room`; and whether its end was there."""
    stream, inflated = zlib.decompressobj(), 0
    try:
        for piece in compressed:
            left: bytes | memoryview = piece[: max(count, 0)]
            count -= len(piece)
            while left and inflated <= room and not stream.eof:
                inflated += len(stream.decompress(left, min(room - inflated + 1, PIECE)))
                left = stream.unconsumed_tail
    except zlib.error:
        pass
    return inflated, stream.eof


def png_room(data: bytes) -> int:
    """Bytes that a PNG file of this header has when uncompressed, and an eighth more: interlacing adds some."""
    width, height, depth, color = struct.unpack(">IIBB", data[16:26].ljust(10, b"\0"))
    raw = height * (1 + (width * depth * SAMPLES.get(color, 4) + 7) // 8)
    return raw + raw // 8 + 64


# GIF: Graphics Interchange Format, version 89a.

EXTENSION, IMAGE, END, CONTROL = 0x21, 0x2C, 0x3B, 0xF9
INTERLACED, FULL_PALETTE = 0x40, 0x87
NO_PALETTE = "damaged: a GIF file without a palette"
CODE_SIZES = range(2, 9)


def _gif(data: bytes) -> Essence:
    """Keeps the first frame, as a picture of its own size, without transparency.

    What lies around a smaller frame and behind transparent pixels is the viewer's, not the file's. Colors that its
    palette lacks are black.
    """
    try:
        return _first_frame(data)
    except IndexError:
        raise UnreadablePicture(damaged("the GIF file ends before its first frame does")) from None


def _first_frame(data: bytes) -> Essence:
    blocks = _Blocks(data)
    screen_end = 13 + color_table(data[10])
    at = blocks.behind_extensions(screen_end)
    if data[at] != IMAGE:
        raise IndexError("no image")
    flags = data[at + 9]
    data_start = at + 10 + color_table(flags)
    end = blocks.behind_data(data_start + 1)
    size = data[at + 5 : at + 9]
    pixels = _judge_size(*struct.unpack("<HH", size))
    if flags < 128 and data[10] < 128:
        raise UnreadablePicture(NO_PALETTE)
    if data[data_start] not in CODE_SIZES:
        raise UnreadablePicture(damaged(f"a GIF file with codes of {data[data_start]} bits"))
    palette = data[at + 10 : data_start] if flags >= 128 else data[13:screen_end]
    screen = b"GIF89a" + size + bytes([0x80 | FULL_PALETTE, 0, 0]) + palette.ljust(MAX_PALETTE, b"\0")
    frame = bytes([IMAGE, 0, 0, 0, 0]) + size + bytes([flags & INTERLACED]) + data[data_start:end]
    alone, transparent = screen + frame + bytes([END]), blocks.transparent
    try:
        animated = data[blocks.behind_extensions(end)] == IMAGE
    except (IndexError, UnreadablePicture):
        animated = False
    return Essence(alone, animated, transparent=transparent, pixels=pixels)


def color_table(flags: int) -> int:
    """Bytes of the color table that a GIF file's flags announce."""
    return 3 << (flags % 8 + 1) if flags >= 128 else 0


class _Blocks:
    """Walks over a GIF file's data blocks and counts them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.count = 0
        self.transparent = False

    def behind_extensions(self, at: int) -> int:
        while self.data[at] == EXTENSION:
            self._count()
            if self.data[at + 1] == CONTROL and self.data[at + 2] == 4:
                self.transparent |= bool(self.data[at + 3] & 1)
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
