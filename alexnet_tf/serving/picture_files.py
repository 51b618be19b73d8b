"""Untrusted picture files, inside the graph: a bad file gets a status of its own and harms no other in the batch.

TensorFlow Serving joins the requests of different users to one batch, and an operation that fails fails all of them. So
every picture is read in a small tf.data pipeline of its own, whose errors turn into a status; its operations are
ordinary kernels, which the C++ loader knows as well. Sizes are read from a file's header, and the work that it demands
from its structure (`picture_structure.py`); both are judged before a pixel is decoded.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from alexnet_tf.pictures.resizing import picture_from_file
from alexnet_tf.serving.exif_orientation import file_orientation
from alexnet_tf.serving.gif_structure import first_frame
from alexnet_tf.serving.picture_structure import OK as OK
from alexnet_tf.serving.picture_structure import jpeg_status, png_essence, png_header_status
from tfrecords.exif import Exif
from tfrecords.picture_kinds import (
    DAMAGED,
    GIF_SIGN,
    JPEG_SIGN,
    NO_BYTES,
    ONE_COLOR,
    OTHER_SIGNS,
    PNG_SIGNATURE,
    UNKNOWN_KIND,
    other_kind,
)
from tfrecords.picture_limits import LARGE_FILE, MAX_FILE_BYTES
from tfrecords.picture_limits import MAX_ASPECT as MAX_ASPECT
from tfrecords.picture_limits import MAX_PIXELS as MAX_PIXELS

AT_ONCE = 16
"""Files read side by side at most; TensorFlow's own threads bound it further."""

PREPARED_AS_NEEDED = {"_tf_data_function": True, "experimental_ints_on_device": True}
"""Attributes of a function of tf.data, each branch of which TensorFlow prepares when it first comes to it.

Else it rewrites the loops and branches for every kind of file and damage into one graph before the first file is read,
which takes 1.5 s of processor time for each signature of a model. The second is named after what it does elsewhere;
here it counts that such a function stays on one device, a processor, as all of these do in any case.
"""

Map = Callable[[tf.Tensor], tf.Tensor]


def read_files(
    files: tf.Tensor, stored_shape: tuple[int, int, int], exif: Exif = "ignore"
) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads every file that can be read, and says of the others what is wrong.

    Args:
      files: string (N,), JPEG, PNG or GIF files; of an animation the first frame counts.
      stored_shape: height, width and channels to which a picture is brought, those of the records.
      exif: whether pictures are turned by their EXIF orientation, as those of the records were.

    Returns:
      The pictures, float32 (N, *stored_shape), zeros where the file cannot be used, and status, string (N,), "ok" or a
      reason.
    """
    return _reader(stored_shape, exif)(files)


@functools.cache
def _reader(stored_shape: tuple[int, int, int], exif: Exif) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """`read_files`, traced once for all signatures of all models, for there is much in it, and nothing that differs."""

    def read(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        needed, status = inspect_file(file)

        def picture() -> tf.Tensor:
            orientation = file_orientation(file) if exif == "apply" else None
            return picture_from_file(needed, stored_shape, orientation)

        return tf.cond(status == OK, picture, lambda: tf.zeros(stored_shape)), status

    def read_all(files: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _each_or(files, read, (tf.zeros(stored_shape), tf.constant(DAMAGED)))

    return tf.function(read_all, input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)


def unpack_files(packed: tf.Tensor, unpack: Map) -> tuple[tf.Tensor, tf.Tensor]:
    """Takes picture files out of what they come in.

    Args:
      packed: string (N,).
      unpack: takes one of these to the file in it; may fail.

    Returns:
      The files, empty where it failed, and status, "ok" or a reason, both string (N,).
    """

    def unpack_one(one: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return unpack(one), tf.constant(OK)

    return _each_or(packed, unpack_one, (tf.constant(b""), tf.constant(DAMAGED)))


def _each_or(
    values: tf.Tensor, function: Callable[[tf.Tensor], tuple[tf.Tensor, ...]], fallback: tuple[tf.Tensor, ...]
) -> tuple[tf.Tensor, ...]:
    """What a function makes of each string, or the fallback where it fails."""
    specs = tuple(tf.TensorSpec(value.shape, value.dtype) for value in fallback)
    text = tf.TensorSpec((), tf.string)
    traced = tf.function(
        function, input_signature=[text], autograph=False, experimental_attributes=PREPARED_AS_NEEDED
    ).get_concrete_function()

    def one(value: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # As Dataset.map, which takes no attributes.
        mapped = tf.raw_ops.MapDataset(
            input_dataset=tf.data.experimental.to_variant(tf.data.Dataset.from_tensors(value)),
            other_arguments=[],
            f=traced,
            output_types=[spec.dtype for spec in specs],
            output_shapes=[spec.shape for spec in specs],
        )
        made = tf.data.experimental.from_variant(mapped, specs).ignore_errors()
        return made.concatenate(tf.data.Dataset.from_tensors(fallback)).take(1).get_single_element()

    return tf.map_fn(one, values, fn_output_signature=specs, parallel_iterations=AT_ONCE)


def inspect_file(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Judges a file by its header.

    Args:
      file: scalar string.

    Returns:
      The file to decode, which is another one for PNG and GIF, and status, both scalar strings.

    Raises:
      tf.errors.InvalidArgumentError: the header is damaged.
    """

    def has(sign: bytes) -> tf.Tensor:
        return tf.strings.substr(file, 0, len(sign)) == sign

    def jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        status = jpeg_status(file)
        return file, tf.cond(
            status == OK, lambda: judge_size(*tf.unstack(tf.image.extract_jpeg_shape(file), 3)[:2]), lambda: status
        )

    def png() -> tuple[tf.Tensor, tf.Tensor]:
        status, height, width = png_header_status(file)
        status = tf.cond(status == OK, lambda: judge_size(height, width), lambda: status)
        needed, status = tf.cond(status == OK, lambda: png_essence(file), lambda: (file, status))
        deep = (status == OK) & (tf.strings.substr(file, 24, 1) == b"\x10")
        return needed, tf.cond(deep, lambda: deep_png_status(needed), lambda: status)

    def gif() -> tuple[tf.Tensor, tf.Tensor]:
        frame, height, width, status = first_frame(file)
        size_status = judge_size(height, width)
        return frame, tf.where(size_status == OK, status, size_status)

    def unknown() -> tuple[tf.Tensor, tf.Tensor]:
        names, places, signs = zip(*OTHER_SIGNS, strict=True)
        padded = tf.strings.join(
            [file, b"\0" * max(place + len(sign) for place, sign in zip(places, signs, strict=True))]
        )
        found = tf.strings.substr(tf.fill([len(signs)], padded), places, [len(sign) for sign in signs])
        fits = tf.concat([tf.equal(found, signs), [True]], axis=0)
        statuses = tf.constant([*map(other_kind, names), UNKNOWN_KIND])
        return file, tf.where(file == "", NO_BYTES, statuses[tf.argmax(tf.cast(fits, tf.int32))])

    def large() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant(b""), tf.constant(LARGE_FILE)

    is_large = tf.strings.length(file) > MAX_FILE_BYTES
    return tf.case(
        [(is_large, large), (has(JPEG_SIGN), jpeg), (has(PNG_SIGNATURE), png), (has(GIF_SIGN), gif)], unknown
    )


def deep_png_status(file: tf.Tensor) -> tf.Tensor:
    """Status of a PNG file of 16-bit samples, of which the high byte counts, scalar string."""
    picture = tf.io.decode_png(file, channels=3)
    return tf.where(tf.reduce_all(picture == picture[:1, :1]), ONE_COLOR, OK)


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
