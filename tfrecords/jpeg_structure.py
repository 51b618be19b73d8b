"""A JPEG file's structure, as `picture_structure`: ISO/IEC 10918-1, annex B. No TensorFlow here."""

import re
import struct

from tfrecords import picture_limits as limits
from tfrecords.essence import Essence, UnreadablePicture, judge_size
from tfrecords.exif import EXIF
from tfrecords.picture_kinds import damaged

MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""Every marker but those that stand alone within the data (RST0 to RST7, TEM) and codes that mean nothing. A 0xFF
before another is filling, and 0xFF 0x00 is a byte of data."""
UNKNOWN_MARKER = re.compile(rb"\xff[\x02-\xbf]")
"""Codes that mean nothing; a decoder gives up at them."""
DHT, SOI, EOI, SOS, APP0, APP1, APP14, APP15, COM = 0xC4, 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
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
"""What is left out of these scans decoders guess, each in its own way."""
SMOOTHED = 9
"""Coefficients of a block, behind its mean, at which decoders guess."""


def rare_jpeg(code: int, precision: int, count: int, samplings: bytes) -> str | None:
    """What is said of a frame that no decoder here reads; None for one that they read.

    Args:
      code: the frame's marker.
      precision: bits of a sample.
      count: of components.
      samplings: of each of them, four bits across and four down.
    """
    kind = RARE_CODES.get(code)
    if kind is None and precision != 8:
        kind = f"{precision} bits a sample"
    if kind is None and count not in COMPONENTS:
        kind = f"{count} components"
    across, down = [factor >> 4 for factor in samplings], [factor & 15 for factor in samplings]
    if kind is None and all(across + down) and any(max(way) % factor for way in (across, down) for factor in way):
        kind = UNEVEN
    return kind and RARE_JPEG + kind


def jpeg_essence(data: bytes) -> Essence:
    """Between segments a decoder looks for the next marker, whatever lies before it, and so does this."""
    at, segments, scans, scanned, frame = 2, 0, 0, 0, None
    needed: list[bytes] = []
    copied = 0  # up to here the file is in `needed` or left out
    exif, code = None, 0
    while (found := MARKER.search(data, at)) is not None:
        place, code = found.start(), data[found.start() + 1]
        if not scans and place > at:  # bytes of no meaning, or filling
            if UNKNOWN_MARKER.search(data, at, place + 1):
                raise UnreadablePicture(damaged("a marker of no meaning"))
            needed.append(data[copied:at])
            copied = place
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
            if code == APP1 and exif is None and data.startswith(EXIF, place + 4):
                exif = data[place + 4 + len(EXIF) : at]
            needed.append(data[copied:place])
            copied = at
    if frame is not None and frame.lacks_scans:
        raise UnreadablePicture(MISSING_SCANS)
    file = b"".join([*needed, data[copied:]]) if needed else data
    return Essence(file, exif=exif, cut=code != EOI, pixels=frame.pixels if frame else 0)


class _Frame:
    """The pixels of a JPEG file, and which of their bits its scans have given."""

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
        """Whether scans are still missing."""
        return self._progressive and any(map(any, self._bits_left.values()))


def _judged_frame(code: int, head: bytes) -> _Frame:
    """The frame, from its precision, height, width and components."""
    if len(head) < 6:
        raise UnreadablePicture(damaged("the file ends in its header"))
    precision, height, width, count = struct.unpack_from(">BHHB", head)
    components = head[6 : 6 + 3 * count]
    if rare := rare_jpeg(code, precision, count, components[1::3]):
        raise UnreadablePicture(rare)
    if not (height and width):
        raise UnreadablePicture(damaged(f"{width}x{height} pixels claimed"))
    return _Frame(code == PROGRESSIVE, judge_size(width, height), components[::3])
