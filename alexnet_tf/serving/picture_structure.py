"""A picture file's structure inside the graph, followed as the decoders follow it, before one of them gets the file.

The rules and limits are those of `tfrecords.picture_structure`, which gives the reasons. The loops over segments,
chunks and blocks have as many turns as the limits allow, each of some microseconds.
"""

import tensorflow as tf

from tfrecords import picture_limits as limits
from tfrecords.essence import MAX_PALETTE
from tfrecords.jpeg_structure import (
    COMPONENTS,
    DHT,
    EOI,
    FRAMES,
    MISSING_SCANS,
    PROGRESSIVE,
    RARE_CODES,
    RARE_JPEG,
    SMOOTHED,
    SOI,
    SOS,
    UNEVEN,
)
from tfrecords.picture_kinds import APPLE_PNG, DAMAGED, PNG_SIGNATURE
from tfrecords.png_structure import CHUNK_FRAME, HEADER_END, PALETTE, PNG_END, PNG_HEADER, SAMPLES

OK = "ok"
FRAME_HEAD = 21
"""Bytes of a frame's segment that count, behind the first of its marker: up to four components."""
PADDING = 600
"""Zeros behind a file's bytes, so that what a cut file announces can be looked up."""


def jpeg_status(file: tf.Tensor) -> tf.Tensor:
    """Whether a JPEG file is of a kind that is read, and can be decoded with bounded work; its size is not judged.

    Args:
      file: scalar string.

    Returns:
      Status, scalar string.
    """
    codes, size = padded_bytes(file)
    markers = jpeg_markers(codes, size)
    # Most files are fine even if everything counts that looks like a marker, in a thumbnail or a color profile, too.
    kinds = tf.cast(tf.gather(codes, markers + 1), tf.int32)
    scans = tf.reduce_sum(tf.cast(kinds == SOS, tf.int32))
    is_frame = (kinds >= min(FRAMES)) & (kinds <= max(FRAMES)) & (kinds != DHT)
    heads = tf.gather(codes, tf.boolean_mask(markers, is_frame)[:, None] + tf.range(1, 1 + FRAME_HEAD))
    heads = tf.concat([heads, tf.zeros((1, FRAME_HEAD), tf.uint8)], axis=0)
    frames, pixels = _frames(heads)
    scanned = 4 * tf.cast(scans, tf.int64) * tf.reduce_max(pixels)
    few = (tf.size(markers) <= limits.MAX_SEGMENTS) & (scans <= limits.MAX_SCANS) & (scanned <= limits.MAX_SCANNED)
    usual = tf.reduce_all(frames[:-1] == OK) & ~tf.reduce_any(heads[:, 0] == PROGRESSIVE)
    usual &= tf.strings.substr(file, -2, 2) == bytes([0xFF, EOI])
    return tf.cond(few & usual, lambda: tf.constant(OK), lambda: _followed_jpeg_status(codes, size, markers))


def _frames(heads: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """From the bytes behind the first of frames' markers, uint8 (N, FRAME_HEAD): status and pixels, int64 (N,).

    The status is that of tfrecords.jpeg_structure.rare_jpeg. What is too large in any case has 0 pixels here.
    """
    kind, _, _, precision, *size, count = tf.unstack(tf.cast(heads[:, :9], tf.int64), 9, axis=1)
    pixels = (256 * size[0] + size[1]) * (256 * size[2] + size[3])
    factors = tf.cast(heads[:, 10::3], tf.int32)  # of four components
    present = tf.range(4, dtype=tf.int64) < count[:, None]
    uneven = tf.zeros_like(count, tf.bool)
    for way in (factors // 16, factors % 16):
        way = tf.where(present, way, 1)
        largest = tf.reduce_max(way, axis=1, keepdims=True)
        uneven |= tf.reduce_any(tf.math.floormod(largest, tf.maximum(way, 1)) > 0, axis=1)
    sampled = tf.reduce_all(tf.where(present, tf.minimum(factors // 16, factors % 16), 1) > 0, axis=1)
    rare = tf.where(uneven & sampled, UNEVEN, "")
    usual_count = tf.reduce_any(count[:, None] == tf.constant(COMPONENTS, tf.int64), axis=1)
    rare = tf.where(usual_count, rare, tf.strings.join([tf.strings.as_string(count), " components"]))
    rare = tf.where(precision == 8, rare, tf.strings.join([tf.strings.as_string(precision), " bits a sample"]))
    of_code = tf.gather(tf.constant([RARE_CODES.get(code, "") for code in range(256)]), kind)
    rare = tf.where(of_code == "", rare, of_code)
    status = tf.where(rare == "", OK, tf.strings.join([RARE_JPEG, rare]))
    return status, tf.where(pixels <= limits.MAX_PIXELS, pixels, 0)


def _followed_jpeg_status(codes: tf.Tensor, size: tf.Tensor, markers: tf.Tensor) -> tf.Tensor:
    """As jpeg_status, by going from segment to segment."""

    def turn(at: tf.Tensor, segments: tf.Tensor, scans: tf.Tensor, *state: tf.Tensor) -> list:
        frame, status, pixels, scanned, left, _ = state
        found = tf.raw_ops.LowerBound(sorted_inputs=markers[None], values=tf.reshape(at, (1, 1)))[0, 0]
        place = markers[found]
        head = codes[place + 1 : place + 1 + FRAME_HEAD]
        code, high, low, first = tf.unstack(tf.cast(head[:4], tf.int32), 4)
        ended = (place >= size) | (code == EOI)
        behind = place + 2 + tf.where(code == SOI, 0, tf.maximum(256 * high + low, 2))
        is_scan = (code == SOS) & ~ended
        is_frame = tf.reduce_any(code == tf.constant(sorted(FRAMES))) & (tf.size(frame) == 0)
        statuses, sizes = _frames(head[None])
        components = tf.cast(tf.clip_by_value(first, 1, 4), tf.int64)
        return [
            tf.where(ended, size, tf.minimum(behind, size)),
            segments + tf.cast(~ended, tf.int32),
            scans + tf.cast(is_scan, tf.int32),
            tf.cond(is_frame, lambda: head, lambda: frame),
            tf.where(is_frame, tf.where((place + 10 > size) | (behind < place + 10), DAMAGED, statuses[0]), status),
            tf.where(is_frame, sizes[0], pixels),
            scanned + tf.where(is_scan, components * pixels, 0),
            tf.cond(
                is_scan & (tf.size(frame) > 0),
                lambda: _bits_left(left, frame, codes[place : place + PADDING]),
                lambda: left,
            ),
            ended & (place < size),
        ]

    def goes_on(at: tf.Tensor, segments: tf.Tensor, scans: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
        few = (segments <= limits.MAX_SEGMENTS) & (scans <= limits.MAX_SCANS) & (state[3] <= limits.MAX_SCANNED)
        return few & (at < size)

    none, nothing = tf.constant(0), tf.constant(0, tf.int64)
    state = [tf.zeros((0,), tf.uint8), tf.constant(OK), nothing, nothing, tf.ones((4, SMOOTHED), tf.int32)]
    state.append(tf.constant(False))
    start = [tf.minimum(2, size), none, none, *state]
    shapes = [value.shape for value in start]
    shapes[3] = tf.TensorShape((None,))
    _, segments, scans, frame, status, _, scanned, left, whole = tf.while_loop(
        goes_on, turn, start, shape_invariants=shapes, parallel_iterations=1
    )
    frame = tf.concat([frame, tf.zeros((FRAME_HEAD,), tf.uint8)], axis=0)
    lacking = tf.reduce_any(left[: tf.cast(frame[8], tf.int32)] > 0) & (frame[0] == PROGRESSIVE)
    return first_that_holds(
        (segments > limits.MAX_SEGMENTS, limits.MANY_SEGMENTS),
        (status != OK, status),
        (scans > limits.MAX_SCANS, limits.MANY_SCANS),
        (scanned > limits.MAX_SCANNED, limits.MUCH_SCANNED),
        (lacking, MISSING_SCANS),
        (~whole, DAMAGED),
    )


def _bits_left(left: tf.Tensor, frame: tf.Tensor, scan: tf.Tensor) -> tf.Tensor:
    """As tfrecords.jpeg_structure counts them: int32 (4, SMOOTHED), for each component of a frame.

    Args:
      left: before this scan.
      frame: uint8 (FRAME_HEAD,), behind the frame's 0xFF.
      scan: uint8, a scan's marker and what follows.
    """
    count = tf.cast(scan[4], tf.int32)
    listed = scan[5 : 5 + 2 * count : 2]
    here = tf.reduce_any(frame[9::3][:, None] == listed[None], axis=1)
    first, last, bits = (tf.cast(scan[5 + 2 * count + place], tf.int32) for place in range(3))
    number = tf.range(1, SMOOTHED + 1)
    brought = here[:, None] & ((number >= first) & (number <= last))[None]
    return tf.where(brought, bits % 16, left)


def jpeg_markers(codes: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The places of all that may be markers, as tfrecords.jpeg_structure.MARKER; last the file's end. int32 (N,)."""
    places = tf.cast(tf.where(codes[:-1] == 0xFF)[:, 0], tf.int32)  # one byte in 250: the rest is quick
    second = tf.gather(codes, places + 1)
    alone = (second >= 0xD0) & (second <= 0xD7)
    is_marker = (second >= 0xC0) & (second != 0xFF) & ~alone
    return tf.concat([tf.boolean_mask(places, is_marker), size[None]], axis=0)


def png_header_status(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Whether a PNG file begins with its header, and the size that this claims.

    Returns:
      Status, scalar string; height and width, int64 scalars.

    Raises:
      tf.errors.InvalidArgumentError: the header is missing or cut.
    """
    codes, size = padded_bytes(file)
    is_apples = tf.strings.substr(file, 12, 4) == b"CgBI"
    has_header = tf.strings.substr(file, len(PNG_SIGNATURE), len(PNG_HEADER)) == PNG_HEADER
    with tf.control_dependencies([tf.debugging.Assert(is_apples | (has_header & (size >= HEADER_END)), ["no header"])]):
        width, height = tf.unstack(big_endian(codes, tf.constant(16), 2), 2)
    return tf.where(is_apples, APPLE_PNG, OK), height, width


def png_essence(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Keeps a PNG file's header, the palette that its pixels need, and these.

    Args:
      file: scalar string, with a PNG file's signature and header.

    Returns:
      The file to decode, empty where this one ends too early or its palette makes no sense, and status, both scalar
      strings.
    """
    codes, size = padded_bytes(file)
    size = tf.cast(size, tf.int64)
    most = limits.MAX_CHUNKS + size // 1024
    palette, pixels = (int.from_bytes(kind, "big") for kind in (b"PLTE", b"IDAT"))
    needs_palette = codes[25] == PALETTE

    def turn(at: tf.Tensor, chunks: tf.Tensor, *state: tf.Tensor) -> list:
        start, data, palettes, palette_start, palette_size, sample, _ = state
        length, kind = tf.unstack(big_endian(codes, at, 2), 2)
        is_pixels = kind == pixels
        goes_on = is_pixels | (data == 0)
        is_palette = goes_on & (kind == palette) & needs_palette
        sampled = tf.where(is_pixels, tf.minimum(length, tf.maximum(limits.SPARE_PNG_DATA - data, 0)), 0)
        return [
            tf.where(goes_on, at + CHUNK_FRAME + length, at),
            chunks + 1,
            tf.where(is_pixels & (data == 0), at, start),
            data + tf.where(is_pixels, length, 0),
            palettes + tf.cast(is_palette, tf.int32),
            tf.where(is_palette, at, palette_start),
            tf.where(is_palette, length, palette_size),
            tf.cond(sampled > 0, lambda: sample + tf.strings.substr(file, at + 8, sampled), lambda: sample),
            goes_on,
        ]

    def goes_on(at: tf.Tensor, chunks: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
        return state[-1] & (at + CHUNK_FRAME <= size) & (chunks <= most)

    nothing, first, one = (tf.constant(number, tf.int64) for number in (0, HEADER_END, 1))
    state = [nothing, nothing, tf.constant(0), nothing, nothing, tf.constant(b""), tf.constant(True)]
    end, chunks, start, data, palettes, palette_start, palette_size, sample, _ = tf.while_loop(
        goes_on, turn, [first, one, *state], parallel_iterations=1
    )
    sound = (palettes == 1) & (palette_size >= 3) & (palette_size <= MAX_PALETTE) & (palette_size % 3 == 0)
    lacking = (end + CHUNK_FRAME > size) | (start == 0) | (needs_palette & ~sound)
    header = tf.strings.substr(file, 0, HEADER_END)
    kept = tf.strings.substr(file, palette_start, tf.where(needs_palette & sound, palette_size + CHUNK_FRAME, 0))
    whole = tf.strings.join([header, kept, tf.strings.substr(file, start, tf.maximum(end - start, 0)), PNG_END])
    room = _png_room(codes)
    much = tf.cond(
        data > 2 * limits.SPARE_PNG_DATA,
        lambda: (data > room + limits.SPARE_PNG_DATA) | (_inflated_size(sample) > room),
        lambda: data > room + limits.SPARE_PNG_DATA,
    )
    status = first_that_holds((chunks > most, limits.MANY_CHUNKS), (much, limits.MUCH_PNG_DATA))
    return tf.where(lacking, b"", whole), status


def big_endian(codes: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
    """Numbers of four bytes from a place on, int64 (count,)."""
    four = tf.reshape(tf.cast(codes[at : at + 4 * count], tf.int64), (count, 4))
    return tf.reduce_sum(four * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64), axis=1)


def _inflated_size(compressed: tf.Tensor) -> tf.Tensor:
    """Bytes behind the beginning of a zlib stream, int64."""
    return tf.cast(tf.strings.length(tf.io.decode_compressed(compressed, "ZLIB")), tf.int64)


def _png_room(codes: tf.Tensor) -> tf.Tensor:
    """As tfrecords.png_structure.png_room."""
    width, height = tf.unstack(big_endian(codes, tf.constant(16), 2), 2)
    depth, color = tf.unstack(tf.cast(codes[24:26], tf.int64), 2)
    samples = tf.constant([SAMPLES.get(number, 4) for number in range(7)], tf.int64)[tf.minimum(color, 6)]
    raw = height * (1 + (width * depth * samples + 7) // 8)
    return raw + raw // 8 + 64


def padded_bytes(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A file's bytes, uint8, with PADDING behind, and their number without it."""
    codes = tf.io.decode_raw(tf.strings.join([file, b"\0" * PADDING]), tf.uint8)
    return codes, tf.size(codes) - PADDING


def first_that_holds(*cases: tuple[tf.Tensor, str | tf.Tensor]) -> tf.Tensor:
    """The text of the first condition that holds, or "ok"."""
    status = tf.constant(OK)
    for condition, text in reversed(cases):
        status = tf.where(condition, text, status)
    return status
