"""Files that the converter alone reads, and such that nobody here does."""

import io
import struct

import numpy as np
from PIL import Image

from tests.faults.hostile_pictures import encoded
from tests.picture_zoo.files import Files, numbers, pixels


def converter_files() -> Files:
    """BMP, TIFF, WebP and PPM files, by kind and variant."""
    picture, gray = Image.fromarray(pixels()), Image.fromarray(pixels(1))
    alpha = Image.fromarray(pixels(4))
    bits = gray.convert("1")
    found: Files = {}
    for kind in ("BMP", "TIFF", "WebP", "PPM"):
        found[kind, "RGB"] = encoded(picture, kind)
        found[kind, "gray"] = encoded(gray, kind)
        if kind != "PPM":
            found[kind, "RGBA"] = encoded(alpha, kind)
        if kind in ("BMP", "TIFF"):
            found[kind, "palette"] = encoded(picture.quantize(64), kind)
        if kind != "WebP":
            found[kind, "bilevel"] = encoded(bits, kind)
        found[kind, "cut in the middle"] = found[kind, "RGB"][: len(found[kind, "RGB"]) // 2]
        found[kind, "header alone"] = found[kind, "RGB"][:16]
    found["TIFF", "CMYK"] = encoded(picture.convert("CMYK"), "TIFF")
    found["TIFF", "JPEG inside"] = encoded(picture, "TIFF", compression="jpeg")
    found["TIFF", "two pages"] = encoded(picture, "TIFF", save_all=True, append_images=[gray])
    found["WebP", "lossless"] = encoded(picture, "WEBP", lossless=True)
    found["WebP", "animation"] = encoded(picture, "WEBP", save_all=True, append_images=[alpha])
    wide = (numbers(1)[:, :, 0] * 65535).astype(np.uint16)
    for kind in ("TIFF", "PPM"):
        found[kind, "gray, 16 bits"] = encoded(Image.fromarray(wide), kind)
        found[kind, "gray, 16 bits, of a narrow range"] = encoded(Image.fromarray(96 + wide % 14), kind)
    found["TIFF", "gray, 32 bits"] = encoded(Image.fromarray(wide.astype(np.int32)), "TIFF")
    found["TIFF", "gray, floating point"] = encoded(Image.fromarray(numbers(1)[:, :, 0].astype(np.float32)), "TIFF")
    return found


def unread_files() -> Files:
    """Files of kinds that nobody here reads, by kind and variant."""
    picture = Image.fromarray(pixels())

    def boxed(brand: bytes) -> bytes:
        return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(400)

    jpeg2000 = encoded(picture, "JPEG2000")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG2000", no_jp2=True)
    return {
        ("HEIC", "heic"): boxed(b"heic"),
        ("HEIC", "heix"): boxed(b"heix"),
        ("HEIC", "mif1"): boxed(b"mif1"),
        ("AVIF", "avif"): boxed(b"avif"),
        ("JPEG 2000", "file"): jpeg2000,
        ("JPEG 2000", "codestream"): buffer.getvalue(),
        ("JPEG XL", "file"): b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100),
        ("JPEG XL", "codestream"): b"\xff\x0a" + bytes(100),
        ("no picture", "empty file"): b"",
        ("no picture", "a page"): b"<html>404 not found</html>",
        ("no picture", "SVG"): b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        ("no picture", "PDF"): b"%PDF-1.7\n" + bytes(100),
        ("no picture", "PostScript"): b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        ("no picture", "one byte"): b"\xff",
        ("no picture", "zeros"): bytes(1000),
    }
