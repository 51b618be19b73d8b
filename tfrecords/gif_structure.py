"""A GIF file's structure, as `picture_structure`: Graphics Interchange Format, version 89a. No TensorFlow here."""

import struct

from tfrecords import picture_limits as limits
from tfrecords.essence import MAX_PALETTE, Essence, UnreadablePicture, judge_size
from tfrecords.lzw_codes import MANY_TABLES, sound_codes
from tfrecords.picture_kinds import damaged

EXTENSION, IMAGE, END, CONTROL = 0x21, 0x2C, 0x3B, 0xF9
INTERLACED, FULL_PALETTE = 0x40, 0x87
NO_PALETTE = "damaged: a GIF file without a palette"
CODE_SIZES = range(2, 9)


def gif_essence(data: bytes, thorough: bool) -> Essence:
    """Keeps the first frame, as a picture of its own size, without transparency.

    What lies around a smaller frame and behind transparent pixels is the viewer's, not the file's. Colors that its
    palette lacks are black.
    """
    try:
        return _first_frame(data, thorough)
    except IndexError:
        raise UnreadablePicture(damaged("the GIF file ends before its first frame does")) from None


def _first_frame(data: bytes, thorough: bool) -> Essence:
    blocks = _Blocks(data)
    screen_end = 13 + color_table(data[10])
    at = blocks.behind_extensions(screen_end)
    if data[at] != IMAGE:
        raise IndexError("no image")
    flags = data[at + 9]
    data_start = at + 10 + color_table(flags)
    end = blocks.behind_data(data_start + 1)
    size = data[at + 5 : at + 9]
    pixels = judge_size(*struct.unpack("<HH", size))
    if flags < 128 and data[10] < 128:
        raise UnreadablePicture(NO_PALETTE)
    if data[data_start] not in CODE_SIZES:
        raise UnreadablePicture(damaged(f"a GIF file with codes of {data[data_start]} bits"))
    if thorough:
        sound = sound_codes(_Blocks(data).content(data_start + 1), data[data_start])
        if not sound:
            raise UnreadablePicture(MANY_TABLES if sound is None else damaged("a GIF file's code stands for nothing"))
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
    """Goes through a GIF file's data blocks and counts them."""

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

    def content(self, at: int) -> bytes:
        """The pieces alone."""
        pieces = []
        while length := self.data[at]:
            pieces.append(self.data[at + 1 : at + 1 + length])
            at += 1 + length
        return b"".join(pieces)

    def _count(self) -> None:
        self.count += 1
        if self.count > limits.MAX_BLOCKS:
            raise UnreadablePicture(limits.MANY_BLOCKS)
