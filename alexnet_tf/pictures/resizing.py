"""A picture of any size, brought to the size of the stored ones in TensorFlow's graph, as the converter does it."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfrecords.exif import MIRRORED, SWAPPED, UPSIDE_DOWN

LUMINANCE = (19595 / 2**16, 38470 / 2**16, 7471 / 2**16)
"""The weights of red, green and blue in gray: ITU-R BT.601 in the fractions of Pillow, which the converter uses."""

RADIUS = 2.0
"""How far the cubic reaches, in pixels of the smaller of the two pictures."""
BLOCK = 8
"""Lines whose weights are one matrix; that of all lines would be mostly zeros."""
VALUES_AT_ONCE = 2**21
"""Numbers of a picture that are looked up together: all of most photographs, for turns of a loop take time, too."""
WEIGHT_BITS, MOST_BITS = 15, 22
"""As in the converter's resizer: weights are integers of so many bits, over a denominator of at most 2**21."""


def picture_from_file(
    encoded: tf.Tensor, stored_shape: tuple[int, int, int], orientation: tf.Tensor | None = None
) -> tf.Tensor:
    """Any picture file's bytes, brought to the size and colors of the stored ones.

    Args:
      encoded: scalar string, a JPEG, PNG or one-frame GIF file of any size.
      stored_shape: height, width and channels (1 or 3) of the stored ones.
      orientation: its EXIF orientation, int32 scalar, by which it is turned first; None takes the pixels as stored.

    Returns:
      float32 of that shape, whole numbers from 0 to 255.
    """
    # decode_jpeg takes PNG and GIF as well, and unlike decode_image lets the exact transform be asked for.
    picture = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return picture_from_pixels(picture, stored_shape, orientation)


def picture_from_pixels(
    picture: tf.Tensor, stored_shape: tuple[int, int, int], orientation: tf.Tensor | None = None
) -> tf.Tensor:
    """A picture of any size, brought to the size of the stored ones as the converter does it (paper section 2).

    Shorter side to theirs by antialiased bicubic resizing, then the central square; without the records' JPEG coding.
    The steps are those of tfrecords.pictures' resizer, fixed-point weights and rounding between the passes included, so
    that the same pixels give the same result: tf.image.resize would differ by 30 levels beside hard edges, where the
    cubic reaches beyond 0 and 255 between its passes.

    Args:
      picture: (height, width, 3), or (height, width, 1) where the stored ones are gray; uint8 or float32 on the 0-255
        scale.
      stored_shape: height, width and channels (1 or 3) of the stored ones; gray is made of colors last, as by the
        converter.
      orientation: as for `picture_from_file`.

    Returns:
      float32 of that shape, whole numbers from 0 to 255.
    """
    side, _, channels = stored_shape
    shape = tf.shape(picture)
    part = _parts_of(picture)
    if orientation is not None:
        shape = tf.where(_is_one_of(SWAPPED, orientation), tf.gather(shape, [1, 0, 2]), shape)
        part = _upright_parts_of(picture, shape, orientation)
    short = tf.cast(tf.minimum(shape[0], shape[1]), tf.float64)
    down, across = _weights(shape[0], short, side), _weights(shape[1], short, side)
    left, right = across.starts[0], across.starts[-1] + tf.shape(across.weights)[2]
    own = picture.shape[-1]
    lines = tf.transpose(_resized(part, own, down, left, right)[:side], (1, 0, 2))
    columns = _resized(_parts_of(lines), own, across._replace(starts=across.starts - left), 0, side)
    resized = tf.transpose(columns, (1, 0, 2))[:side, :side]
    if own == channels:
        return resized
    return tf.round(tf.reduce_sum(resized * LUMINANCE, axis=-1, keepdims=True))


class _Weights(NamedTuple):
    """How the central lines come from those of a picture, in blocks of BLOCK."""

    starts: tf.Tensor
    """The first line that each block needs, int32 (blocks,)."""
    weights: tf.Tensor
    """The weights of the lines from there on, float32 (blocks, BLOCK, lines), whole numbers over a power of two."""


Part = Callable[[tf.Tensor, tf.Tensor, "tf.Tensor | int", "tf.Tensor | int"], tf.Tensor]
"""Cuts out of a picture what is from line `top` to `bottom` and from column `left` to `right`, float32."""


def _parts_of(picture: tf.Tensor) -> Part:
    return lambda top, bottom, left, right: tf.cast(picture[top:bottom, left:right], tf.float32)


def _upright_parts_of(picture: tf.Tensor, shape: tf.Tensor, orientation: tf.Tensor) -> Part:
    """Cuts parts out of a picture as if it had been turned upright; turned as a whole it would be there twice.

    Args:
      picture: as it is stored.
      shape: when it is upright.
      orientation: EXIF's, int32 scalar.
    """
    is_swapped, is_mirrored, is_upside_down = (
        _is_one_of(those, orientation) for those in (SWAPPED, MIRRORED, UPSIDE_DOWN)
    )

    def turned(top: tf.Tensor, bottom: tf.Tensor, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        first = tf.where(is_upside_down, shape[0] - bottom, top)
        lines = slice(first, first + bottom - top)
        first = tf.where(is_mirrored, shape[1] - right, left)
        columns = slice(first, first + right - left)
        stored = tf.cond(is_swapped, lambda: picture[columns, lines], lambda: picture[lines, columns])
        order = tf.where(is_swapped, [1, 0, 2], [0, 1, 2])
        swapped = tf.transpose(tf.cast(stored, tf.float32), order)
        return tf.raw_ops.Reverse(tensor=swapped, dims=tf.stack([is_upside_down, is_mirrored, False]))

    def part(*place: tf.Tensor) -> tf.Tensor:
        # Most pictures are upright, and these operations take as long where they turn nothing.
        is_turned = is_swapped | is_mirrored | is_upside_down
        return tf.cond(is_turned, lambda: turned(*place), lambda: _parts_of(picture)(*place))

    return part


def _is_one_of(those: tuple[int, ...], orientation: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(orientation == tf.constant(those))


def _resized(part: Part, channels: int, how: _Weights, left: tf.Tensor | int, right: tf.Tensor | int) -> tf.Tensor:
    """Resizes along the first axis, takes the central lines, and of the second axis what is from `left` to `right`.

    From (length, n, channels) to float32 (side, right - left, channels).
    """
    count = right - left
    blocks, needed = how.starts.shape[0], tf.shape(how.weights)[2]
    together = tf.clip_by_value(VALUES_AT_ONCE // (needed * count * channels), 1, blocks)

    def several(first: tf.Tensor) -> tf.Tensor:
        which = tf.minimum(first + tf.range(together), blocks - 1)
        starts = tf.gather(how.starts, which)
        lines = tf.reshape(part(starts[0], starts[-1] + needed, left, right), (-1, count * channels))
        of_blocks = tf.gather(lines, starts[:, None] - starts[0] + tf.range(needed))
        return tf.reshape(tf.matmul(tf.gather(how.weights, which), of_blocks), (-1, count * channels))

    # Some blocks at a time, so that only a part of a large picture is there as floating-point numbers.
    spec = tf.TensorSpec((None, None), tf.float32)
    sums = tf.map_fn(several, tf.range(0, blocks, together), fn_output_signature=spec, parallel_iterations=1)
    return tf.clip_by_value(tf.floor(tf.reshape(sums, (-1, count, channels)) + 0.5), 0.0, 255.0)


def _weights(length: tf.Tensor, short: tf.Tensor, side: int) -> _Weights:
    """The weights along a side of a picture.

    Args:
      length: of the side, int32 scalar.
      short: the shorter side, float64 scalar.
      side: what this becomes.
    """
    exact = tf.cast(length, tf.float64)
    target = tf.round(exact * (side / short))
    scale = exact / target
    reach = tf.maximum(scale, 1.0)  # when it shrinks, the cubic is widened against aliasing
    corner = tf.math.floordiv(target - side, 2.0)
    lines = tf.minimum(tf.range(-(-side // BLOCK) * BLOCK), side - 1)  # the last block is filled with the last line
    centers = (tf.reshape(tf.cast(lines, tf.float64), (-1, BLOCK)) + corner + 0.5) * scale
    needed = tf.cast(tf.math.ceil((BLOCK - 1) * scale + 2 * RADIUS * reach), tf.int32) + 2
    needed = tf.minimum(needed, length)
    starts = tf.cast(tf.floor(centers[:, 0] - RADIUS * reach), tf.int32)
    starts = tf.clip_by_value(starts, 0, length - needed)
    places = tf.cast(starts[:, None] + tf.range(needed), tf.float64) + 0.5
    weights = _cubic((places[:, None, :] - centers[:, :, None]) / reach)
    weights /= tf.reduce_sum(weights, axis=2, keepdims=True)
    powers = tf.constant([2.0**bits for bits in range(1, MOST_BITS)], tf.float64)
    beyond = tf.round(tf.reduce_max(weights) * powers) >= 2**WEIGHT_BITS
    parts = tf.reduce_max(tf.where(beyond, tf.constant(0.0, tf.float64), powers))
    return _Weights(starts, tf.cast(tf.round(weights * parts) / parts, tf.float32))


def _cubic(x: tf.Tensor) -> tf.Tensor:
    """Catmull and Rom's, which is Keys' with a = -1/2."""
    x = tf.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return tf.where(x < 1, near, tf.where(x < RADIUS, far, tf.zeros_like(x)))
