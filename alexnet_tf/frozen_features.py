"""What the frozen part of a network puts out for every picture, computed once and stored as TFRecords.

With the lower layers frozen, one view a picture and no dropout among the frozen layers, each epoch would compute the
same numbers again. Stored, they leave only the rest of the network to be run: the same training, many times as fast.

    RUN/features/train-00000-of-00004   as many records as the data's shard of that name, in the same order
    RUN/features/features.json          what they were computed from; written last

A picture takes 16 KB behind fc6 or fc7 and 36 KB behind conv5: 21 GB or 47 GB for all of ILSVRC-2012.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.config import Config
from alexnet_tf.input_pipeline import (
    READ_AHEAD,
    SHUFFLE_MEMORY,
    Shards,
    evaluation_batches,
    ordered_records,
    records_within,
)
from alexnet_tf.model import AlexNet
from alexnet_tf.preparation import prepare_evaluation
from alexnet_tf.presets import FeatureLayer
from tfrecords.manifest import Manifest
from tfrecords.schema import KEY_LABEL
from tfrecords.statistics import Statistics

KEY_FEATURES = "features"
SPLITS = ("train", "val")


class FrozenFeatures:
    """The stored features of a run's data, computed where they are not there yet.

    Args:
      folder: RUN/features.
      model: the network with its weights, of which those up to `layer` will not change.
      layer: the last frozen layer.
      config: the run's.
      manifest: of the data.
      statistics: with which the pictures are prepared.
      fresh: whether the run begins now, so that what may be stored already came from other weights.
    """

    def __init__(
        self, folder: Path, model: AlexNet, layer: FeatureLayer, config: Config, manifest: Manifest,
        statistics: Statistics, *, fresh: bool,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.model = model
        self.layer = layer
        self.config = config
        self.manifest = manifest
        origin = {"layer": layer, "shards": {split: self._shards(split) for split in SPLITS}}
        record = folder / "features.json"
        if fresh or not record.exists() or record.read_text(encoding="utf-8") != json.dumps(origin):
            self._compute(statistics)
            record.write_text(json.dumps(origin), encoding="utf-8")

    def training_batches(self, batch_size: int, first_step: int) -> tf.data.Dataset:
        """The batches of `input_pipeline.training_batches`, picture for picture, as features.

        Yields:
          (features float32 (batch_size, F), labels int64 (batch_size,)), the towers' features side by side.
        """
        shards = Shards(self._files("train"), [shard.records for shard in self.manifest.splits["train"].shards])
        seed = self.config.train.seed
        # By the pictures' size in both, so that the order is the same.
        buffer = records_within(SHUFFLE_MEMORY, self.config.data.shuffle_buffer, self.manifest)
        records = ordered_records(shards, seed, buffer, first_step * batch_size).prefetch(READ_AHEAD)
        return records.batch(batch_size, drop_remainder=True).map(lambda _, __, batch: _parse(batch)).prefetch(2)

    def evaluation_batches(self, split: str) -> tf.data.Dataset:
        """Every picture of a split once, in stored order: as `training_batches`, the last batch may be smaller."""
        return tf.data.TFRecordDataset(self._files(split)).batch(self.config.data.eval_batch_size).map(_parse)

    def prediction_function(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A compiled function from features (n, F) to probabilities (n, classes)."""

        @tf.function(reduce_retracing=True)
        def probabilities(features: tf.Tensor) -> tf.Tensor:
            return tf.nn.softmax(self.model.head(self.model.towers_of(features), self.layer))

        return probabilities

    def _shards(self, split: str) -> list[str]:
        return [shard.sha256 for shard in self.manifest.splits[split].shards]

    def _files(self, split: str) -> list[str]:
        return [str(self.folder / shard.file) for shard in self.manifest.splits[split].shards]

    def _compute(self, statistics: Statistics) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

        @tf.function(reduce_retracing=True)
        def features(pictures: tf.Tensor) -> tf.Tensor:
            images = self.model.on_each_tower(
                "views",
                lambda device: prepare_evaluation(pictures, 1, self.config.preset.augment, statistics, device)[:, 0],
            )
            return tf.concat(self.model.features(images, self.layer), axis=1)  # (n, F)

        total = sum(self.manifest.splits[split].records for split in SPLITS)
        with tqdm(total=total, unit="img", desc="features", disable=None) as bar:
            for split in SPLITS:
                self._write_split(split, features, bar)

    def _write_split(self, split: str, features: Callable[[tf.Tensor], tf.Tensor], bar: tqdm) -> None:
        batches = evaluation_batches(
            self.config.data.dir, self.manifest, split=split, batch_size=self.config.data.eval_batch_size
        )
        rows = (
            row for pictures, labels in batches for row in zip(features(pictures).numpy(), labels.numpy(), strict=True)
        )
        for shard in self.manifest.splits[split].shards:
            unfinished = self.folder / f".unfinished-{shard.file}"
            with tf.io.TFRecordWriter(str(unfinished)) as writer:
                for _ in range(shard.records):
                    writer.write(_encode(*next(rows)))
                    bar.update()
            os.replace(unfinished, self.folder / shard.file)


def _encode(features: np.ndarray, label: int) -> bytes:
    example = tf.train.Example()
    example.features.feature[KEY_FEATURES].bytes_list.value.append(features.astype("<f4").tobytes())
    example.features.feature[KEY_LABEL].int64_list.value.append(int(label))
    return example.SerializeToString()


def _parse(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    fields = {KEY_FEATURES: tf.io.FixedLenFeature([], tf.string), KEY_LABEL: tf.io.FixedLenFeature([], tf.int64)}
    examples = tf.io.parse_example(records, fields)
    return tf.io.decode_raw(examples[KEY_FEATURES], tf.float32), examples[KEY_LABEL]
