"""A picture file's structure inside the graph, followed as the decoders follow it, before one of them is let at it.

The rules and limits are those of `tfrecords.picture_structure`, which gives the reasons. The loops over segments,
chunks and blocks have as many turns as the limits allow, each of some microseconds.
"""

import tensorflow as tf

from tfrecords import picture_limits as limits
from tfrecords.picture_structure import (
    CHUNK_FRAME,
    END,
    EOI,
    EXTENSION,
    FRAMES,
    IMAGE,
    NO_PALETTE,
    PNG_END,
    PNG_SIGNATURE,
    READ_FRAMES,
    SAMPLES,
    SOI,
    SOS,
)

OK = "ok"
PADDING = 32
"""Zeros behind a file's bytes, so that what a cut file announces can be looked up."""


def jpeg_status(file: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Whether a JPEG file can be decoded with bounded work.

    Args:
      file: scalar string.
      pixels: height times width, scalar int64, from 1.

    Returns:
      Status, scalar string.
    """
    codes, size = _bytes(file)
    markers = _jpeg_markers(codes, size)
    most_scanned = tf.cast(limits.MAX_SCANNED // pixels, tf.int32)  # components

    def turn(at: tf.Tensor, segments: tf.Tensor, scans: tf.Tensor, scanned: tf.Tensor, frame: tf.Tensor) -> list:
        found = tf.raw_ops.LowerBound(sorted_inputs=markers[None], values=tf.reshape(at, (1, 1)))[0, 0]
        place = markers[found]
        code, high, low, first = tf.unstack(tf.cast(codes[place + 1 : place + 5], tf.int32), 4)
        ended = (place >= size) | (code == EOI)
        behind = place + 2 + tf.where(code == SOI, 0, tf.maximum(256 * high + low, 2))
        is_scan = tf.cast((code == SOS) & ~ended, tf.int32)
        is_frame = tf.reduce_any(code == tf.constant(sorted(FRAMES))) & (frame == 0)
        return [
            tf.where(ended, size, tf.minimum(behind, size)),
            segments + tf.cast(~ended, tf.int32),
            scans + is_scan,
            scanned + is_scan * tf.clip_by_value(first, 1, 4),
            tf.where(is_frame, 256 * first + code, frame),  # `first` is its precision
        ]

    def goes_on(at: tf.Tensor, segments: tf.Tensor, scans: tf.Tensor, scanned: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        few = (segments <= limits.MAX_SEGMENTS) & (scans <= limits.MAX_SCANS) & (scanned <= most_scanned)
        return few & (at < size)

    nothing = tf.constant(0)
    at = tf.minimum(2, size)
    _, segments, scans, scanned, frame = tf.while_loop(
        goes_on, turn, [at, nothing, nothing, nothing, nothing], parallel_iterations=1
    )
    read = [256 * 8 + code for code in sorted(READ_FRAMES)]
    return _first_that_holds(
        (segments > limits.MAX_SEGMENTS, limits.MANY_SEGMENTS),
        ((frame != 0) & ~tf.reduce_any(frame == tf.constant(read)), limits.OTHER_JPEG),
        (scans > limits.MAX_SCANS, limits.MANY_SCANS),
        (scanned > most_scanned, limits.MUCH_SCANNED),
    )


def _jpeg_markers(codes: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The places of all that may be markers, as tfrecords.picture_structure.MARKER; last the file's end. int32 (N,)."""
    second = codes[1:]
    alone = (second >= 0xD0) & (second <= 0xD7)
    is_marker = (codes[:-1] == 0xFF) & (second >= 0xC0) & (second != 0xFF) & ~alone
    return tf.concat([tf.cast(tf.where(is_marker)[:, 0], tf.int32), size[None]], axis=0)


def png_essence(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Keeps a PNG file's header, palette, transparency and pixels.

    Args:
      file: scalar string, with a PNG file's signature and header.

    Returns:
      The file to decode, empty where this one ends too early, and status, both scalar strings.
    """
    codes, size = _bytes(file)
    size = tf.cast(size, tf.int64)
    most = limits.MAX_CHUNKS + size // 1024
    palette, transparency, pixels = (int.from_bytes(kind, "big") for kind in (b"PLTE", b"tRNS", b"IDAT"))

    def turn(at: tf.Tensor, chunks: tf.Tensor, *state: tf.Tensor) -> list:
        start, data, kept, _ = state
        length, kind = tf.unstack(_big_endian(codes, at, 2), 2)
        behind = at + CHUNK_FRAME + length
        is_pixels = kind == pixels
        goes_on = is_pixels | (data == 0)
        keeps = goes_on & ((kind == palette) | (kind == transparency))
        chunk = tf.strings.substr(file, at, tf.where(keeps, tf.minimum(behind, size) - at, 0))
        return [
            tf.where(goes_on, behind, at),
            chunks + 1,
            tf.where(is_pixels & (data == 0), at, start),
            data + tf.where(is_pixels, length, 0),
            tf.strings.join([kept, chunk]),
            goes_on,
        ]

    def goes_on(at: tf.Tensor, chunks: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
        return state[-1] & (at + CHUNK_FRAME <= size) & (chunks <= most)

    nothing, first = tf.constant(0, tf.int64), tf.constant(len(PNG_SIGNATURE), tf.int64)
    end, chunks, start, data, kept, _ = tf.while_loop(
        goes_on, turn, [first, nothing, nothing, nothing, tf.constant(b""), tf.constant(True)], parallel_iterations=1
    )
    header = tf.strings.substr(file, 0, len(PNG_SIGNATURE) + CHUNK_FRAME + 13)
    whole = tf.strings.join([header, kept, tf.strings.substr(file, start, tf.maximum(end - start, 0)), PNG_END])
    status = _first_that_holds(
        (chunks > most, limits.MANY_CHUNKS), (data > _most_png_data(codes), limits.MUCH_PNG_DATA)
    )
    return tf.where((end + CHUNK_FRAME > size) | (start == 0), b"", whole), status


def _big_endian(codes: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
    """Numbers of four bytes from a place on, int64 (count,)."""
    four = tf.reshape(tf.cast(codes[at : at + 4 * count], tf.int64), (count, 4))
    return tf.reduce_sum(four * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64), axis=1)


def _most_png_data(codes: tf.Tensor) -> tf.Tensor:
    """As tfrecords.picture_structure.max_png_data."""
    width, height = tf.unstack(_big_endian(codes, tf.constant(16), 2), 2)
    depth, color = tf.unstack(tf.cast(codes[24:26], tf.int64), 2)
    samples = tf.constant([SAMPLES.get(number, 4) for number in range(7)], tf.int64)[tf.minimum(color, 6)]
    raw = height * (1 + (width * depth * samples + 7) // 8)
    return raw + raw // 8 + limits.SPARE_PNG_DATA


def first_frame(gif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Takes the first frame out of a GIF file, as a picture of its own size and without transparency.

    TensorFlow would decode all frames, at the size that each claims.

    Returns:
      The file to decode, scalar string; height and width of the frame, int32 scalars; status, scalar string.

    Raises:
      tf.errors.InvalidArgumentError: the file ends before its first frame does, or its blocks make no sense.
    """
    codes = tf.io.decode_raw(gif, tf.uint8)
    screen_flags = _byte(codes, 10)
    palette_end = 13 + _color_table(screen_flags)
    place, blocks = tf.while_loop(
        lambda at, blocks: (blocks <= limits.MAX_BLOCKS) & (_byte(codes, at) == EXTENSION),
        lambda at, blocks: _behind_data(codes, at + 2, blocks + 1),
        [palette_end, tf.constant(0)],
        parallel_iterations=1,
    )

    def refused() -> tuple[tf.Tensor, ...]:
        return gif, tf.constant(1), tf.constant(1), tf.constant(limits.MANY_BLOCKS)

    def frame() -> tuple[tf.Tensor, ...]:
        with tf.control_dependencies([tf.debugging.assert_equal(_byte(codes, place), IMAGE)]):
            flags = _byte(codes, place + 9)
        end, all_blocks = _behind_data(codes, place + 10 + _color_table(flags) + 1, blocks)
        claimed = tf.strings.substr(gif, place + 5, 4)
        screen = [b"GIF89a", claimed, tf.strings.substr(gif, 10, palette_end - 10)]
        image = [bytes([IMAGE, 0, 0, 0, 0]), claimed, tf.strings.substr(gif, place + 9, end - place - 9)]
        status = _first_that_holds(
            (all_blocks > limits.MAX_BLOCKS, limits.MANY_BLOCKS), ((flags < 128) & (screen_flags < 128), NO_PALETTE)
        )
        width, height = (_byte(codes, place + at) + 256 * _byte(codes, place + at + 1) for at in (5, 7))
        return tf.strings.join([*screen, *image, bytes([END])]), height, width, status

    return tf.cond(blocks > limits.MAX_BLOCKS, refused, frame)


def _behind_data(codes: tf.Tensor, at: tf.Tensor, blocks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Passes over a GIF file's data: pieces of up to 255 bytes, each after its length; 0 ends them.

    Returns:
      The place behind, and how many unequal blocks there have been by now.
    """

    def turn(at: tf.Tensor, blocks: tf.Tensor) -> list:
        step = _byte(codes, at) + 1
        lengths = codes[at : tf.minimum(at + limits.EQUAL_BLOCKS * step, tf.size(codes)) : step]
        equal = tf.cast(lengths == lengths[0], tf.int32)
        run = tf.where(tf.reduce_min(equal) == 1, tf.size(equal), tf.argmin(equal, output_type=tf.int32))
        return [at + tf.reshape(run, ()) * step, blocks + 1]

    at, blocks = tf.while_loop(
        lambda at, blocks: (blocks <= limits.MAX_BLOCKS) & (_byte(codes, at) > 0),
        turn,
        [at, blocks],
        parallel_iterations=1,
    )
    return at + 1, blocks


def _color_table(flags: tf.Tensor) -> tf.Tensor:
    """As tfrecords.picture_structure.color_table."""
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)


def _byte(codes: tf.Tensor, place: tf.Tensor | int) -> tf.Tensor:
    return tf.cast(codes[place], tf.int32)


def _bytes(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A file's bytes, uint8, with PADDING behind, and their number without it."""
    codes = tf.io.decode_raw(tf.strings.join([file, b"\0" * PADDING]), tf.uint8)
    return codes, tf.size(codes) - PADDING


def _first_that_holds(*cases: tuple[tf.Tensor, str]) -> tf.Tensor:
    """The text of the first condition that holds, or "ok"."""
    status = tf.constant(OK)
    for condition, text in reversed(cases):
        status = tf.where(condition, text, status)
    return status
