"""What the input benchmark compares: endless streams of batches, each made from the same training records.

`bare_decoding`, `decoding_from_memory` and `tensorflow_decoding` do nothing but decode; of every picture only its first
pixel is kept, for copying pixels into a batch is no decoding.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from alexnet_tf.pictures.augmentation import noise_axes
from alexnet_tf.pictures.decoding import decode_jpeg, decode_picture
from alexnet_tf.pictures.preparation import prepare_training
from alexnet_tf.settings.recipe import Augmentation
from tfrecords.manifest import Manifest, shard_paths
from tfrecords.record_parsing import parse_example, parse_examples
from tfrecords.schema import KEY_IMAGE, KEY_LABEL
from tfrecords.statistics import Statistics


def prepared(batches: Iterable, augment: Augmentation, statistics: Statistics) -> Iterator[tf.Tensor]:
    """Batches that the device is to prepare, prepared on this processor: float32 (N, size, size, 3)."""
    device = "/device:CPU:0"
    for pictures, _ in batches:
        with tf.device(device):
            images = prepare_training(pictures, augment, statistics, device)
        yield images


def naive_pipeline(
    data_dir: Path, manifest: Manifest, statistics: Statistics, augment: Augmentation, batch_size: int, buffer: int
) -> tf.data.Dataset:
    """The same augmentation as tutorials write it: every step for one picture at a time, in float32, then a batch."""
    mean = tf.constant(statistics.mean_image, tf.float32)
    axes = tf.constant(noise_axes(augment, statistics), tf.float32)
    size = augment.crop_size

    def prepare(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = parse_example(record)
        picture = decode_picture(example[KEY_IMAGE], manifest.encoding, manifest.picture_shape)
        image = tf.cast(picture, tf.float32) - mean
        image = tf.image.random_flip_left_right(tf.image.random_crop(image, (size, size, 3)))
        return image + tf.linalg.matvec(axes, tf.random.normal((3,))), example[KEY_LABEL]

    records = tf.data.TFRecordDataset(_files(data_dir, manifest), num_parallel_reads=tf.data.AUTOTUNE)
    images = records.shuffle(buffer).repeat().map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    return images.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def bare_decoding(data_dir: Path, manifest: Manifest, batch_size: int) -> tf.data.Dataset:
    """Records in stored order, decoded by libjpeg-turbo as the pipeline decodes them: uint8 (batch_size, 3)."""

    def decode(records: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(_first_pixels, (parse_examples(records)[KEY_IMAGE],), tf.uint8, stateful=False)

    batches = tf.data.TFRecordDataset(_files(data_dir, manifest)).repeat().batch(batch_size, drop_remainder=True)
    return batches.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False).prefetch(2)


def tensorflow_decoding(data_dir: Path, manifest: Manifest, batch_size: int) -> tf.data.Dataset:
    """Records in stored order, decoded by tf.io.decode_jpeg: uint8 (batch_size, 3)."""

    def first_pixel(record: tf.Tensor) -> tf.Tensor:
        return decode_picture(parse_example(record)[KEY_IMAGE], manifest.encoding, manifest.picture_shape)[0, 0]

    pictures = tf.data.TFRecordDataset(_files(data_dir, manifest)).repeat()
    pixels = pictures.map(first_pixel, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    return pixels.batch(batch_size, drop_remainder=True).prefetch(2)


def decoding_from_memory(pictures: list[bytes], batch_size: int, threads: int) -> Iterator[np.ndarray]:
    """Files that lie in memory, decoded by libjpeg-turbo in as many threads as there are cores: uint8 (batch_size, 3).

    The closest to the library itself: no reading, no parsing, no place in a batch.
    """
    ahead: deque[Future] = deque()
    with ThreadPoolExecutor(threads) as pool:
        endless = itertools.cycle(pictures)
        while True:
            while len(ahead) < 2 * threads:
                ahead.append(pool.submit(_first_pixels, list(itertools.islice(endless, batch_size))))
            yield ahead.popleft().result()


def reading(data_dir: Path, manifest: Manifest, batch_size: int) -> tf.data.Dataset:
    """Records in stored order, read and checked and no more: string (batch_size,)."""
    records = tf.data.TFRecordDataset(_files(data_dir, manifest)).repeat()
    return records.batch(batch_size, drop_remainder=True).prefetch(2)


def stored_pictures(data_dir: Path, manifest: Manifest, count: int) -> tuple[list[bytes], list[int]]:
    """The first pictures as they are stored, and their labels."""
    records = tf.data.TFRecordDataset(_files(data_dir, manifest)).take(count)
    examples = next(iter(records.batch(count).map(parse_examples)))
    return examples[KEY_IMAGE].numpy().tolist(), examples[KEY_LABEL].numpy().tolist()


def _first_pixels(encoded: "list[bytes] | np.ndarray") -> np.ndarray:
    return np.stack([decode_jpeg(image)[0, 0] for image in encoded])


def _files(data_dir: Path, manifest: Manifest) -> list[str]:
    return [str(path) for path in shard_paths(data_dir, manifest, "train")]
