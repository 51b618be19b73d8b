"""What a Python program calls pictures, as picture files in memory: every way into a network takes those."""

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.serving.given_pictures import file_for_model, picture_for_model
from tfrecords.exif import Exif

Picture: TypeAlias = AnyPath | bytes | npt.NDArray[np.uint8] | Image.Image
"""A file's path or its bytes; uint8 pixels (H, W), (H, W, 1) or (H, W, 3); or one of Pillow's pictures."""
Pictures: TypeAlias = Picture | Iterable[Picture]
"""One or several, and an array (N, H, W, channels) or (N, H, W) is N of them."""


class NamedFile(NamedTuple):
    """A picture file in memory, and what messages call it."""

    name: str
    content: bytes


def picture_files(pictures: Pictures, exif: Exif) -> Iterator[NamedFile]:
    """Each picture as the bytes of a picture file, read when it is its turn.

    Pixels become a PNG file, which keeps every one of them. With `exif` "apply" a file keeps its EXIF orientation.

    Raises:
      UserError: a file cannot be read or holds no picture, or an array holds no uint8 pixels.
    """
    return (_file(picture, f"picture {number}", exif) for number, picture in enumerate(_one_by_one(pictures)))


def _one_by_one(pictures: Any) -> Iterable[Any]:
    if isinstance(pictures, str | os.PathLike | bytes | Image.Image):
        return [pictures]
    if _is_array(pictures):
        pixels = np.asarray(pictures)
        if pixels.dtype.kind in "OSU":  # an array of paths
            return pixels.ravel().tolist()
        one = pixels.ndim < 3 or (pixels.ndim == 3 and pixels.shape[-1] in (1, 3, 4))
        return [pixels] if one else list(pixels)
    if isinstance(pictures, Iterable):
        return pictures
    raise UserError(f"pictures: give paths of files or uint8 arrays, not {type(pictures).__name__}")


def _is_array(pictures: Any) -> bool:
    return hasattr(pictures, "__array__")


def _file(picture: Any, name: str, exif: Exif) -> NamedFile:
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        if path.is_dir():
            raise UserError(
                f"picture {path}: is a folder; give its files, as in sorted(Path({str(path)!r}).glob('*.jpg'))"
            )
        return NamedFile(f"picture {path}", picture_for_model(path, exif))
    if isinstance(picture, bytes):
        return NamedFile(name, file_for_model(picture, name, exif))
    if isinstance(picture, Image.Image):
        turned = ImageOps.exif_transpose(picture) if exif == "apply" else picture
        return NamedFile(name, _png(turned.convert("RGB")))
    if _is_array(picture):
        return NamedFile(name, _png(_image(np.asarray(picture), name)))
    raise UserError(f"{name}: give a file's path or a uint8 array, not {type(picture).__name__}")


def _image(pixels: np.ndarray, name: str) -> Image.Image:
    """Pixels as a picture of Pillow's; fourth channels are refused, for what they mean is not known here."""
    if pixels.dtype != np.uint8:
        raise UserError(
            f"{name}: its pixels are {pixels.dtype}; give them as uint8, from 0 to 255, not prepared in any way"
        )
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] == 3)) or not pixels.size:
        raise UserError(
            f"{name}: it has shape {pixels.shape}; give (height, width, 3) in RGB, or (height, width) in gray"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return content.getvalue()
