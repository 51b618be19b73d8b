"""The only place that knows the keys of a record and their types; converter, reader and `verify` all import it.

In the path of an image: shards.py writes a picture with `encode_example`, alexnet_tf/pictures/input_pipeline.py starts
with `parse_example` of record_parsing.py. The keys are those of TFDS's `imagenet2012`. No TensorFlow here: loading it
takes a converter's worker longer than a shard.
"""

from alexnet_tf.program.proto_messages import message_classes

KEY_IMAGE = "image"
KEY_LABEL = "label"
KEY_FILE_NAME = "file_name"

# Of TensorFlow's core/example/feature.proto and example.proto. A map is, on the wire, a list of its entries.
_MESSAGES = message_classes(
    "tensorflow",
    {
        "BytesList": ((1, "value", "bytes*"),),
        "Int64List": ((1, "value", "int64*"),),
        "Feature": ((1, "bytes_list", "BytesList"), (3, "int64_list", "Int64List")),
        "FeatureEntry": ((1, "key", "string"), (2, "value", "Feature")),
        "Features": ((1, "feature", "FeatureEntry*"),),
        "Example": ((1, "features", "Features"),),
    },
)


def encode_example(image: bytes, label: int, file_name: str) -> bytes:
    """One record as serialized `tf.train.Example`.

    Args:
      image: the encoded picture (JPEG, or size*size*channels uint8 values, row by row).
      label: class index from 0.
      file_name: the picture's file name, without folders.
    """
    example = _MESSAGES["Example"]()
    # surrogateescape: a name that is no valid UTF-8 goes back to the very bytes on the disk.
    name = file_name.encode("utf-8", "surrogateescape")
    # In the order of their names, as TensorFlow's own deterministic serialization has them.
    for key, value in sorted({KEY_IMAGE: image, KEY_LABEL: label, KEY_FILE_NAME: name}.items()):
        feature = example.features.feature.add(key=key).value
        (feature.int64_list if isinstance(value, int) else feature.bytes_list).value.append(value)
    return example.SerializeToString()
