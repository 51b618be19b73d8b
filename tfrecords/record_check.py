"""What can be wrong with one record, whichever shard it is in."""

from dataclasses import dataclass

import tensorflow as tf

from tfrecords.manifest import Manifest
from tfrecords.schema import KEY_FILE_NAME, KEY_IMAGE, KEY_LABEL, parse_example


@dataclass(frozen=True)
class CheckedRecord:
    """A record as far as it could be read.

    Attributes:
        fault: in a few words; None where all is well.
        label: class index from 0; None where there is no such class.
        image: the picture's bytes as stored.
    """

    fault: str | None
    label: int | None = None
    image: bytes = b""


def check_record(serialized: tf.Tensor, manifest: Manifest) -> CheckedRecord:
    """Reads a record and decodes its picture.

    Args:
        serialized: scalar string, as the shard holds it.
        manifest: what the record should be like.
    """
    try:
        record = parse_example(serialized)
    except tf.errors.OpError as fault:
        return CheckedRecord(f"not a record of this format ({one_line(fault)})")
    label, image = int(record[KEY_LABEL]), record[KEY_IMAGE].numpy()
    if not 0 <= label < manifest.num_classes:
        return CheckedRecord(f"label {label} is outside 0-{manifest.num_classes - 1}", None, image)
    if not record[KEY_FILE_NAME].numpy():
        return CheckedRecord("no file name", label, image)
    return CheckedRecord(_picture_fault(record[KEY_IMAGE], manifest), label, image)


def one_line(fault: tf.errors.OpError) -> str:
    """The beginning of TensorFlow's message."""
    return str(fault.message).splitlines()[0][:200]


def _picture_fault(image: tf.Tensor, manifest: Manifest) -> str | None:
    shape = (manifest.size, manifest.size, 3)
    if manifest.encoding == "raw":
        length, expected = len(image.numpy()), manifest.size**2 * 3
        return None if length == expected else f"picture of {length} bytes, not {expected}"
    try:
        decoded = tuple(tf.io.decode_jpeg(image).shape)
    except tf.errors.OpError as fault:
        return f"picture does not decode ({one_line(fault)})"
    return None if decoded == shape else f"picture of shape {decoded}, not {shape}"
