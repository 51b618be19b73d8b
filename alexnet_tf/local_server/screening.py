"""Which pictures need not run at all, and how much memory the others need: from their structure.

A picture that is refused has a status and zeros in place of numbers. Exports of earlier versions run the network on
those zeros, and all of them hold such a row for each. What looks here as if it will be refused is asked of the model
itself by its `view` signature, which reads files as the others do and has no network; only what that refuses is left
out. So this module can be wrong about a file without giving another answer. One kind of file is refused here alone: the
graph cannot inflate a PNG file's data bit by bit, to see whether they are more than its pixels need.
"""

import io
import warnings
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow.core.example import example_pb2

from alexnet_tf.local_server.served_model import Arrays, LoadedVersion
from alexnet_tf.serving.picture_files import MAX_ASPECT, MAX_PIXELS, OK
from alexnet_tf.serving.signatures import CLASSIFY
from tfrecords.picture_kinds import PNG_SIGNATURE, READ_BY_ALL
from tfrecords.picture_limits import MUCH_PNG_DATA, SPARE_PNG_DATA
from tfrecords.picture_structure import UnreadablePicture, essence
from tfrecords.schema import KEY_IMAGE

SMALL = 4096
"""Bytes of a file that is tried out at once: that costs next to nothing, and a sender can have many such."""
FILES, EXAMPLES, PIXELS, VIEW = "image_bytes", "inputs", "images", "view"


class FirstLook(NamedTuple):
    """What a picture file's structure tells."""

    pixels: int
    """Height times width as the file declares them, at most MAX_PIXELS: beyond that nothing is decoded."""
    doubtful: bool
    """Whether the model may refuse it."""
    status: bytes | None = None
    """Why it is refused, whatever the model would do."""


Looks = list[FirstLook | None]
"""Of each picture of a request; None of what has no place for a file."""


def first_look(file: bytes) -> FirstLook:
    """Looks at a picture file without decoding it; only a dense one's data are inflated, which can take a second."""
    try:
        found = essence(file, thorough=is_dense(file))
    except UnreadablePicture as fault:  # exports of earlier versions do not judge structures and may decode it
        return FirstLook(_declared(file), True, str(fault).encode() if str(fault) == MUCH_PNG_DATA else None)
    return FirstLook(found.pixels, not found.pixels or found.cut or len(file) < SMALL)


def _declared(file: bytes) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a decompression bomb: that is why the file was refused
            with Image.open(io.BytesIO(file), formats=list(READ_BY_ALL)) as picture:
                return min(picture.width * picture.height, MAX_PIXELS)
    except Exception:  # whatever Pillow makes of a damaged header; TensorFlow may see more in it
        return MAX_PIXELS


def is_dense(file: bytes) -> bool:
    """Whether a file may stand for so much more than it has pixels that its data are to be inflated."""
    return file.startswith(PNG_SIGNATURE) and len(file) > 2 * SPARE_PNG_DATA


def files_of(signature: str, inputs: Arrays) -> list[bytes | None] | None:
    """The picture files in a request's arrays, None for what has no room for one; None where its pictures are none."""
    if FILES in inputs:
        return list(inputs[FILES])
    if signature == CLASSIFY and EXAMPLES in inputs:
        return [_file_in(example) for example in inputs[EXAMPLES]]
    return None


def _file_in(example: bytes) -> bytes | None:
    try:
        features = example_pb2.Example.FromString(example).features.feature
    except Exception:  # no tf.Example
        return None
    if KEY_IMAGE not in features or features[KEY_IMAGE].WhichOneof("kind") is None:
        return b""
    values = features[KEY_IMAGE].bytes_list.value
    return values[0] if len(values) == 1 else None


def run_screened(version: LoadedVersion, signature: str, inputs: Arrays, looks: Looks | None = None) -> Arrays:
    """As version.run, but the network runs only on pictures that are not refused beforehand. The answers are equal.

    Args:
      version: the model.
      signature: one of its names.
      inputs: checked arrays of N pictures.
      looks: what was seen of their files, in the order of `files_of`; looked at here where it is not given.
    """
    statuses = _refused(version, signature, inputs, looks)
    refused = np.array([status is not None for status in statuses], bool)
    if not refused.any():
        return version.run(signature, inputs)
    template = _refused_row(version, signature)
    if template is None:
        return version.run(signature, inputs)
    kept = {name: array[~refused] for name, array in inputs.items()}
    answers = None if refused.all() else version.run(signature, kept)
    joined: Arrays = {}
    for name, row in template.items():
        joined[name] = np.repeat(row, len(refused), axis=0)
        if answers is not None:
            joined[name][~refused] = answers[name]
    places = joined["status"] if "status" in joined else joined["classes"][:, 0]
    places[refused] = [status for status in statuses if status is not None]
    return joined


def _refused(version: LoadedVersion, signature: str, inputs: Arrays, looks: Looks | None) -> list[bytes | None]:
    """For each picture why it is refused, or None where it may be good."""
    if VIEW in version.signatures and PIXELS in inputs:
        return _refused_pixels(version, signature, inputs[PIXELS])
    files = files_of(signature, inputs)
    if files is None:
        return [None] * len(next(iter(inputs.values())))
    if looks is None:
        looks = [None if file is None else first_look(file) for file in files]
    if VIEW not in version.signatures or signature == VIEW:
        return [None if look is None else look.status for look in looks]
    return _refused_files(version, files, looks, inputs)


def _refused_files(
    version: LoadedVersion, files: list[bytes | None], looks: Looks, inputs: Arrays
) -> list[bytes | None]:
    seen = {file: look for file, look in zip(files, looks, strict=True) if look is not None}
    statuses: dict[bytes | None, bytes] = {file: look.status for file, look in seen.items() if look.status is not None}
    doubtful = [file for file, look in seen.items() if file is not None and look.doubtful and file not in statuses]
    if doubtful:
        statuses.update(zip(doubtful, version.run(VIEW, {FILES: _objects(doubtful)})["status"], strict=True))
    if None in files:  # all of them fail in the same way
        place = files.index(None)
        statuses[None] = version.run(CLASSIFY, {EXAMPLES: inputs[EXAMPLES][place : place + 1]})["classes"][0, 0]
    return [None if statuses.get(file, OK.encode()) == OK.encode() else statuses[file] for file in files]


def _refused_pixels(version: LoadedVersion, signature: str, images: np.ndarray) -> list[bytes | None]:
    """Pixels are refused for their size, which all of a request have in common, or for what is no finite number."""
    count = len(images)
    finite = np.isfinite(images).reshape(count, -1).all(axis=1) if images.dtype.kind == "f" else np.ones(count, bool)
    short, long = sorted(images.shape[1:3])
    size_is_doubtful = short < 1 or long > MAX_ASPECT * short or short * long > MAX_PIXELS
    statuses: list[bytes | None] = [None] * count
    for rows in (np.flatnonzero(finite) if size_is_doubtful else np.array([], int), np.flatnonzero(~finite)):
        if len(rows):
            status = version.run(signature, {PIXELS: images[rows[:1]]})["status"][0]
            for row in rows if status != OK.encode() else []:
                statuses[row] = status
    return statuses


def _refused_row(version: LoadedVersion, signature: str) -> Arrays | None:
    """One row of a signature's answer for a picture that is refused; None where the model refuses none.

    The model itself gives it, once.
    """
    if signature not in version.refused_rows:
        version.refused_rows[signature] = _ask_for_refused_row(version, signature)
    return version.refused_rows[signature]


def _ask_for_refused_row(version: LoadedVersion, signature: str) -> Arrays | None:
    (name, info), *others = version.signatures[signature].inputs.items()
    if others:
        return None
    dtype, shape = tf.dtypes.as_dtype(info.dtype).as_numpy_dtype, info.tensor_shape.dim
    channels = shape[-1].size if len(shape) == 4 and shape[-1].size > 0 else 3
    nothing = np.zeros((1, 0, 0, channels), dtype) if name == PIXELS else _objects([b""])
    row = version.run(signature, {name: nothing})
    has_place = "status" in row or (signature == CLASSIFY and row.get("classes", nothing).ndim == 2)
    return row if has_place else None


def _objects(values: list[bytes]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array
