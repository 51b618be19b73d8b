"""The files that let TFDS open a converted folder: `tfds.builder_from_directory(DATA)`."""

import contextlib
import io
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from alexnet_tf.program.whole_files import to_disk
from tfrecords.manifest import Manifest
from tfrecords.schema import KEY_FILE_NAME, KEY_IMAGE, KEY_LABEL

TFDS_FILES = ("dataset_info.json", "features.json", f"{KEY_LABEL}.labels.txt")


def write_tfds_metadata(data_dir: Path, manifest: Manifest) -> None:
    """Writes TFDS_FILES beside the shards; labels are named by class keys, as in `imagenet2012`.

    The class names for people cannot be used: in ImageNet two classes are called "crane".
    """
    template = tfds.core.ShardedFileTemplate(
        data_dir=data_dir,
        template="{SPLIT}-{SHARD_X_OF_Y}",
        dataset_name="pictures",
        filetype_suffix="tfrecord",
    )
    splits = [
        tfds.core.SplitInfo(
            name=name,
            shard_lengths=[shard.records for shard in split.shards],
            num_bytes=sum(shard.bytes for shard in split.shards),
            filename_template=template,
        )
        for name, split in manifest.splits.items()
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints advice for its own command line
        tfds.folder_dataset.write_metadata(
            data_dir=str(data_dir),
            features=_features(manifest),
            split_infos=splits,
            filename_template=template,
            check_data=False,
        )
    for file in TFDS_FILES:
        to_disk(data_dir / file)


def _features(manifest: Manifest) -> tfds.features.FeaturesDict:
    shape = manifest.picture_shape
    if manifest.encoding == "jpeg":
        image = tfds.features.Image(shape=shape, encoding_format="jpeg")
    else:
        image = tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding=tfds.features.Encoding.BYTES)
    return tfds.features.FeaturesDict(
        {
            KEY_IMAGE: image,
            KEY_LABEL: tfds.features.ClassLabel(names=manifest.class_keys),
            KEY_FILE_NAME: tfds.features.Text(),
        }
    )
