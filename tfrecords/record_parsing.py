"""The fields of records, read by TensorFlow; what schema.py wrote."""

import tensorflow as tf

from tfrecords.schema import KEY_FILE_NAME, KEY_IMAGE, KEY_LABEL

FIELDS = {
    KEY_IMAGE: tf.io.FixedLenFeature([], tf.string),
    KEY_LABEL: tf.io.FixedLenFeature([], tf.int64),
    KEY_FILE_NAME: tf.io.FixedLenFeature([], tf.string),
}


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """A record's fields, for `Dataset.map`.

    Args:
      serialized: scalar string, one serialized `tf.train.Example`.

    Returns:
      KEY_IMAGE: scalar string; KEY_LABEL: scalar int64; KEY_FILE_NAME: scalar string.

    Raises:
      tf.errors.InvalidArgumentError: when a field is missing or of another type.
    """
    return tf.io.parse_single_example(serialized, FIELDS)


def parse_examples(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """The fields of N records at once, each of shape (N,); as `parse_example` else."""
    return tf.io.parse_example(serialized, FIELDS)
