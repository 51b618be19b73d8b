"""A picture file's EXIF orientation inside the graph: the rules are those of `tfrecords.exif`, found where it looks.

Files come here once their structure is judged, so the loops have as many turns as the limits allow.
"""

import tensorflow as tf

from alexnet_tf.serving.picture_structure import big_endian, jpeg_markers, padded_bytes
from tfrecords.exif import ENTRY, EXIF, ORDERS, ORIENTATION, SHORT, TURNED, UPRIGHT
from tfrecords.jpeg_structure import APP1, EOI, SOI, SOS
from tfrecords.picture_kinds import JPEG_SIGN, PNG_SIGNATURE
from tfrecords.png_structure import CHUNK_FRAME, HEADER_END


def file_orientation(file: tf.Tensor) -> tf.Tensor:
    """How the pixels of a JPEG or PNG file are to be turned.

    Args:
      file: scalar string, a picture file of a sound structure, of any kind.

    Returns:
      int32 scalar, 1 to 8; 1, upright, where the file does not say.
    """

    def begins(sign: bytes) -> tf.Tensor:
        return tf.strings.substr(file, 0, len(sign)) == sign

    data = tf.case(
        [(begins(JPEG_SIGN), lambda: _in_jpeg(file)), (begins(PNG_SIGNATURE), lambda: _in_png(file))],
        lambda: tf.constant(b""),
    )
    return tf.cond(data == b"", lambda: tf.constant(UPRIGHT), lambda: exif_orientation(data))


def _in_jpeg(file: tf.Tensor) -> tf.Tensor:
    """The Exif data before the first scan, scalar string, empty where there are none."""
    codes, size = padded_bytes(file)
    markers = jpeg_markers(codes, size)
    wanted = tf.constant(list(bytes([APP1]) + EXIF), tf.uint8)

    def turn(at: tf.Tensor, *_: tf.Tensor) -> list:
        place = markers[tf.raw_ops.LowerBound(sorted_inputs=markers[None], values=tf.reshape(at, (1, 1)))[0, 0]]
        code, high, low = tf.unstack(tf.cast(codes[place + 1 : place + 4], tf.int32), 3)
        behind = tf.minimum(place + 2 + tf.where(code == SOI, 0, tf.maximum(256 * high + low, 2)), size)
        head = tf.concat([codes[place + 1 : place + 2], codes[place + 4 : place + 4 + len(EXIF)]], axis=0)
        found = tf.reduce_all(head == wanted)
        goes_on = (place < size) & (code != EOI) & (code != SOS) & ~found
        return [behind, goes_on, tf.where(found, place + 4 + len(EXIF), behind)]

    start = [tf.minimum(2, size), tf.constant(True), size]
    end, _, begin = tf.while_loop(lambda _, goes_on, __: goes_on, turn, start, parallel_iterations=1)
    return tf.strings.substr(file, tf.minimum(begin, size), tf.maximum(end - begin, 0))


def _in_png(file: tf.Tensor) -> tf.Tensor:
    """The last Exif data before the pixels, scalar string, empty where there are none."""
    codes, size = padded_bytes(file)
    size = tf.cast(size, tf.int64)
    wanted, pixels = (int.from_bytes(kind, "big") for kind in (b"eXIf", b"IDAT"))

    def turn(at: tf.Tensor, _: tf.Tensor, *found: tf.Tensor) -> list:
        length, kind = tf.unstack(big_endian(codes, at, 2), 2)
        places = [tf.where(kind == wanted, new, old) for new, old in zip((at + 8, length), found, strict=True)]
        return [at + CHUNK_FRAME + length, kind != pixels, *places]

    nothing = tf.constant(0, tf.int64)
    start = [tf.constant(HEADER_END, tf.int64), tf.constant(True), nothing, nothing]
    *_, begin, length = tf.while_loop(
        lambda at, goes_on, *_: goes_on & (at + CHUNK_FRAME <= size), turn, start, parallel_iterations=1
    )
    return tf.strings.substr(file, begin, length)


def exif_orientation(exif: tf.Tensor) -> tf.Tensor:
    """As tfrecords.exif.exif_orientation: of a scalar string an int32 scalar."""
    prefixed = tf.strings.substr(exif, 0, len(EXIF)) == EXIF
    exif = tf.strings.substr(exif, tf.where(prefixed, len(EXIF), 0), tf.strings.length(exif))
    size = tf.cast(tf.strings.length(exif), tf.int64)
    order = tf.strings.substr(exif, 0, 4)
    low_first = order == next(sign for sign, order in ORDERS.items() if order == "<")

    def number(codes: tf.Tensor) -> tf.Tensor:
        """From uint8 (..., n) the number that these bytes make, int64 (...)."""
        powers = [256**place for place in range(codes.shape[-1])]
        powers = tf.where(low_first, tf.constant(powers, tf.int64), tf.constant(powers[::-1], tf.int64))
        return tf.reduce_sum(tf.cast(codes, tf.int64) * powers, axis=-1)

    def piece(at: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
        """The bytes from a place on, with zeros behind the end, where at most ENTRY are missing."""
        found = tf.strings.substr(exif, tf.minimum(tf.cast(at, tf.int64), size), tf.cast(count, tf.int64))
        return tf.io.decode_raw(tf.strings.join([found, bytes(ENTRY)]), tf.uint8)[:count]

    directory = number(tf.ensure_shape(piece(4, 4), (4,)))
    listed = number(tf.ensure_shape(piece(directory, 2), (2,)))
    entries = tf.clip_by_value((size - directory) // ENTRY, 0, listed)  # the last two bytes of the last may be missing
    rows = tf.reshape(piece(directory + 2, ENTRY * entries), (-1, ENTRY))
    found = tf.concat([number(rows[:, :2]) == ORIENTATION, [True]], axis=0)
    row = tf.concat([rows, tf.zeros((1, ENTRY), tf.uint8)], axis=0)[tf.argmax(found)]
    value = number(row[8:10])
    told = (number(row[2:4]) == SHORT) & (number(row[4:8]) == 1) & (value >= min(TURNED)) & (value <= max(TURNED))
    told &= tf.reduce_any(order == tf.constant(list(ORDERS))) & (directory + 2 <= size)
    return tf.where(told, tf.cast(value, tf.int32), UPRIGHT)
