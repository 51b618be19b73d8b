"""A GIF file's structure inside the graph; as `picture_structure`, of which it is a part."""

import tensorflow as tf

from alexnet_tf.serving.picture_structure import OK, first_that_holds
from tfrecords import picture_limits as limits
from tfrecords.essence import MAX_PALETTE
from tfrecords.gif_structure import CODE_SIZES, END, EXTENSION, FULL_PALETTE, IMAGE, INTERLACED, NO_PALETTE
from tfrecords.lzw_codes import AT_ONCE, LONGEST, MANY_TABLES, MAX_TABLES, MOST_CODES
from tfrecords.picture_kinds import DAMAGED

POWERS = [1 << bits for bits in range(LONGEST + 1)]


def first_frame(gif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Takes the first frame out of a GIF file, as a picture of its own size, without transparency, with 256 colors.

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
        data_start = place + 10 + _color_table(flags)
        end, all_blocks, content = _content(codes, data_start + 1, blocks)
        claimed = tf.strings.substr(gif, place + 5, 4)
        own, shared = (
            tf.strings.substr(gif, start, end - start) for start, end in ((place + 10, data_start), (13, palette_end))
        )
        colors = tf.strings.join([tf.where(flags >= 128, own, shared), b"\0" * MAX_PALETTE])
        screen = [b"GIF89a", claimed, bytes([0x80 | FULL_PALETTE, 0, 0]), tf.strings.substr(colors, 0, MAX_PALETTE)]
        interlaced = tf.where(flags & INTERLACED > 0, bytes([INTERLACED]), b"\0")
        image = [bytes([IMAGE, 0, 0, 0, 0]), claimed, interlaced, tf.strings.substr(gif, data_start, end - data_start)]
        size = _byte(codes, data_start)
        known_size = (size >= CODE_SIZES.start) & (size < CODE_SIZES.stop)
        few = all_blocks <= limits.MAX_BLOCKS
        of_codes = tf.cond(known_size & few, lambda: _codes_status(content, size), lambda: tf.constant(OK))
        status = first_that_holds(
            (~few, limits.MANY_BLOCKS),
            ((flags < 128) & (screen_flags < 128), NO_PALETTE),
            (~known_size, DAMAGED),
            (of_codes != OK, of_codes),
        )
        width, height = (_byte(codes, place + at) + 256 * _byte(codes, place + at + 1) for at in (5, 7))
        return tf.strings.join([*screen, *image, bytes([END])]), height, width, status

    return tf.cond(blocks > limits.MAX_BLOCKS, refused, frame)


def _behind_data(codes: tf.Tensor, at: tf.Tensor, blocks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Skips a GIF file's data: pieces of up to 255 bytes, each after its length; 0 ends them.

    Returns:
      The place behind, and how many unequal blocks there have been by now.
    """

    def turn(at: tf.Tensor, blocks: tf.Tensor) -> list:
        step, run = _equal_blocks(codes, at)
        return [at + run * step, blocks + 1]

    at, blocks = tf.while_loop(
        lambda at, blocks: (blocks <= limits.MAX_BLOCKS) & (_byte(codes, at) > 0),
        turn,
        [at, blocks],
        parallel_iterations=1,
    )
    return at + 1, blocks


def _content(codes: tf.Tensor, at: tf.Tensor, blocks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """As `_behind_data`, and the pieces without their lengths, uint8 (N,).

    Raises:
      tf.errors.InvalidArgumentError: the file ends in one of them.
    """

    def turn(at: tf.Tensor, blocks: tf.Tensor, index: tf.Tensor, pieces: tf.TensorArray) -> list:
        step, run = _equal_blocks(codes, at)
        whole = tf.reshape(codes[at : at + run * step], (run, step))
        return [at + run * step, blocks + 1, index + 1, pieces.write(index, tf.reshape(whole[:, 1:], (-1,)))]

    pieces = tf.TensorArray(tf.uint8, 1, dynamic_size=True, infer_shape=False, element_shape=(None,))
    pieces = pieces.write(0, tf.zeros((0,), tf.uint8))
    at, blocks, _, pieces = tf.while_loop(
        lambda at, blocks, *_: (blocks <= limits.MAX_BLOCKS) & (_byte(codes, at) > 0),
        turn,
        [at, blocks, tf.constant(1), pieces],
        parallel_iterations=1,
    )
    return at + 1, blocks, pieces.concat()


def _equal_blocks(codes: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Bytes of a block with its length, and how many of this length follow each other, int32 scalars."""
    step = _byte(codes, at) + 1
    lengths = codes[at : tf.minimum(at + limits.EQUAL_BLOCKS * step, tf.size(codes)) : step]
    equal = tf.cast(lengths == lengths[0], tf.int32)
    run = tf.where(tf.reduce_min(equal) == 1, tf.size(equal), tf.argmin(equal, output_type=tf.int32))
    return step, tf.reshape(run, ())


def _codes_status(content: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Status by what tfrecords.lzw_codes.sound_codes finds, scalar string."""
    total = 8 * tf.size(content, tf.int64)
    padded = tf.cast(tf.concat([content, tf.zeros((3,), tf.uint8)], axis=0), tf.int32)
    clear = tf.bitwise.left_shift(1, size)

    def turn(at: tf.Tensor, number: tf.Tensor, tables: tf.Tensor, _: tf.Tensor) -> list:
        numbers = number + tf.range(AT_ONCE)
        known = tf.minimum(clear + 2 + tf.maximum(numbers - 1, 0), MOST_CODES)
        lengths = tf.reduce_sum(tf.cast(known[:, None] >= POWERS, tf.int32), axis=1)  # bits of these numbers
        lengths = tf.clip_by_value(lengths, size + 1, LONGEST)
        ends = at + tf.cast(tf.cumsum(lengths), tf.int64)
        inside = ends <= total
        starts = tf.where(inside, ends - tf.cast(lengths, tf.int64), 0)
        three = [tf.gather(padded, starts // 8 + place) * (1 << 8 * place) for place in range(3)]
        found = tf.bitwise.right_shift(tf.add_n(three), tf.cast(starts % 8, tf.int32))
        found = tf.bitwise.bitwise_and(found, tf.bitwise.left_shift(1, lengths) - 1)
        ending = ~inside | (found == clear + 1)
        wrong = (found > tf.where(numbers == 0, clear, known)) & (known < MOST_CODES)
        stops = ending | wrong | (found == clear)
        first = tf.argmax(tf.cast(stops, tf.int32), output_type=tf.int32)
        goes_on, restarts = ~stops[first], ~ending[first] & (found[first] == clear)
        verdict = tf.where(goes_on | restarts, "", tf.where(ending[first], OK, DAMAGED))
        return [
            tf.where(goes_on, ends[-1], ends[first]),
            tf.where(goes_on, tf.minimum(number + AT_ONCE, MOST_CODES), 0),
            tables + tf.cast(restarts, tf.int32),
            verdict,
        ]

    start = [tf.constant(0, tf.int64), tf.constant(0), tf.constant(1), tf.constant("")]
    *_, verdict = tf.while_loop(
        lambda at, number, tables, verdict: (verdict == "") & (tables <= MAX_TABLES), turn, start, parallel_iterations=1
    )
    return tf.where(verdict == "", MANY_TABLES, verdict)


def _color_table(flags: tf.Tensor) -> tf.Tensor:
    """As tfrecords.gif_structure.color_table."""
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)


def _byte(codes: tf.Tensor, place: tf.Tensor | int) -> tf.Tensor:
    return tf.cast(codes[place], tf.int32)
