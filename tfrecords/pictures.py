"""One picture: decode, resize, crop, encode. Pillow and NumPy only.

Second stop in the path of an image, inside a worker process. Section 2 of the paper: the shorter
side becomes 256, then the central 256x256 stays. What the paper leaves open is settled here:

- Resizing is antialiased bicubic; the longer side becomes round(long * 256 / short).
- Pixels are taken as stored: EXIF orientation and color profiles are deliberately not applied (nor
  did the 2012 program), and serving does the same.
- Gray, palette and CMYK pictures become RGB; transparency is dropped, not blended; of 16-bit
  samples the high byte stays (as in TensorFlow's PNG decoder); of an animation the first frame.
- JPEG's decoding at a reduced scale (Pillow's `draft`) would be faster for large photographs, but
  changes pixels; it is not used, so that one definition holds for every picture.
"""

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

# Named, because Pillow would also try formats that start other programs (EPS).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3
"""Pillow's own limit against decompression bombs: 89,478,485, a picture of 256 MiB."""

Pixels = npt.NDArray[np.uint8]


class UnreadablePicture(Exception):
    """The picture cannot be used; the message says why, in a few words."""


def load_picture(data: bytes, size: int) -> Pixels:
    """Decodes a picture, resizes its shorter side to `size` and takes the central square.

    Args:
        data: the picture file's bytes.
        size: side of the square in pixels.

    Returns:
        uint8 (size, size, 3), RGB.

    Raises:
        UnreadablePicture: empty, truncated, no picture, too large, or of an unknown kind.
    """
    if not data:
        raise UnreadablePicture("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on odd metadata, of no use to the user
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                _refuse_large(picture.width, picture.height, size)
                return np.asarray(_central_square(_to_rgb(picture), size))
    except (UnreadablePicture, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnreadablePicture("no picture of a known format") from None
    except Exception as fault:
        # Damaged files make Pillow's decoders raise almost anything (OSError, SyntaxError,
        # ValueError, struct.error, IndexError...); whatever it is, this file is at fault.
        reason = " ".join(str(fault).split())[:200]
        raise UnreadablePicture(reason or type(fault).__name__) from fault


def encode_picture(pixels: Pixels, encoding: str, quality: int | None) -> bytes:
    """The bytes that go into the record.

    Args:
        pixels: uint8 (size, size, 3), RGB.
        encoding: `jpeg`, baseline with chroma at half resolution (4:2:0); or `raw`, row by row.
        quality: JPEG quality 1-100; ignored for `raw`.
    """
    if encoding == "raw":
        return pixels.tobytes()
    assert quality is not None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def _refuse_large(width: int, height: int, size: int) -> None:
    """Judges by the header alone, before any memory is taken."""
    if width * height > MAX_PIXELS:
        raise UnreadablePicture(f"{width}x{height} pixels claimed, more than {MAX_PIXELS} in all")
    # A line of 1x100000 pixels is small, but enlarged to 256 across it would fill 20 GB.
    if max(width, height) * size > MAX_PIXELS * min(width, height) / size:
        raise UnreadablePicture(f"{width}x{height} pixels: too long and thin to enlarge")


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        # Pillow's own conversion would clip 16-bit gray at 255 instead of scaling it.
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        raise UnreadablePicture(f"{picture.mode} samples of unknown range")
    return picture.convert("RGB")


def _central_square(picture: Image.Image, size: int) -> Image.Image:
    short = min(picture.size)
    width, height = (round(side * size / short) for side in picture.size)
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return resized.crop((left, top, left + size, top + size))
