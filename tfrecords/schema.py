"""The only place that knows the keys of a record; converter, reader and `verify` all import it.

In the path of an image: shards.py writes a picture with `encode_example`,
alexnet_tf/input_pipeline.py starts with `parse_example`. The keys are those of TFDS's
`imagenet2012`.
"""

import tensorflow as tf

KEY_IMAGE = "image"
KEY_LABEL = "label"
KEY_FILE_NAME = "file_name"


def encode_example(image: bytes, label: int, file_name: str) -> bytes:
    """One record as serialized `tf.train.Example`.

    Args:
        image: the encoded picture (JPEG, or size*size*3 uint8 values, row by row).
        label: class index from 0.
        file_name: the picture's file name, without folders.
    """
    feature = {
        KEY_IMAGE: _bytes_feature(image),
        KEY_LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        # surrogateescape: a name that is no valid UTF-8 goes back to the very bytes on the disk.
        KEY_FILE_NAME: _bytes_feature(file_name.encode("utf-8", "surrogateescape")),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    # The features are a protobuf map: without `deterministic` their order may differ between
    # processes, and with it the bytes of a shard.
    return example.SerializeToString(deterministic=True)


def _bytes_feature(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """A record's fields, for `Dataset.map`.

    Args:
        serialized: scalar string, one serialized `tf.train.Example`.

    Returns:
        KEY_IMAGE: scalar string; KEY_LABEL: scalar int64; KEY_FILE_NAME: scalar string.

    Raises:
        tf.errors.InvalidArgumentError: when a field is missing or of another type.
    """
    return tf.io.parse_single_example(
        serialized,
        {
            KEY_IMAGE: tf.io.FixedLenFeature([], tf.string),
            KEY_LABEL: tf.io.FixedLenFeature([], tf.int64),
            KEY_FILE_NAME: tf.io.FixedLenFeature([], tf.string),
        },
    )
