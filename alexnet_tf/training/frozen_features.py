"""The outputs of the frozen part of a network for every picture, computed once and stored as TFRecords.

With the lower layers frozen, one view a picture and no dropout among the frozen layers, each epoch would compute the
same numbers again. Stored, they leave only the rest of the network to be run: the same training, many times as fast.

    RUN/features/train-00000-of-00004   as many records as the data's shard of that name, in the same order
    RUN/features/features.json          every file's size and SHA-256, and what they were computed from; written last

At the start of a training all of them are compared with that list, and computed again where anything differs.
A picture of AlexNet takes 16 KB behind fc6 or fc7 and 36 KB behind conv5: 21 GB or 47 GB for all of ILSVRC-2012.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, ConfigDict, ValidationError

from alexnet_tf.evaluation.activations import feature_function
from alexnet_tf.evaluation.probabilities import Bar
from alexnet_tf.networks.network import Network, network_variables
from alexnet_tf.pictures.input_pipeline import (
    READ_AHEAD,
    SHUFFLE_MEMORY,
    evaluation_batches,
    ordered_records,
    records_within,
    stored_records,
)
from alexnet_tf.pictures.record_files import RecordBatches, RecordFiles
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_written
from alexnet_tf.program.progress_lines import progress_bar
from alexnet_tf.program.whole_files import UNFINISHED, put_in_place, read_whole, remove, write_whole
from alexnet_tf.settings.config import Config
from tfrecords.manifest import Manifest, Shard, check_files, file_sha256
from tfrecords.record_check import label_of, one_line
from tfrecords.schema import KEY_LABEL
from tfrecords.statistics import Statistics

KEY_FEATURES = "features"
SPLITS = ("train", "val")
FEATURES_FILE = "features.json"
KIND = "feature file"
ADVICE = "run the same command again to compute the features anew"


class FeatureManifest(BaseModel):
    """What is stored, file by file, and what it was computed from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: dict[str, str]
    """SHA-256 of all that the features were computed from, by name."""
    splits: dict[str, list[Shard]]


class FrozenFeatures:
    """The stored features of a run's data, computed where they are not there yet.

    Args:
      folder: RUN/features.
      model: the network with its weights, of which those up to `layer` will not change.
      layer: the last frozen layer.
      config: the run's.
      manifest: of the data.
      statistics: with which the pictures are prepared.

    Raises:
      UserError: they cannot be computed or written; names the file.
    """

    def __init__(
        self, folder: Path, model: Network, layer: str, config: Config, manifest: Manifest, statistics: Statistics,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.model = model
        self.layer = layer
        self.config = config
        self.manifest = manifest
        origin = self._origin(statistics)
        stored = self._stored(origin)
        if stored is None:
            stored = FeatureManifest(origin=origin, splits=self._compute(statistics))
            write_whole(folder / FEATURES_FILE, stored.model_dump_json(indent=1).encode())
        self.files = {split: self._files(stored.splits[split]) for split in SPLITS}

    def training_batches(self, batch_size: int, first_step: int) -> RecordBatches:
        """The batches of `input_pipeline.training_batches`, picture for picture, as features.

        Yields:
          (features float32 (batch_size, F), labels int64 (batch_size,)), the towers' features side by side.
        """
        seed = self.config.train.seed
        # By the pictures' size in both, so that the order is the same.
        buffer = records_within(SHUFFLE_MEMORY, self.config.data.shuffle_buffer, self.manifest)
        files = self.files["train"]
        records = ordered_records(files, seed, buffer, first_step * batch_size).prefetch(READ_AHEAD)
        batches = records.batch(batch_size, drop_remainder=True).map(lambda _, __, batch: _parse(batch)).prefetch(2)
        return RecordBatches(files, batches)

    def evaluation_batches(self, split: str) -> RecordBatches:
        """Every picture of a split once, in stored order: as `training_batches`, the last batch may be smaller."""
        batches = stored_records(self.files[split]).batch(self.config.data.eval_batch_size).map(_parse)
        return RecordBatches(self.files[split], batches)

    def prediction_function(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A compiled function from features (n, F) to probabilities (n, classes)."""

        @tf.function(reduce_retracing=True, autograph=False)
        def probabilities(features: tf.Tensor) -> tf.Tensor:
            return tf.nn.softmax(self.model.head(self.model.split_features(features, self.layer), self.layer))

        return probabilities

    def _origin(self, statistics: Statistics) -> dict[str, str]:
        preset = self.config.preset
        layers = preset.network.layers[: preset.network.layers.index(self.layer) + 1]
        known = network_variables(self.model)
        frozen = {name: variable.variable for name, variable in known.items() if variable.layer in layers}
        shards = [shard.sha256 for split in SPLITS for shard in self.manifest.splits[split].shards]
        return {
            "layer": self.layer,
            "weights": _sha256(*(part for name, v in sorted(frozen.items()) for part in (name, v.numpy()))),
            "recipe": _sha256(repr((preset.network, preset.augment))),
            "mean image": _sha256(statistics.mean_image),
            "pictures": _sha256(*shards),
        }

    def _stored(self, origin: dict[str, str]) -> FeatureManifest | None:
        """What is there already; None, after a line that says why, where it must be computed."""
        path = self.folder / FEATURES_FILE
        try:
            stored = FeatureManifest.model_validate_json(read_whole(path))
            differs = [name for name in origin if stored.origin.get(name) != origin[name]]
            if differs:
                raise UserError(f"{path}: the features were computed from other {' and '.join(differs)}")
            for split in SPLITS:
                shards = self.manifest.splits[split].shards
                listed = [(shard.file, shard.records) for shard in stored.splits.get(split, [])]
                if listed != [(shard.file, shard.records) for shard in shards]:
                    raise UserError(f"{path} lists other files than the data have in split {split}")
                check_files(self.folder, stored.splits[split], KIND, "", hash_below=2**63)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as fault:
            reason = fault.strerror if isinstance(fault, OSError) else "it is broken"
            print(f"{path} cannot be used ({reason}); the features are computed anew", file=sys.stderr)
            return None
        except UserError as fault:
            print(f"{fault}; the features are computed anew", file=sys.stderr)
            return None
        return stored

    def _files(self, listed: list[Shard]) -> RecordFiles:
        return RecordFiles(self.folder, listed, self.manifest.num_classes, _feature_faults, KIND, ADVICE)

    def _compute(self, statistics: Statistics) -> dict[str, list[Shard]]:
        """Writes the features of all pictures; whatever else is in the folder stays."""
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as fault:
            if not isinstance(fault, FileExistsError):
                raise cannot_be_written(self.folder, fault) from fault
            raise UserError(
                f"{self.folder} cannot be made a folder: {fault.strerror}; move away what bears its name"
            ) from fault
        names = (FEATURES_FILE, *(f"{split}-?????-of-?????" for split in SPLITS))
        for path in [path for name in names for start in ("", UNFINISHED) for path in self.folder.glob(start + name)]:
            if path.is_dir():  # not made by this program, and what is in it may be wanted
                raise UserError(f"{path} is a folder in the place of a {KIND}; move it out of there")
            remove(path)

        features = feature_function(self.model, self.config.preset.augment, statistics, self.layer)
        total = sum(self.manifest.splits[split].records for split in SPLITS)
        with progress_bar(total, desc="features") as bar:
            return {split: self._write_split(split, features, bar) for split in SPLITS}

    def _write_split(self, split: str, features: Callable[[tf.Tensor], tf.Tensor], bar: Bar) -> list[Shard]:
        rows = self._rows(split, features)
        written = [self._write_file(shard, rows, bar) for shard in self.manifest.splits[split].shards]
        next(rows, None)  # the end of the last shard is looked at, too
        return written

    def _rows(self, split: str, features: Callable[[tf.Tensor], tf.Tensor]) -> Iterator[tuple[np.ndarray, int]]:
        """Features and label of every picture, in stored order."""
        data, at_once = self.config.data.dir, self.config.data.eval_batch_size
        for pictures, labels in evaluation_batches(data, self.manifest, split=split, batch_size=at_once):
            try:
                found = features(pictures).numpy()
            except tf.errors.OpError as fault:
                raise UserError(
                    f"the features of {data} cannot be computed ({one_line(fault)}); if it is for want of memory, "
                    f"lower data.eval_batch_size from {at_once}"
                ) from fault
            yield from zip(found, labels.numpy(), strict=True)

    def _write_file(self, shard: Shard, rows: Iterator[tuple[np.ndarray, int]], bar: Bar) -> Shard:
        """The features of a shard's pictures; returns the file's entry for the list."""
        final, unfinished = self.folder / shard.file, self.folder / f"{UNFINISHED}{shard.file}"
        try:
            with tf.io.TFRecordWriter(str(unfinished)) as writer:
                for _ in range(shard.records):
                    writer.write(_encode(*next(rows)))
                    bar.update(1)
            put_in_place(unfinished, final)
            size, sha256 = final.stat().st_size, file_sha256(final)
            return Shard(file=shard.file, records=shard.records, bytes=size, sha256=sha256)
        except (OSError, tf.errors.OpError) as fault:
            remove(unfinished)  # on a full disk what it holds is wanted
            raise cannot_be_written(f"{KIND} {final}", fault) from fault


def _encode(features: np.ndarray, label: int) -> bytes:
    example = tf.train.Example()
    example.features.feature[KEY_FEATURES].bytes_list.value.append(features.astype("<f4").tobytes())
    example.features.feature[KEY_LABEL].int64_list.value.append(int(label))
    return example.SerializeToString()


def _parse(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    fields = {KEY_FEATURES: tf.io.FixedLenFeature([], tf.string), KEY_LABEL: tf.io.FixedLenFeature([], tf.int64)}
    examples = tf.io.parse_example(records, fields)
    return tf.io.decode_raw(examples[KEY_FEATURES], tf.float32), examples[KEY_LABEL]


def _feature_faults(path: Path, shard: Shard) -> list[str]:
    number = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            label_of(record)
            number += 1
    except tf.errors.OpError as fault:
        return [f"{KIND} {path}, record {number}: damaged ({one_line(fault)})"]
    return [] if number == shard.records else [f"{KIND} {path}: {number} records in place of {shard.records}"]


def _sha256(*parts: str | np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
        digest.update(b"\0")
    return digest.hexdigest()
