"""A PNG file's structure, as `picture_structure`: W3C's specification, section 5. No TensorFlow here."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from alexnet_tf.program.inflation import INFLATED, inflated
from tfrecords import picture_limits as limits
from tfrecords.essence import MAX_PALETTE, Essence, UnreadablePicture, judge_size
from tfrecords.picture_kinds import APPLE_PNG, PNG_SIGNATURE, damaged

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
    def passes(self) -> list[tuple[int, int]]:
        """Of each pass over the picture its lines and the bytes of one, with the number of its filter before it."""
        bits, found = self.depth * SAMPLES[self.color], []
        for x, y, across, down in ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            wide, tall = -(-(self.width - x) // across), -(-(self.height - y) // down)
            if wide > 0 and tall > 0:
                found.append((tall, 1 + (wide * bits + 7) // 8))
        return found

    @property
    def raw_size(self) -> int:
        """Bytes of all lines."""
        return sum(lines * size for lines, size in self.passes)


def png_essence(data: bytes, thorough: bool) -> Essence:
    """Keeps the header, the palette and the pixels."""
    header = _png_header(data)
    pixels = judge_size(header.width, header.height)
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
    _judge_png_data(compressed, pixel_data, header, png_room(data), thorough and not cut)
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
    """Compares a chunk's checksum with its content."""
    if zlib.crc32(memoryview(data)[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        kind = data[start + 4 : start + 8].decode("latin-1")
        raise UnreadablePicture(damaged(f"the checksum of the PNG file's {kind} chunk is wrong"))


def _judge_png_data(compressed: list[memoryview], size: int, header: _PngHeader, room: int, whole: bool) -> None:
    spare = limits.SPARE_PNG_DATA
    if size > room + spare:
        raise UnreadablePicture(limits.MUCH_PNG_DATA)
    if not whole and size <= 2 * spare:
        return
    few = size <= 2 * spare
    raw_size, ended = _inflate(compressed, header, None if few else room, size if whole else spare)
    if raw_size > room and not few:
        raise UnreadablePicture(limits.MUCH_PNG_DATA)
    if whole and (raw_size < header.raw_size or not ended):
        raise UnreadablePicture(damaged("the compressed data of the PNG file are damaged or end too early"))


FULL_WINDOW = b"\x78"
"""How data begin that may refer to what lies 32 KiB back; smaller windows have smaller numbers."""


def _inflate(compressed: list[memoryview], header: _PngHeader, room: int | None, count: int) -> tuple[int, bool]:
    """Bytes behind the first `count` of a zlib stream, up to a few more than `room`; and whether its end was there.

    Damage behind the picture's bytes counts as its end: decoders stop before it. So the steps end there.
    """
    needed, size = header.raw_size, 0
    narrow = next((bytes(piece[:1]) for piece in compressed if len(piece)), FULL_WINDOW) < FULL_WINDOW
    # Of the bytes that lie back further than the data's own window, libpng knows those of the same line alone.
    stream = zlib.decompressobj(0 if narrow else zlib.MAX_WBITS)
    ends = _line_ends(header) if narrow else iter([needed])
    end = next(ends)

    def most() -> int:
        return min(end - size, INFLATED) if size < needed else 1 if size == needed else INFLATED

    try:
        for content in inflated(_first(compressed, count), stream, most):
            size += len(content)
            if size == end < needed:
                end = next(ends)
            if room is not None and size > room:
                break
    except zlib.error:
        return size, size >= needed
    return size, stream.eof


def _first(pieces: list[memoryview], count: int) -> Iterator[memoryview]:
    """The first `count` bytes."""
    for piece in pieces:
        yield piece[:count]
        count = max(count - len(piece), 0)


def _line_ends(header: _PngHeader) -> Iterator[int]:
    """Up to which byte each line goes."""
    end = 0
    for lines, size in header.passes:
        for _ in range(lines):
            end += size
            yield end


def png_room(data: bytes) -> int:
    """Bytes that a PNG file of this header has when uncompressed, and an eighth more: interlacing adds some."""
    width, height, depth, color = struct.unpack(">IIBB", data[16:26].ljust(10, b"\0"))
    raw = height * (1 + (width * depth * SAMPLES.get(color, 4) + 7) // 8)
    return raw + raw // 8 + 64
