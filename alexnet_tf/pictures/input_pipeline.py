"""From records to what the network sees: read -> shuffle -> batch -> draw -> decode -> crop, mirror, mean and color.

`training_batches` says it in code, a stage a line. With `data.augment_on: device` the last stage is left to the
network's own device: see `preparation`.

All randomness is a function of (seed, epoch, position of the image in its epoch), so any step of any run can be drawn
again; only the order of the records passes through a shuffle buffer, itself seeded by (seed, epoch).
"""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from alexnet_tf.pictures.augmentation import Draws, draw_augmentation, noise_axes
from alexnet_tf.pictures.decoding import decode_picture, decode_pictures
from alexnet_tf.pictures.preparation import PreparedPictures, StoredPictures, prepare_training
from alexnet_tf.pictures.record_files import RecordBatches, RecordFiles
from alexnet_tf.pictures.share import WHOLE, Share
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.settings.recipe import Augmentation
from tfrecords.manifest import Manifest
from tfrecords.record_parsing import parse_example, parse_examples
from tfrecords.schema import KEY_FILE_NAME, KEY_IMAGE, KEY_LABEL
from tfrecords.statistics import Statistics

SHUFFLE_MEMORY = 512 * 2**20
"""Bytes that the records in a shuffle buffer may take."""
READ_AHEAD, READ_AHEAD_MEMORY = 1024, 32 * 2**20
"""Records that are ready before they are needed, and the bytes that they may take."""
CPU = "/device:CPU:0"


class StoredPicture(NamedTuple):
    """A picture as it is stored."""

    pixels: np.ndarray
    """uint8 (size, size, channels)."""
    file_name: bytes
    label: int


def training_batches(
    data_dir: AnyPath,
    manifest: Manifest,
    statistics: Statistics,
    augment: Augmentation,
    *,
    batch_size: int,
    seed: int,
    shuffle_buffer: int,
    first_step: int = 0,
    share: Share = WHOLE,
    augment_on: Literal["pipeline", "device"] = "pipeline",
    keep_pixels: int = 0,
) -> RecordBatches:
    """An endless stream of training batches, beginning with that of step `first_step` (counted from 0).

    Epochs follow each other without a gap: a batch may hold the last images of one epoch and the first of the next, so
    every image is seen equally often and no batch is smaller than the others. With a share, the images are this
    worker's alone, and `batch_size` is its own.

    Args:
      data_dir: the converted data.
      manifest: theirs.
      statistics: whose mean image is subtracted, and along whose color axes the noise is drawn.
      augment: the recipe.
      batch_size: pictures a batch.
      seed: of the run.
      shuffle_buffer: records that wait in random order, at most.
      first_step: batches that were seen already.
      share: this worker's part.
      augment_on: whether pictures are prepared here or by the device that is given them.
      keep_pixels: how many of the first pictures also come with their stored pixels, where they are prepared here.

    Yields:
      (PreparedPictures of batch_size pictures, or with augment_on "device" StoredPictures; labels int64 (batch_size,)).

    Raises:
      UserError: there are no such pictures; and while reading, as `RecordBatches`.
    """
    data_dir = Path(data_dir)
    files = RecordFiles.of_split(data_dir, manifest, "train")
    axes = noise_axes(augment, statistics)
    specs = StoredPictures.specs(batch_size, manifest.picture_shape)

    def draw(epochs: tf.Tensor, positions: tf.Tensor, records: tf.Tensor) -> tuple[tf.Tensor, Draws]:
        """The random choices for each picture."""
        of_run = functools.partial(draw_augmentation, augment, axes, seed, stored_size=manifest.size)
        drawn = tf.numpy_function(of_run, (epochs, positions), [spec.dtype for spec in specs.draws], stateful=False)
        return records, Draws(*map(tf.ensure_shape, drawn, (spec.shape for spec in specs.draws)))

    def decode(records: tf.Tensor, draws: Draws) -> tuple[StoredPictures, tf.Tensor]:
        """The pixels as they are stored."""
        examples = parse_examples(records)
        pixels = decode_pictures(examples[KEY_IMAGE], manifest.encoding, manifest.picture_shape)
        return StoredPictures(tf.ensure_shape(pixels, specs.pixels.shape), draws), examples[KEY_LABEL]

    def prepare(number: tf.Tensor, decoded: tuple[StoredPictures, tf.Tensor]) -> tuple[PreparedPictures, tf.Tensor]:
        """The picture cropped, mirrored, minus the mean, and with color noise."""
        pictures, labels = decoded
        images = prepare_training(pictures, augment, statistics, CPU)
        kept = tf.where(number * batch_size < keep_pixels, batch_size, 0)
        return PreparedPictures(images, pictures.pixels[:kept]), labels

    buffer = records_within(SHUFFLE_MEMORY, shuffle_buffer, manifest)
    records = ordered_records(files, seed, buffer, first_step * batch_size, share)
    # Read ahead, so that the shuffle buffer of the next epoch fills while the last images of this one are decoded.
    records = records.prefetch(records_within(READ_AHEAD_MEMORY, READ_AHEAD, manifest))
    batches = records.batch(batch_size, drop_remainder=True)
    batches = _on_every_core(batches, draw)
    batches = _on_every_core(batches, decode)
    if augment_on == "pipeline":
        batches = _on_every_core(batches.enumerate(), prepare)
    return RecordBatches(files, _ahead(batches))


def records_within(memory: int, most: int, manifest: Manifest) -> int:
    """How many training records, as they are stored, may be held in `memory` bytes: from 1 to `most`."""
    train = manifest.splits["train"]
    stored = sum(shard.bytes for shard in train.shards)
    return max(1, min(most, memory * train.records // max(stored, 1)))


def ordered_records(
    files: RecordFiles, seed: int, shuffle_buffer: int, read: int, share: Share = WHOLE
) -> tf.data.Dataset:
    """Epoch after epoch without end, after the first `read` records; each epoch has an order of its own.

    The order depends on the seed, the epoch and the number of records in each file, not on what they hold. A worker
    reads its share of the files as they are ordered for all, and shuffles that.

    Yields:
      (epoch int64, position in the epoch of all workers int64, the record as stored), all scalars.
    """
    per_epoch = sum(files.records)
    first_epoch, first_place = share.place_after(read, per_epoch)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        skipped = tf.where(epoch == first_epoch, tf.constant(first_place, tf.int64), 0)
        start, end = share.range_in_epoch(epoch, per_epoch)
        records = _shuffled_records(files, seed, epoch, shuffle_buffer, start, end)
        positions = tf.data.Dataset.range(start, tf.int64.max)  # the records end an epoch: so all of them are counted
        numbered = tf.data.Dataset.zip((positions, records)).skip(skipped)
        return numbered.map(_as_it_is(lambda position, record: (epoch, position, record)))

    return tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(_as_it_is(one_epoch))


def evaluation_batches(
    data_dir: AnyPath, manifest: Manifest, *, split: str, batch_size: int, share: Share = WHOLE
) -> RecordBatches:
    """Every image of a split (or of this worker's share of it) once, in stored order; the last batch may be smaller.

    Yields:
      (pictures uint8 (n, size, size, channels), labels int64 (n,)).

    Raises:
      UserError: as `training_batches`.
    """
    named = named_batches(data_dir, manifest, split=split, batch_size=batch_size, share=share)
    return RecordBatches(named.files, named.dataset.map(_as_it_is(lambda pictures, _, labels: (pictures, labels))))


def named_batches(
    data_dir: AnyPath, manifest: Manifest, *, split: str, batch_size: int, share: Share = WHOLE
) -> RecordBatches:
    """As `evaluation_batches`, with the names of the pictures' files.

    Yields:
      (pictures uint8 (n, size, size, channels), names string (n,), labels int64 (n,)).

    Raises:
      UserError: as `training_batches`.
    """
    data_dir = Path(data_dir)
    files = RecordFiles.of_split(data_dir, manifest, split)

    def decode(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        examples = parse_examples(records)
        pictures = decode_pictures(examples[KEY_IMAGE], manifest.encoding, manifest.picture_shape)
        return pictures, examples[KEY_FILE_NAME], examples[KEY_LABEL]

    return RecordBatches(files, _ahead(_on_every_core(stored_records(files, share).batch(batch_size), decode)))


def pictures_at(data_dir: Path, manifest: Manifest, *, split: str, places: Sequence[int]) -> list[StoredPicture]:
    """Single pictures of a split, by their places in stored order; others are read, but not decoded.

    Raises:
      UserError: as `training_batches`.
    """
    files = RecordFiles.of_split(data_dir, manifest, split)
    wanted = tf.constant(sorted(set(places)), tf.int64)
    end = max(places, default=-1) + 1

    def decode(place: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        example = parse_example(record)
        picture = decode_picture(example[KEY_IMAGE], manifest.encoding, manifest.picture_shape)
        return place, picture, example[KEY_FILE_NAME], example[KEY_LABEL]

    records = stored_records(files).take(end).enumerate()
    chosen = records.filter(lambda place, _: tf.reduce_any(wanted == place)).map(decode).batch(16)
    found = {}
    for batch in RecordBatches(files, chosen):
        for place, pixels, name, label in zip(*(part.numpy() for part in batch), strict=True):
            found[int(place)] = StoredPicture(pixels, name, int(label))
    return [found[place] for place in places]


def stored_records(files: RecordFiles, share: Share = WHOLE) -> tf.data.Dataset:
    """Every record (or this worker's share of them) once, in stored order, each a scalar string."""
    between = _read_between(files, tf.range(len(files.paths)), *share.range_of(sum(files.records)))
    return between.flat_map(files.read)


def evaluation_files(data_dir: AnyPath, manifest: Manifest, *, split: str, batch_size: int) -> RecordBatches:
    """Every picture of a split once, in stored order, as a file that decodes to exactly what is stored.

    Yields:
      (files string (n,), labels int64 (n,)).

    Raises:
      UserError: as `training_batches`.
    """
    data_dir = Path(data_dir)

    def file(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = parse_example(record)
        if manifest.encoding == "jpeg":
            return example[KEY_IMAGE], example[KEY_LABEL]
        picture = decode_picture(example[KEY_IMAGE], manifest.encoding, manifest.picture_shape)
        return tf.io.encode_png(picture), example[KEY_LABEL]

    files = RecordFiles.of_split(data_dir, manifest, split)
    return RecordBatches(files, stored_records(files).map(_as_it_is(file)).batch(batch_size).prefetch(1))


_as_it_is = tf.autograph.experimental.do_not_convert
"""No stage has a Python branch on a tensor; AutoGraph would rewrite them all the same, which takes a second."""


def _on_every_core(batches: tf.data.Dataset, stage: Callable[..., Any]) -> tf.data.Dataset:
    """Batches after one more stage, in order."""
    return batches.map(_as_it_is(stage), num_parallel_calls=len(os.sched_getaffinity(0)), deterministic=True)


def _ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Two of them are ready before they are needed."""
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread would hold up the end of an iterator, and so of an epoch, by seconds
    return batches.prefetch(2).with_options(options)


def _shuffled_records(
    files: RecordFiles, seed: int, epoch: tf.Tensor, buffer: int, start: tf.Tensor, end: tf.Tensor
) -> tf.data.Dataset:
    """Records `start` to `end` of an epoch: files in an order of the epoch's own, read side by side, then a buffer."""
    number = tf.range(len(files.paths))
    order = tf.random.experimental.stateless_shuffle(number, seed=_epoch_seed(seed, epoch))
    at_once = min(4, len(files.paths))
    records = _read_between(files, order, start, end).interleave(
        files.read, cycle_length=at_once, num_parallel_calls=at_once, deterministic=True
    )
    return records.shuffle(buffer, seed=seed * 1_000_003 + epoch, reshuffle_each_iteration=False)


def _read_between(
    files: RecordFiles, order: tf.Tensor, start: tf.Tensor | int, end: tf.Tensor | int
) -> tf.data.Dataset:
    """Where records `start` to before `end` are, counted through the files in `order`; others are not opened.

    Yields:
      (number of the file, records to skip in it, records to read after them), all int64 scalars.
    """
    records = tf.gather(tf.constant(files.records, tf.int64), order)  # (S,)
    before = tf.cumsum(records, exclusive=True)
    skipped = tf.clip_by_value(start - before, 0, records)
    read = tf.clip_by_value(end - before, 0, records) - skipped
    places = tf.cast(order, tf.int64), skipped, read
    return tf.data.Dataset.from_tensor_slices(tuple(tf.boolean_mask(part, read > 0) for part in places))


def _epoch_seed(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
