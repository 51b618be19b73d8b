"""Strangers' picture files, inside the graph: one bad file gets a status of its own and harms none of its neighbors.

TensorFlow Serving joins the requests of strangers to one batch, and an operation that fails fails all of them. So every
picture is read in a small tf.data pipeline of its own, whose errors turn into a status; its operations are ordinary
kernels, which the C++ loader knows as well. Sizes are read from a file's header, and the work that it demands from its
structure (`picture_structure.py`); both are judged before a pixel is decoded.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from alexnet_tf.pictures.resizing import picture_from_file
from alexnet_tf.serving.picture_structure import OK as OK
from alexnet_tf.serving.picture_structure import first_frame, jpeg_status, png_essence
from tfrecords.picture_limits import MAX_ASPECT as MAX_ASPECT
from tfrecords.picture_limits import MAX_PIXELS as MAX_PIXELS

DAMAGED = "damaged: the file's pixels cannot be decoded"
UNKNOWN_KIND = "no JPEG, PNG or GIF file"
NO_BYTES = "empty file"
AT_ONCE = 16
"""Files read side by side at most; TensorFlow's own threads bound it further."""

Map = Callable[[tf.Tensor], tf.Tensor]


def read_files(
    files: tf.Tensor, stored_shape: tuple[int, int, int], prepare: Map, unpack: Map = tf.identity
) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads every file that can be read, and says of the others what is wrong.

    Args:
      files: string (N,), JPEG, PNG or GIF files; of an animation the first frame counts.
      stored_shape: height, width and channels to which a picture is brought first, those of the records.
      prepare: takes one such picture, float32, to what is wanted, of any fixed shape.
      unpack: takes one of `files` to the picture file in it; may fail like all the rest.

    Returns:
      The prepared pictures (N, ...), zeros where the file cannot be used, and status, string (N,), "ok" or a reason.
    """
    nothing = tf.zeros_like(prepare(tf.zeros(stored_shape)))
    read_file = _reader(stored_shape)

    def read(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture, status = read_file(unpack(file))
        prepared = tf.cond(status == OK, lambda: prepare(picture), lambda: nothing)
        return tf.ensure_shape(prepared, nothing.shape), status

    def read_or_fall_back(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        fallback = tf.data.Dataset.from_tensors((nothing, tf.constant(DAMAGED)))
        picture = tf.data.Dataset.from_tensors(file).map(read).ignore_errors()
        return picture.concatenate(fallback).take(1).get_single_element()

    specs = tf.TensorSpec(nothing.shape, nothing.dtype), tf.TensorSpec((), tf.string)
    return tf.map_fn(read_or_fall_back, files, fn_output_signature=specs, parallel_iterations=AT_ONCE)


@functools.cache
def _reader(stored_shape: tuple[int, int, int]) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Takes a file to its picture, float32 of that shape, zeros where it cannot be used, and its status.

    Traced once for all signatures of all models, for there is much in it, and nothing that differs.
    """

    def read(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        file, status = inspect_file(file)
        picture = tf.cond(status == OK, lambda: picture_from_file(file, stored_shape), lambda: tf.zeros(stored_shape))
        return picture, status

    return tf.function(read, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)


def inspect_file(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Judges a file by its header.

    Args:
      file: scalar string.

    Returns:
      The file to decode, which is another one for PNG and GIF, and status, both scalar strings.

    Raises:
      tf.errors.InvalidArgumentError: the header is damaged.
    """

    def starts_with(magic: bytes) -> tf.Tensor:
        return tf.strings.substr(file, 0, len(magic)) == magic

    def jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        status = jpeg_status(file)
        return file, tf.cond(
            status == OK, lambda: judge_size(*tf.unstack(tf.image.extract_jpeg_shape(file), 3)[:2]), lambda: status
        )

    def png() -> tuple[tf.Tensor, tf.Tensor]:  # the first chunk, IHDR, begins with width and height
        width_height = tf.io.decode_raw(tf.strings.substr(file, 16, 8), tf.int32, little_endian=False)
        size_status = judge_size(width_height[1], width_height[0])
        return tf.cond(size_status == OK, lambda: png_essence(file), lambda: (file, size_status))

    def gif() -> tuple[tf.Tensor, tf.Tensor]:
        frame, height, width, status = first_frame(file)
        size_status = judge_size(height, width)
        return frame, tf.where(size_status == OK, status, size_status)

    def unknown() -> tuple[tf.Tensor, tf.Tensor]:
        return file, tf.where(file == "", NO_BYTES, UNKNOWN_KIND)

    kinds = [
        (starts_with(b"\xff\xd8\xff"), jpeg),
        (starts_with(b"\x89PNG\r\n\x1a\n"), png),
        (starts_with(b"GIF8"), gif),
    ]
    return tf.case(kinds, unknown)


def judge_size(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Status of a picture of this size, scalar string. Both arguments are int32 scalars."""
    height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
    short, long = tf.minimum(height, width), tf.maximum(height, width)
    size = tf.strings.join([tf.strings.as_string(width), "x", tf.strings.as_string(height), " pixels"])
    return tf.case(
        [
            (short < 1, lambda: tf.strings.join(["no picture: ", size])),
            # By division, for the product of two claimed sides may exceed 64 bits.
            (
                long > MAX_PIXELS // tf.maximum(short, 1),
                lambda: tf.strings.join(["too large: ", size, f", at most {MAX_PIXELS} in all"]),
            ),
            (
                long > MAX_ASPECT * short,
                lambda: tf.strings.join(["too thin: ", size, f", at most {MAX_ASPECT} times as long as wide"]),
            ),
        ],
        lambda: tf.constant(OK),
    )
