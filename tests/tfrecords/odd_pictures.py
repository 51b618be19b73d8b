"""Picture files of unusual kinds, made byte by byte where no library writes them."""

import io
import struct

import numpy as np
from PIL import Image, ImageChops

from tests.tfrecords.made_pictures import noise


def file_bytes(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def smooth(width: int = 48, height: int = 40) -> np.ndarray:
    """A picture of many colors that JPEG keeps nearly as it is: uint8 (height, width, 3)."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.dstack([across, down, 255 - across]).astype(np.uint8)


def cmyk_jpeg(rgb: np.ndarray) -> bytes:
    """As Adobe's programs store it: with their mark, and ink the other way round."""
    ink = [ImageChops.invert(band) for band in Image.fromarray(rgb).split()]
    black = Image.new("L", ink[0].size, 0)
    return file_bytes(Image.merge("CMYK", (*ink, black)), "JPEG", quality=100, subsampling=0)


def unmarked_cmyk_jpeg(rgb: np.ndarray) -> bytes:
    """Without Adobe's mark a value is the amount of ink."""
    # Pillow inverts when it writes, so it is given what it is to invert.
    black = Image.new("L", (rgb.shape[1], rgb.shape[0]), 255)
    inverted = Image.merge("CMYK", (*Image.fromarray(rgb).split(), black))
    data = file_bytes(inverted, "JPEG", quality=100, subsampling=0)
    start, length = _adobe_segment(data)
    return data[:start] + data[start + length :]


def ycck_jpeg(rgb: np.ndarray) -> bytes:
    """Inverted ink coded as luminance and color differences, as Adobe's mark with a 2 says."""
    bands = Image.fromarray(255 - rgb).convert("YCbCr").split()
    black = Image.new("L", bands[0].size, 0)
    stored = Image.merge("CMYK", (*map(ImageChops.invert, bands), black))
    data = bytearray(file_bytes(stored, "JPEG", quality=100, subsampling=0))
    start, length = _adobe_segment(data)
    data[start + length - 1] = 2
    return bytes(data)


def _adobe_segment(data: bytes | bytearray) -> tuple[int, int]:
    start = data.index(b"\xff\xee")
    return start, 2 + struct.unpack_from(">H", data, start + 2)[0]


def odd_pictures() -> dict[str, bytes]:
    """By what report.json must say of it under a .JPEG name; all can be read."""
    picture = Image.fromarray(noise(7, 40, 30))
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = np.random.default_rng(3).integers(0, 65536, (30, 40), dtype=np.uint16)
    frames = [Image.new("RGB", (30, 30), color) for color in ("red", "blue")]
    return {
        "CMYK to RGB": cmyk_jpeg(smooth()),
        "YCCK to RGB": ycck_jpeg(smooth()),
        "gray to RGB": file_bytes(picture.convert("L"), "JPEG"),
        "EXIF orientation 6 not applied": file_bytes(picture, "JPEG", exif=turned),
        "PNG file named .jpeg": file_bytes(picture),
        "WEBP file named .jpeg": file_bytes(picture, "WEBP"),
        "16-bit samples to 8 bits": file_bytes(Image.fromarray(deep)),
        "transparency dropped": file_bytes(picture.convert("RGBA")),
        "first frame of an animation": file_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "damaged JPEG data, decoded nevertheless": damaged_jpeg(),
    }


def oddly_sampled_jpeg() -> bytes:
    """64x64 pixels of middle gray with blue finer than red, which no usual program writes."""
    file = file_bytes(Image.new("RGB", (64, 64), (128, 128, 128)), "JPEG", subsampling=0)
    frame, scan = file.index(b"\xff\xc0"), file.index(b"\xff\xda")
    samplings = bytearray(file[frame : frame + 19])
    samplings[11], samplings[14], samplings[17] = 0x21, 0x21, 0x11
    # Two blocks of luminance, two and one of color: no difference to the block before (00), nothing else (1010, 00).
    units = int("001010" * 2 + "0000" * 3, 2).to_bytes(3, "big") * 32
    return file[:frame] + samplings + file[frame + 19 : scan + 14] + units + b"\xff\xd9"


def damaged_jpeg() -> bytes:
    """Complete, but with bytes before its end that belong to nothing."""
    data = file_bytes(Image.fromarray(noise(7, 200, 150)), "JPEG")
    return data[:-2] + b"\x12\x34\x56\x78" * 4 + data[-2:]


def unreadable_pictures() -> dict[str, bytes]:
    """By a word of the reason."""
    whole = file_bytes(Image.fromarray(noise(9, 200, 150)), "JPEG")
    claims = bytearray(whole)
    start = claims.index(b"\xff\xc0")
    claims[start + 5 : start + 9] = struct.pack(">HH", 60000, 60000)
    return {
        "empty": b"",
        "no picture": b"<html>404 not found</html>",
        "truncated": whole[: len(whole) // 2],
        "too large": bytes(claims),
    }
