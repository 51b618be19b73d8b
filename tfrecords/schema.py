"""The only place that knows the keys of a record; converter, reader and `verify` all import it.

In the path of an image: shards.py writes a picture with `encode_example`,
alexnet_tf/pictures/input_pipeline.py starts with `parse_example`. The keys are those of TFDS's
`imagenet2012`.
"""

import tensorflow as tf

KEY_IMAGE = "image"
KEY_LABEL = "label"
KEY_FILE_NAME = "file_name"


def encode_example(image: bytes, label: int, file_name: str) -> bytes:
    """One record as serialized `tf.train.Example`.

    Args:
      image: the encoded picture (JPEG, or size*size*channels uint8 values, row by row).
      label: class index from 0.
      file_name: the picture's file name, without folders.
    """
    example = tf.train.Example()
    feature = example.features.feature
    feature[KEY_IMAGE].bytes_list.value.append(image)
    feature[KEY_LABEL].int64_list.value.append(label)
    # surrogateescape: a name that is no valid UTF-8 goes back to the very bytes on the disk.
    feature[KEY_FILE_NAME].bytes_list.value.append(file_name.encode("utf-8", "surrogateescape"))
    # The features are a protobuf map: without `deterministic` their order may differ between
    # processes, and with it the bytes of a shard.
    return example.SerializeToString(deterministic=True)


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
