"""One picture: decode, resize, crop, encode. No TensorFlow here.

Second station of an image, inside a worker process. Section 2 of the paper: the shorter
side becomes 256, then the central 256x256 stays. What the paper leaves open is settled here:

- Resizing is antialiased bicubic; the longer side becomes round(long * 256 / short).
- A picture is turned by its EXIF orientation where the conversion is told to (`--exif`); the 2012
  program did not. Color profiles are not applied. Evaluation and serving do as the conversion did.
- Gray, palette and CMYK pictures become RGB, or all become gray (ITU-R BT.601) once they have
  their size; transparency is dropped, not blended; of 16-bit
  samples the high byte stays (as in TensorFlow's PNG decoder); of an animation the first frame.
- What a picture is, is read from its content, never from its name.
- JPEG's decoding at a reduced scale (Pillow's `draft`) would be faster for large photographs, but
  changes pixels; it is not used, so that one definition holds for every picture.

Plain JPEG files, nearly all there are, take a short way: libjpeg-turbo straight into an array, and
a resizer that works with SIMD and only on the part that stays. Everything else goes through Pillow
into the same resizer. Both ways give the same pixels.
"""

import io
import os
import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from cykooz_resizer.alpha import set_image_mode
from PIL import Image, ImageChops, UnidentifiedImageError

from tfrecords.essence import Essence
from tfrecords.exif import ORIENTATION, TURNED, UPRIGHT, Exif, exif_orientation, exif_with
from tfrecords.picture_kinds import (
    CONVERTER_ONLY,
    HEIF_KINDS,
    NO_BYTES,
    ONE_COLOR,
    READ_BY_ALL,
    damaged,
    kind_of,
    needs_heif_reader,
    other_kind,
)
from tfrecords.picture_limits import MAX_PIXELS, size_fault
from tfrecords.picture_structure import UnreadablePicture as UnreadablePicture
from tfrecords.picture_structure import essence
from tfrecords.pillow_faults import reason_of, silence_libtiff, unread_header

# Named, because Pillow would also try formats that start other programs (EPS).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")

KINDS = {
    **dict.fromkeys((".jpeg", ".jpg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF"),
    ".png": "PNG",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".webp": "WEBP",
}
"""What the end of a file name promises."""

GRAY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")

SHORT_WAY_PIXELS = 16_000_000
"""Larger pictures are decoded by Pillow, which holds fewer copies of them at a time."""

UPRIGHT_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of each EXIF orientation upright."""
STORED_BY = UPRIGHT_BY | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""What takes an upright picture back to how it is stored."""

Pixels = npt.NDArray[np.uint8]


def load_picture(data: bytes, size: int, channels: int = 3, exif: Exif = "ignore") -> Pixels:
    """The pixels of `load_square`: uint8 (size, size, channels)."""
    return np.asarray(load_square(data, size, channels=channels, exif=exif)).reshape(size, size, channels)


def load_square(
    data: bytes,
    size: int,
    repairs: list[str] | None = None,
    file_name: str = "",
    channels: int = 3,
    exif: Exif = "ignore",
) -> Image.Image:
    """Decodes a picture, resizes its shorter side to `size` and takes the central square.

    Args:
      data: the picture file's bytes.
      size: side of the square in pixels.
      repairs: where given, what was out of the ordinary is added here, each in a few words.
      file_name: only looked at for whether it fits the content, which is among the repairs.
      channels: 3 for RGB, 1 for gray.
      exif: whether the picture is turned by its EXIF orientation before all this.

    Returns:
      The square, of mode RGB or L.

    Raises:
      UnreadablePicture: empty, truncated, no picture, too large, too much work, or of an unknown kind.
    """
    repairs = [] if repairs is None else repairs
    whole = _load_whole(data, repairs, os.path.splitext(file_name)[1].lower())
    picture = whole.picture
    if whole.orientation != UPRIGHT:
        repairs.append(f"EXIF orientation {whole.orientation} {'applied' if exif == 'apply' else 'not applied'}")
        if exif == "apply":
            picture = _turned(picture, UPRIGHT_BY[whole.orientation])
    square = _central_square(picture, size)
    return square if channels == 3 else _to_gray(square, whole.gray, repairs)


def as_png(data: bytes) -> bytes:
    """A picture file of any kind that is read here as a PNG file of the same pixels and orientation.

    For an exported model, which reads fewer kinds: it makes of the PNG file what the converter makes of this one.

    Raises:
      UnreadablePicture: as load_square.
    """
    whole = _load_whole(data, [], "")
    buffer = io.BytesIO()
    exif = b"" if whole.orientation == UPRIGHT else exif_with(whole.orientation)
    whole.picture.save(buffer, "PNG", compress_level=1, exif=exif)
    return buffer.getvalue()


class _Whole(NamedTuple):
    """A picture as it is stored, in its own size."""

    picture: Image.Image
    """Of mode RGB."""
    orientation: int
    gray: bool
    """Whether it is stored as gray."""


def _load_whole(data: bytes, repairs: list[str], end: str) -> _Whole:
    """Decodes a file, with `repairs` and faults as load_square; `end` is that of its name, with the dot."""
    if not data:
        raise UnreadablePicture(NO_BYTES)
    formats = _formats(data)
    found = essence(data, thorough=True)
    if found.cut:
        raise UnreadablePicture(damaged("truncated: the file ends in the middle"))
    silence_libtiff()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on odd metadata, of no use to the user
            with Image.open(io.BytesIO(found.file), formats=formats) as picture:
                if fault := size_fault(picture.width, picture.height):
                    raise UnreadablePicture(fault)
                if end in KINDS and KINDS[end] != picture.format:
                    repairs.append(f"{picture.format} file named {end}")
                gray_before = picture.mode in GRAY_MODES
                orientation = _orientation(found, picture)  # first, for Pillow forgets that of a TIFF file
                whole = _load(found, picture, repairs)
                if picture.format == "TIFF" and orientation != UPRIGHT:
                    whole = _turned(whole, STORED_BY[orientation])  # Pillow turns such files, no others, by itself
                return _Whole(whole, orientation, gray_before)
    except (UnreadablePicture, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnreadablePicture(_unknown(data)) from None
    except Image.DecompressionBombError:  # Pillow, by the header, from twice as many on
        raise UnreadablePicture(f"too large: more than {2 * MAX_PIXELS} pixels, at most {MAX_PIXELS} in all") from None
    except Exception as fault:
        # Damaged files make Pillow's decoders raise almost anything (OSError, SyntaxError,
        # ValueError, struct.error, IndexError...); whatever it is, this file is at fault.
        raise UnreadablePicture(reason_of(fault, kind_of(data))) from fault


def _unknown(data: bytes) -> str:
    """What is said of a file that Pillow's readers do not take."""
    kind = kind_of(data)
    if kind in (*READ_BY_ALL, *CONVERTER_ONLY, *HEIF_KINDS):
        return unread_header(kind)
    return "no picture of a known format" if kind is None else other_kind(kind)


def encode_picture(picture: Image.Image, encoding: str, quality: int | None) -> bytes:
    """The bytes that go into the record.

    Args:
      picture: of mode RGB or L.
      encoding: `jpeg`, baseline with chroma, where there is any, at half resolution (4:2:0); or `raw`, row by row.
      quality: JPEG quality 1-100; ignored for `raw`.
    """
    if encoding == "raw":
        return picture.tobytes()
    assert quality is not None
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def _formats(data: bytes) -> tuple[str, ...]:
    """The formats that Pillow may try on a file."""
    kind = kind_of(data)
    if kind not in HEIF_KINDS:
        return FORMATS
    try:
        from pillow_heif import register_heif_opener  # late, for it is an extra
    except ImportError:
        raise UnreadablePicture(needs_heif_reader(kind)) from None
    register_heif_opener()
    return (*FORMATS, "HEIF")


def _orientation(found: Essence, picture: Image.Image) -> int:
    """A HEIC file's own turning is part of its decoding, so that Exif data count for nothing there."""
    if picture.format == "TIFF":
        orientation = picture.tag_v2.get(ORIENTATION)  # type: ignore[attr-defined]
        return orientation if orientation in TURNED else UPRIGHT
    return UPRIGHT if picture.format == "HEIF" else exif_orientation(found.exif or picture.info.get("exif") or b"")


def _load(found: Essence, picture: Image.Image, repairs: list[str]) -> Image.Image:
    """The pixels of a picture of which the header has been read, as they are stored."""
    data = found.file
    if picture.format == "JPEG" and picture.mode in ("L", "RGB"):
        if picture.mode == "L":
            repairs.append("gray to RGB")
        if picture.width * picture.height <= SHORT_WAY_PIXELS:
            try:
                return _as_picture(simplejpeg.decode_jpeg(data, "RGBX"))
            except ValueError as fault:
                picture.load()  # raises where data are missing; otherwise libjpeg found its way
                if "subsampling" not in str(fault):  # of which the short way knows the usual kinds only
                    repairs.append("damaged JPEG data, decoded nevertheless")
    if found.animated or getattr(picture, "is_animated", False):
        repairs.append("first page of several" if picture.format == "TIFF" else "first frame of an animation")
    if found.transparent or picture.has_transparency_data:
        repairs.append("transparency dropped")
    return _to_rgb(picture, data, repairs)


def _to_gray(square: Image.Image, gray_before: bool, repairs: list[str]) -> Image.Image:
    """Of a picture that is gray, as RGB, exactly that gray: the weights of the three colors add up to one."""
    if gray_before:
        repairs[:] = [repair for repair in repairs if not repair.endswith(" to RGB")]
    else:
        repairs.append("color to gray")
    return square.convert("L")


def _to_rgb(picture: Image.Image, data: bytes, repairs: list[str]) -> Image.Image:
    bits = _bits(picture, data)
    if bits > 8:
        repairs.append("16-bit samples to 8 bits")
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        # Pillow's own conversion would clip 16-bit gray at 255 instead of scaling it.
        picture = Image.fromarray((np.asarray(picture) >> (max(bits, 9) - 8)).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        what = "floating-point" if picture.mode == "F" else "32-bit"
        raise UnreadablePicture(f"{what} samples of unknown range: scale them to the range of 8 bits")
    elif picture.mode == "CMYK" and picture.format == "JPEG":
        repairs.append("YCCK to RGB" if picture.info.get("adobe_transform") == 2 else "CMYK to RGB")
        if "adobe" not in picture.info:
            # Adobe's programs store ink the other way round. Pillow takes that of every CMYK JPEG,
            # other decoders only where the file has Adobe's mark, which is what the mark is for.
            picture = ImageChops.invert(picture)
        picture = _from_ink(picture)
    elif picture.mode != "RGB" and not (picture.format == "JPEG" and picture.mode == "L"):
        repairs.append(f"{picture.mode} to RGB")
    if picture.mode == "RGB":
        picture.load()  # where convert() would make a copy
    else:
        picture = picture.convert("RGB")
    if bits > 8 and picture.getcolors(1) is not None:
        raise UnreadablePicture(ONE_COLOR)
    return picture


def _from_ink(picture: Image.Image) -> Image.Image:
    """CMYK to RGB as TensorFlow does it; Pillow's own way rounds otherwise."""
    ink = np.asarray(picture)
    colors = np.empty((*ink.shape[:2], 3), np.uint8)
    for row, line in zip(colors, ink, strict=True):  # one by one, for a large picture would take much memory
        left = 255 - line.astype(np.uint16)
        row[:] = left[:, :3] * left[:, 3:] // 255
    return Image.fromarray(colors)


TIFF_BITS = 258
"""The tag of bits a sample."""


def _bits(picture: Image.Image, data: bytes) -> int:
    """Bits of a sample in the file, as far as they are more than 8."""
    if picture.format == "PNG":
        return data[24]
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(TIFF_BITS, (8,)))  # type: ignore[attr-defined]
    if picture.format == "PPM":  # Pillow scales gray to 16 bits, colors to 8; the largest value is the last argument
        arguments = picture.tile[0].args  # type: ignore[attr-defined]
        largest = arguments[-1] if isinstance(arguments, tuple) else 255
        return 16 if picture.mode == "I" or (isinstance(largest, int) and largest > 255) else 8
    return 8


def _as_picture(pixels: Pixels) -> Image.Image:
    """A view of uint8 (height, width, 4), the last channel empty: Pillow's own form of RGB."""
    height, width, _ = pixels.shape
    picture = Image.frombuffer("RGBX", (width, height), pixels, "raw", "RGBX", 0, 1)
    set_image_mode(picture, "RGB")
    return picture


def _turned(picture: Image.Image, how: Image.Transpose) -> Image.Image:
    found = picture.transpose(how)
    if found.mode == "RGBX":  # of `_as_picture`
        set_image_mode(found, "RGB")
    return found


_resizer = Resizer()
"""Gives the same bytes with AVX2, SSE 4.1 and none of them."""


def _central_square(picture: Image.Image, size: int) -> Image.Image:
    """Resizes as if to the whole of the new size, but works out the square alone.

    Catmull and Rom's cubic is the one with a = -1/2, the bicubic of Pillow and TensorFlow.
    """
    short = min(picture.size)
    wide, tall = (round(side * size / short) for side in picture.size)
    left, top = (wide - size) // 2, (tall - size) // 2
    across, down = picture.width / wide, picture.height / tall
    x, y = left * across, top * down
    # Products may be beyond the picture's edge by a rounding.
    box = CropBox(x, y, min(size * across, picture.width - x), min(size * down, picture.height - y))
    square = Image.new("RGB", (size, size))
    _resizer.resize_pil(picture, square, ResizeOptions(ResizeAlg.convolution(FilterType.catmull_rom), crop_box=box))
    return square
