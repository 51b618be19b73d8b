"""PNG files of every color type, depth and interlacing, with and without transparency, and damaged ones."""

import struct
import zlib

import numpy as np

from tests.faults.hostile_pictures import chunk
from tests.picture_zoo.files import SIZES, Files, cut, flipped, numbers
from tfrecords.picture_kinds import PNG_SIGNATURE
from tfrecords.png_structure import ADAM7, DEPTHS, SAMPLES

COLORS = {0: "gray", 2: "RGB", 3: "palette", 4: "gray and alpha", 6: "RGBA"}


def png_files() -> Files:
    """By kind and variant."""
    found: Files = {}
    for color, depths in DEPTHS.items():
        for depth in depths:
            kind = f"{COLORS[color]}, {depth} bit{'s' * (depth > 1)}"
            for interlaced in (False, True):
                also = ", interlaced" * interlaced
                found[kind, "plain" + also] = png(color, depth, interlaced)
                if color in (0, 2, 3):
                    found[kind, "transparency" + also] = png(
                        color, depth, interlaced, before=transparency(color, depth)
                    )
                lines = scan_lines(samples(color, depth), depth, interlaced, filtered=True)
                found[kind, "every filter" + also] = png(color, depth, interlaced, data=zlib.compress(lines))
    for color, name in COLORS.items():
        if 16 in DEPTHS[color]:
            narrow = scan_lines(96 + samples(color, 16) % 14, 16)
            found["16 bits, of a narrow range", name] = png(color, 16, data=zlib.compress(narrow))
    for name, (width, height) in SIZES.items():
        found["size", name] = png(data=b"", size=(width, height))
    for width, height in ((1, 1), (2, 1), (1, 5), (3, 2), (5, 4), (8, 9)):
        few = samples(2, 8)[:height, :width]
        found["small, interlaced", f"{width}x{height}"] = png(
            interlaced=True, size=(width, height), data=zlib.compress(scan_lines(few, 8, True))
        )
    found |= {("RGB, 8 bits", what): file for what, file in _with_side_chunks().items()}
    found |= {("compression", what): file for what, file in _compressed().items()}
    found |= {("damaged", what): file for what, file in _damaged().items()}
    return found


def png(
    color: int = 2,
    depth: int = 8,
    interlaced: bool = False,
    *,
    before: bytes = b"",
    after: bytes = b"",
    palette: int | None = None,
    data: bytes | None = None,
    size: tuple[int, int] | None = None,
    header: tuple[int, ...] = (),
    end: bytes = chunk(b"IEND", b""),
) -> bytes:
    """A file.

    Args:
      color: the format's number of the color type.
      depth: bits of a sample.
      interlaced: whether it is.
      before: chunks before the pixels, behind the palette.
      after: chunks behind the pixels.
      palette: colors in it; None where there are as many as `depth` allows.
      data: compressed, in place of the pixels.
      size: width and height to claim, in place of the right ones.
      header: the last bytes of the header chunk, in place of the right ones.
      end: the last chunk.
    """
    pixels = samples(color, depth)
    width, height = size or (pixels.shape[1], pixels.shape[0])
    last = header or (depth, color, 0, 0, int(interlaced))
    parts = [PNG_SIGNATURE, chunk(b"IHDR", struct.pack(">II5B", width, height, *last))]
    if color == 3:
        count = 1 << depth if palette is None else palette
        colors = np.stack([np.arange(count) * 37 % 256, np.linspace(0, 255, count), 255 - np.arange(count) * 11 % 256])
        parts.append(chunk(b"PLTE", colors.T.astype(np.uint8).tobytes()) if count else b"")
    packed = zlib.compress(scan_lines(pixels, depth, interlaced)) if data is None else data
    return b"".join([*parts, before, chunk(b"IDAT", packed), after, end])


def samples(color: int, depth: int) -> np.ndarray:
    """Numbers from 0 to 2**depth - 1, with slopes, edges and noise: uint16 (height, width, samples)."""
    found = numbers(SAMPLES[color])
    return (found * (2**depth - 1) + 0.5).astype(np.uint16)


def scan_lines(pixels: np.ndarray, depth: int, interlaced: bool = False, filtered: bool = False) -> bytes:
    """What is compressed in a file: each line of samples behind the number of its filter.

    That is 0, none, or where they are `filtered` each of the five in turn.
    """
    passes = [pixels[y::down, x::across] for x, y, across, down in ADAM7] if interlaced else [pixels]
    step = max(depth * pixels.shape[2] // 8, 1)
    lines = []
    for part in passes:
        above = b""
        for number, line in enumerate(part if part.size else []):
            if depth == 16:
                packed = line.astype(">u2").tobytes()
            else:
                bits = np.unpackbits(line.reshape(-1, 1).astype(np.uint8), axis=1)[:, 8 - depth :]
                packed = np.packbits(bits).tobytes()
            kind = number % 5 if filtered else 0
            lines.append(bytes([kind]) + _filtered(packed, above or bytes(len(packed)), step, kind))
            above = packed
    return b"".join(lines)


def _filtered(line: bytes, above: bytes, step: int, kind: int) -> bytes:
    """A line less what its filter foretells, from the bytes to the left and above."""
    left, corner = bytes(step) + line, bytes(step) + above

    def foretold(at: int) -> int:
        a, b, c = left[at], above[at], corner[at]
        nearest = min((a, b, c), key=lambda one: abs(a + b - c - one))
        return (0, a, b, (a + b) // 2, nearest)[kind]

    return bytes((byte - foretold(at)) % 256 for at, byte in enumerate(line))


def transparency(color: int, depth: int) -> bytes:
    """A chunk that makes one color, or some of a palette, transparent."""
    if color == 3:
        return chunk(b"tRNS", bytes([0, 128][: 1 << depth]))
    return chunk(b"tRNS", struct.pack(f">{SAMPLES[color]}H", *samples(color, depth)[3, 5]))


def _with_side_chunks() -> Files:
    text = chunk(b"tEXt", b"Comment\0text")
    bad_text = text[:-1] + bytes([text[-1] ^ 1])
    return {
        "gamma and sRGB": png(before=chunk(b"gAMA", struct.pack(">I", 100_000)) + chunk(b"sRGB", b"\0")),
        "background and significant bits": png(before=chunk(b"sBIT", b"\5\6\5") + chunk(b"bKGD", bytes(6))),
        "texts": png(before=text, after=text),
        "texts of a wrong checksum": png(before=bad_text, after=bad_text),
        "a color profile that is none": png(before=chunk(b"iCCP", b"x\0\0broken")),
        "a time of wrong length": png(before=chunk(b"tIME", b"12")),
        "animated": png(before=chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", bytes(26))),
        "EXIF orientation": png(before=chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0")),
        "bytes behind the end": png() + b"more",
        "no end chunk": png(end=b""),
        "transparency of a wrong checksum": png(before=flipped(transparency(2, 8), -1)),
        "transparency of a wrong length": png(before=chunk(b"tRNS", b"\0")),
        "a chunk of a needed kind that nobody knows": png(before=chunk(b"ABCD", b"")),
        "a palette beside RGB": png(before=chunk(b"PLTE", bytes(range(12)))),
    }


def _compressed() -> Files:
    """The same pixels by other ways of compression, sound or not."""
    lines = scan_lines(samples(2, 8), 8)
    far_back = zlib.compress(lines, 9)  # as some old programs have it

    def packed(level: int = 6, wbits: int = 15, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
        packer = zlib.compressobj(level, wbits=wbits, strategy=strategy)
        return packer.compress(lines) + packer.flush()

    whole = packed()
    return {
        "none": png(data=packed(0)),
        "fixed codes": png(data=packed(strategy=zlib.Z_FIXED)),
        "Huffman codes alone": png(data=packed(strategy=zlib.Z_HUFFMAN_ONLY)),
        "a window of 512 bytes": png(data=packed(wbits=9)),
        **{
            f"a window said to be {256 << bits} bytes": png(
                data=struct.pack(">H", (bits << 12 | 0x800) // 31 * 31 + 31) + far_back[2:]
            )
            for bits in range(6)
        },
        "a window beyond 32 KiB": png(data=b"\x88\x1c" + whole[2:]),
        "a dictionary that is elsewhere": png(data=b"\x78\xbb" + bytes(4) + whole[2:]),
        "a wrong checksum of its header": png(data=b"\x78\x9d" + whole[2:]),
        "without its header": png(data=whole[2:]),
        "a second stream behind it": png(data=whole + whole),
        "bytes behind it": png(data=whole + b"more"),
        "a piece for each byte": png(data=b"", end=b"").replace(
            chunk(b"IDAT", b""), b"".join(chunk(b"IDAT", whole[at : at + 1]) for at in range(900))
            + chunk(b"IDAT", whole[900:]) + chunk(b"IEND", b""),
        ),
        "an empty piece in the middle": png(data=whole[:50], end=chunk(b"IDAT", b"") + chunk(b"IDAT", whole[50:])
            + chunk(b"IEND", b"")),
    }  # fmt: skip


def _damaged() -> Files:
    whole = png()
    lines = scan_lines(samples(2, 8), 8)
    packed = zlib.compress(lines)
    pixel_data = whole.index(b"IDAT")
    return {
        "cut in the middle of the pixels": cut(whole, 0.5),
        "cut before the end chunk's last byte": whole[:-1],
        "header alone": whole[:33],
        "header cut": whole[:20],
        "signature alone": whole[:8],
        "a wrong checksum of the header": flipped(whole, 30),
        "a wrong checksum of the pixels": flipped(whole, -13),
        "pixels that are no compressed data": png(data=b"none" * 100),
        "a wrong checksum within the compressed data": png(data=flipped(packed, -1)),
        "compressed data without their checksum": png(data=packed[:-4]),
        "too few lines": png(data=zlib.compress(lines[: len(lines) // 2])),
        "a line too many": png(data=zlib.compress(lines + lines[:121])),
        "an unknown filter": png(data=zlib.compress(b"\7" + lines[1:])),
        "no pixels": whole[: pixel_data - 4] + chunk(b"IEND", b""),
        "pixels in two pieces, another chunk between": whole[: pixel_data - 4]
        + chunk(b"IDAT", packed[:99])
        + chunk(b"tEXt", b"k\0v")
        + chunk(b"IDAT", packed[99:])
        + chunk(b"IEND", b""),
        "an empty piece of pixels first": png(before=chunk(b"IDAT", b"")),
        "a palette picture without palette": png(3, 8, palette=0),
        "a palette picture whose pixels point beyond the palette": png(3, 8, palette=16),
        "two palettes": png(3, 2, before=chunk(b"PLTE", bytes(12))),
        "an empty palette": png(3, 8, palette=0, before=chunk(b"PLTE", b"")),
        "a palette of 4 bytes": png(3, 8, palette=0, before=chunk(b"PLTE", bytes(4))),
        "a palette of 300 colors": png(3, 8, palette=300),
        "more transparency than palette": png(3, 2, before=chunk(b"tRNS", bytes(200))),
        "a palette of a wrong checksum": flipped(png(3, 8), png(3, 8).index(b"IDAT") - 5),
        "unknown depth": png(header=(3, 0, 0, 0, 0)),
        "unknown color type": png(header=(8, 5, 0, 0, 0)),
        "unknown compression": png(header=(8, 2, 1, 0, 0)),
        "unknown filters": png(header=(8, 2, 0, 1, 0)),
        "unknown interlacing": png(header=(8, 2, 0, 0, 2)),
        "no header chunk": PNG_SIGNATURE + chunk(b"IDAT", packed) + chunk(b"IEND", b""),
        "a text before the header chunk": PNG_SIGNATURE + chunk(b"tEXt", b"k\0v") + whole[8:],
        "two header chunks": whole[:33] + whole[8:],
        "a header of 12 bytes": PNG_SIGNATURE + chunk(b"IHDR", whole[16:28]) + whole[33:],
        "a chunk of 4 GB": png(before=b"\xff\xff\xff\xfftEXt"),
        "Apple's own kind": whole[:8] + chunk(b"CgBI", b"\x50\0\x20\2") + whole[8:],
    }
