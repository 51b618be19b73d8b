"""From records to batches: read -> parse -> decode the crop -> mirror -> less the mean -> color noise -> batch.

Pixels stay on the 0-255 scale and are never divided by 255; for torchvision's net alone they are scaled, at the end.
All randomness is a function of (seed, epoch, position of the image in its epoch), so any step of any run can be drawn
again; only the order of the records passes through a shuffle buffer, itself seeded by (seed, epoch).

Where the recipes differ (crops, mean, noise) is stated in `presets.Augmentation`.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from alexnet_tf.errors import UserError
from alexnet_tf.presets import STORED_SIZE, Augmentation
from tfrecords.manifest import Manifest, shard_paths
from tfrecords.schema import KEY_IMAGE, KEY_LABEL, parse_example
from tfrecords.statistics import Statistics

READ_AHEAD = 1024
"""Records, still encoded: about 25 MB."""


def training_batches(
    data_dir: Path,
    manifest: Manifest,
    statistics: Statistics,
    augment: Augmentation,
    *,
    batch_size: int,
    seed: int,
    shuffle_buffer: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """An endless stream of training batches, beginning with that of step `first_step` (counted from 0).

    Epochs follow each other without a gap: a batch may hold the last images of one epoch and the first of the next, so
    every image is seen equally often and no batch is smaller than the others.

    Yields:
      (images float32 (batch_size, crop_size, crop_size, 3), labels int64 (batch_size,)).
    """
    files = _files(data_dir, manifest, "train")

    def prepare(epoch: tf.Tensor, position: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = parse_example(record)
        draws = draw_augmentation(augment, statistics, seed, epoch, position)
        return training_image(example[KEY_IMAGE], draws, augment, statistics, manifest.encoding), example[KEY_LABEL]

    first = divmod(first_step * batch_size, manifest.splits["train"].records)
    records = ordered_records(files, manifest.splits["train"].records, seed, shuffle_buffer, *first)
    # Read ahead, so that the shuffle buffer of the next epoch fills while the last images of this one are decoded.
    images = records.prefetch(READ_AHEAD).map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return images.batch(batch_size, drop_remainder=True).prefetch(2)


def ordered_records(
    files: list[str], per_epoch: int, seed: int, shuffle_buffer: int, first_epoch: int, first_position: int
) -> tf.data.Dataset:
    """Epoch after epoch without end, from a place in one of them on; each has an order of its own.

    The order depends on the seed, the epoch and the number of records in each file, not on what they hold.

    Yields:
      (epoch int64, position in it int64, the record as stored), all scalars.
    """

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        skipped = tf.where(epoch == first_epoch, tf.constant(first_position, tf.int64), 0)
        records = _shuffled_records(files, seed, epoch, shuffle_buffer)
        positions = tf.data.Dataset.range(per_epoch)
        return tf.data.Dataset.zip((positions, records)).skip(skipped).map(lambda p, record: (epoch, p, record))

    return tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(one_epoch)


def evaluation_batches(
    data_dir: Path,
    manifest: Manifest,
    statistics: Statistics,
    augment: Augmentation,
    *,
    split: str,
    views: int,
    batch_size: int,
) -> tf.data.Dataset:
    """Every image of a split once, in stored order; the last batch may be smaller.

    Yields:
      (images float32 (n, views, crop_size, crop_size, 3), labels int64 (n,)) with views 1 (the center) or 10.
    """
    files = _files(data_dir, manifest, split)

    def prepare(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = parse_example(record)
        picture = decode_picture(example[KEY_IMAGE], manifest.encoding)
        return evaluation_views(picture, views, augment, statistics), example[KEY_LABEL]

    images = tf.data.TFRecordDataset(files).map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return images.batch(batch_size).prefetch(2)


def evaluation_files(data_dir: Path, manifest: Manifest, *, split: str, batch_size: int) -> tf.data.Dataset:
    """Every picture of a split once, in stored order, as a file that decodes to exactly what is stored.

    Yields:
      (files string (n,), labels int64 (n,)).
    """

    def file(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = parse_example(record)
        if manifest.encoding == "jpeg":
            return example[KEY_IMAGE], example[KEY_LABEL]
        return tf.io.encode_png(decode_picture(example[KEY_IMAGE], manifest.encoding)), example[KEY_LABEL]

    return tf.data.TFRecordDataset(_files(data_dir, manifest, split)).map(file).batch(batch_size).prefetch(1)


def _files(data_dir: Path, manifest: Manifest, split: str) -> list[str]:
    if manifest.size != STORED_SIZE:
        raise UserError(
            f"{data_dir} holds pictures of {manifest.size}x{manifest.size}, AlexNet takes {STORED_SIZE}x{STORED_SIZE}; "
            f"convert again with --size {STORED_SIZE}"
        )
    return [str(path) for path in shard_paths(data_dir, manifest, split)]


def _shuffled_records(files: list[str], seed: int, epoch: tf.Tensor, buffer: int) -> tf.data.Dataset:
    """One epoch's records: shards in an order of the epoch's own, read side by side, then a shuffle buffer."""
    order = tf.random.experimental.stateless_shuffle(tf.constant(files), seed=_epoch_seed(seed, epoch))
    shards = tf.data.Dataset.from_tensor_slices(order)
    records = shards.interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(4, len(files)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return records.shuffle(buffer, seed=seed * 1_000_003 + epoch, reshuffle_each_iteration=False)


def draw_augmentation(
    augment: Augmentation, statistics: Statistics, seed: int, epoch: tf.Tensor, position: tf.Tensor
) -> dict[str, tf.Tensor]:
    """What chance decides for one image.

    Args:
      epoch: int64 scalar, counted from 0.
      position: int64 scalar, the image's place in its epoch.

    Returns:
      offset: int32 (2,), rows and columns cut off above and to the left.
      mirrored: bool scalar.
      color_shift: float32 (3,), grey levels to add to R, G, B (zeros where the noise is off).
      noisy: bool scalar, whether noise is on in this epoch.
    """
    base = _epoch_seed(seed, epoch)
    shared = tf.random.experimental.stateless_fold_in(base, position // augment.images_per_draw)
    geometry = tf.random.stateless_uniform(
        (3,), tf.random.experimental.stateless_fold_in(shared, 0), 0, 2**30, dtype=tf.int32
    )
    noisy = tf.constant(augment.noise != "none")
    if augment.noise_until_epoch is not None:
        noisy = tf.logical_and(noisy, epoch + 1 < augment.noise_until_epoch)
    own = tf.random.experimental.stateless_fold_in(base, position)
    strengths = tf.random.stateless_normal((3,), tf.random.experimental.stateless_fold_in(own, 1))
    shift = tf.linalg.matvec(tf.constant(noise_axes(augment, statistics), tf.float32), strengths)
    center = (STORED_SIZE - augment.crop_size) // 2
    return {
        "offset": geometry[:2] % (augment.max_offset + 1) if augment.crop == "random" else tf.fill((2,), center),
        "mirrored": tf.logical_and(geometry[2] % 2 == 1, augment.crop == "random"),
        "color_shift": tf.where(noisy, shift, tf.zeros(3)),
        "noisy": noisy,
    }


def noise_axes(augment: Augmentation, statistics: Statistics) -> np.ndarray:
    """(3, 3), its columns the principal axes of color scaled to one standard deviation of the noise, in grey levels.

    With p_i the eigenvectors and l_i the eigenvalues of the RGB covariance on the 0-1 scale, the paper (section 4.1)
    adds sum p_i a_i l_i with a_i ~ N(0, 0.1), on that scale; the 2012 program takes the roots of l_i. On 0-255 the
    eigenvalues are 255^2 and the pixels 255 times as large.

    Raises:
      UserError: noise is on, and the statistics came with imported weights, where no pictures were measured.
    """
    if augment.noise != "none" and not statistics.pixels:
        raise UserError(
            "augment.noise: imported statistics hold no color covariance to draw it from; set augment.noise=none, or "
            "import the weights again with --data"
        )
    if augment.noise == "standard-deviation":
        lengths = statistics.eigenvalues**0.5
    elif augment.noise == "eigenvalue":
        lengths = statistics.eigenvalues / 255.0
    else:
        lengths = statistics.eigenvalues * 0.0
    return statistics.eigenvectors * (augment.noise_stddev * lengths)


def training_image(
    encoded: tf.Tensor,
    draws: dict[str, tf.Tensor],
    augment: Augmentation,
    statistics: Statistics,
    encoding: str,
) -> tf.Tensor:
    """One stored picture, cropped, mirrored, less the mean and colored as `draws` says: float32 (size, size, 3)."""
    size = augment.crop_size
    if augment.crop == "center":  # to the last bit the view of evaluation, the outer columns, too: see decode_crop
        crop = center_crop(decode_picture(encoded, encoding), size)
    else:
        crop = decode_crop(encoded, draws["offset"], size, encoding)
    mean = _mean_image(augment, statistics)
    if augment.mean == "center":  # the program mirrors first, and never mirrors the mean
        image = tf.cast(_mirror(crop, draws["mirrored"]), tf.float32) - center_crop(mean, size)
    else:
        under_crop = tf.slice(mean, [draws["offset"][0], draws["offset"][1], 0], [size, size, 3])
        image = _mirror(tf.cast(crop, tf.float32) - under_crop, draws["mirrored"])
    if augment.noise != "none":
        # As rows of 3 * size numbers: over an innermost axis of 3 the sum would take four times as long.
        rows = tf.reshape(image, (size, size * 3)) + tf.tile(draws["color_shift"], [size])
        image = tf.reshape(rows, (size, size, 3))
        if augment.noise_divisor != 1.0:
            image *= tf.where(draws["noisy"], 1.0 / augment.noise_divisor, 1.0)
    return tf.ensure_shape(_divided(image, augment), (size, size, 3))


def evaluation_views(picture: tf.Tensor, views: int, augment: Augmentation, statistics: Statistics) -> tf.Tensor:
    """The center crop, or the ten views: four corners and the center, and their mirror images (paper section 4.1).

    Args:
      picture: (256, 256, 3), uint8 or float32 on the 0-255 scale.
      views: 1 or 10.

    Returns:
      float32 (views, crop_size, crop_size, 3), less the mean as the recipe subtracts it.
    """
    size = augment.crop_size
    picture = tf.cast(picture, tf.float32)
    mean = _mean_image(augment, statistics)
    if augment.mean == "center":
        prepared = [_crop(picture, y, x, size) - center_crop(mean, size) for y, x in _offsets(views, size)]
        mirrored = [_crop(picture, y, x, size)[:, ::-1] - center_crop(mean, size) for y, x in _offsets(views, size)]
    else:
        prepared = [_crop(picture - mean, y, x, size) for y, x in _offsets(views, size)]
        mirrored = [view[:, ::-1] for view in prepared]
    return _divided(tf.stack(prepared + mirrored if views == 10 else prepared), augment)


def _offsets(views: int, size: int) -> list[tuple[int, int]]:
    far = STORED_SIZE - size
    center = (far // 2, far // 2)
    return [center] if views == 1 else [(0, 0), (0, far), (far, 0), (far, far), center]


def _mean_image(augment: Augmentation, statistics: Statistics) -> tf.Tensor:
    """What is subtracted, float32 (256, 256, 3)."""
    mean = statistics.mean_image
    if augment.mean == "color":
        mean = np.broadcast_to(mean.mean(axis=(0, 1)), mean.shape)
    return tf.constant(mean, tf.float32)


def _divided(images: tf.Tensor, augment: Augmentation) -> tf.Tensor:
    if set(augment.color_divisors) == {1.0}:
        return images
    return images / tf.constant(augment.color_divisors, tf.float32)


def decode_crop(encoded: tf.Tensor, offset: tf.Tensor, size: int, encoding: str) -> tf.Tensor:
    """uint8 (size, size, 3) at `offset`; of a JPEG only these rows and columns are decoded.

    Where color is stored at half resolution, the crop's two outermost columns lack a neighbor to interpolate with, so
    their color may differ by a few grey levels from that of the whole picture.
    """
    if encoding == "jpeg":
        window = tf.concat([offset, [size, size]], 0)
        return tf.io.decode_and_crop_jpeg(encoded, window, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.slice(decode_picture(encoded, encoding), [offset[0], offset[1], 0], [size, size, 3])


def decode_picture(encoded: tf.Tensor, encoding: str) -> tf.Tensor:
    """A stored picture, uint8 (256, 256, 3)."""
    if encoding == "jpeg":
        picture = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    else:
        picture = tf.reshape(tf.io.decode_raw(encoded, tf.uint8), (STORED_SIZE, STORED_SIZE, 3))
    return tf.ensure_shape(picture, (STORED_SIZE, STORED_SIZE, 3))


def picture_from_file(encoded: tf.Tensor) -> tf.Tensor:
    """Any picture file's bytes, brought to the size of the stored ones; EXIF orientation is not applied.

    Args:
      encoded: scalar string, a JPEG, PNG or one-frame GIF file of any size.

    Returns:
      float32 (256, 256, 3), whole numbers from 0 to 255.
    """
    # decode_jpeg takes PNG and GIF as well, and unlike decode_image lets the exact transform be asked for.
    return picture_from_pixels(tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"))


def picture_from_pixels(picture: tf.Tensor) -> tf.Tensor:
    """A picture of any size, brought to the size of the stored ones as the converter does it (paper section 2).

    Shorter side to 256 by antialiased bicubic resizing, then the central square. Equal to tfrecords.pictures within a
    rounding, for its resizer rounds between two passes; without the records' JPEG coding.

    Args:
      picture: (height, width, 3), uint8 or float32 on the 0-255 scale.

    Returns:
      float32 (256, 256, 3), whole numbers from 0 to 255.
    """
    size = tf.cast(tf.shape(picture)[:2], tf.float64)
    target = tf.cast(tf.round(size * (STORED_SIZE / tf.reduce_min(size))), tf.int32)
    resized = tf.image.resize(picture, target, "bicubic", antialias=True)
    corner = (target - STORED_SIZE) // 2
    square = tf.slice(resized, [corner[0], corner[1], 0], [STORED_SIZE, STORED_SIZE, 3])
    return tf.clip_by_value(tf.round(square), 0.0, 255.0)


def center_crop(picture: tf.Tensor, size: int) -> tf.Tensor:
    """The central (size, size, 3) of (256, 256, 3)."""
    [(y, x)] = _offsets(1, size)
    return _crop(picture, y, x, size)


def _crop(picture: tf.Tensor, y: int, x: int, size: int) -> tf.Tensor:
    return picture[y : y + size, x : x + size]


def _mirror(image: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    return tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)


def _epoch_seed(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
