"""Small picture files that demand much work, made on the spot, and sound ones that look like them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIDE = 7000
"""A picture of one color of 49 megapixels takes some 100 kB."""


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def solid(mode: str = "L", side: int = SIDE) -> Image.Image:
    return Image.new(mode, (side, side), 128)


def photograph(width: int = 500, height: int = 375, mode: str = "RGB") -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


# JPEG


def many_scans(count: int, side: int = SIDE, between: bytes = b"") -> bytes:
    """A progressive file with its last scan again and again, and `between` before each marker of a scan."""
    file = encoded(solid(side=side), "JPEG", progressive=True)
    last = file.rindex(b"\xff\xda")
    return file[:last] + (between + file[last:-2]) * (count + 1) + file[-2:]


def segment(code: int, content: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(content) + 2) + content


def with_segments(file: bytes, *segments: bytes) -> bytes:
    """Behind the start of a JPEG file."""
    return file[:2] + b"".join(segments) + file[2:]


def other_frame(code: int, precision: int = 8) -> bytes:
    """A JPEG file whose frame is marked as of another kind."""
    file = bytearray(encoded(photograph(64, 48), "JPEG"))
    frame = file.index(b"\xff\xc0")
    file[frame + 1], file[frame + 4] = code, precision
    return bytes(file)


# PNG


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, data: bytes, side_chunks: bytes = b"", pieces: int = 1 << 20) -> bytes:
    """An RGB file of this compressed data, cut into pieces."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    parts = [chunk(b"IDAT", data[start : start + pieces]) for start in range(0, len(data), pieces)]
    return b"\x89PNG\r\n\x1a\n" + header + side_chunks + b"".join(parts) + chunk(b"IEND", b"")


def rows(width: int, height: int) -> bytes:
    """A picture of one color."""
    return b"\0" * (height * (1 + 3 * width))


def swollen_png(width: int, height: int, megabytes: int) -> bytes:
    """Behind the pixels the compressed data go on, with zeros."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(rows(width, height))]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(megabytes)]
    return png(width, height, b"".join([*parts, packer.flush()]))


def noisy_png(side: int, noise: int, megabytes: int = 0) -> bytes:
    """Its first `noise` bytes cannot be compressed, so that its beginning tells nothing of zeros behind its pixels."""
    varied = b"".join(b"\0" + np.random.default_rng(row).bytes(3 * side) for row in range(-(-noise // (3 * side))))
    pixels, zeros = varied + rows(side, side)[len(varied) :], bytes(1 << 20)
    packer = zlib.compressobj(9, wbits=-15)
    start = packer.compress(pixels) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)  # needs nothing before it, so can be repeated
    check = zlib.adler32(pixels)
    for _ in range(megabytes):
        check = zlib.adler32(zeros, check)
    end = zlib.compressobj(wbits=-15).flush() + struct.pack(">I", check)
    return png(side, side, b"\x78\xda" + start + again * megabytes + end)


# GIF


def gif_with_comment(blocks: bytes) -> bytes:
    file = encoded(photograph(64, 48).quantize(16), "GIF")
    image = file.index(b"\x2c\0\0\0\0")
    return file[:image] + b"\x21\xfe" + blocks + b"\0" + file[image:]
