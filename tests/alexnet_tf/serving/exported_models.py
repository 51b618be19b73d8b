"""Models exported from narrow networks, for the tests of serving."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import tensorflow as tf

from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.networks.network import Network
from alexnet_tf.pictures.input_pipeline import evaluation_batches
from alexnet_tf.pictures.preparation import evaluation_views
from alexnet_tf.pictures.record_files import RecordBatches
from alexnet_tf.runs.run import Run, open_run
from alexnet_tf.serving.export import export_run
from alexnet_tf.serving.versions import WARM_UP_FILE
from alexnet_tf.towers import Towers
from tests.alexnet_tf.training.made_runs import write_opinionated_run
from tests.narrow_nets import shrink_net
from tfrecords.manifest import load_manifest, shard_paths
from tfrecords.record_parsing import parse_example

CLASSES = 7
"""More than the five that are named."""
LICENSE = "for tests only"
EXAMPLE_LABELS = (6, 0, 3)
"""What the examples of `quick_models` are said to be."""


class Exported(NamedTuple):
    """A run, its network, and the model's folder with version 1 of it."""

    run: Run
    net: Network
    models: Path

    def signature(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        return loaded(self.models / "1").signatures[name]


def export_preset(preset: str, folder: Path, data: Path, towers: Towers) -> Exported:
    """A run of a narrow network, and its model, which turns pictures by their EXIF orientation; both below `folder`."""
    manifest = load_manifest(data).model_copy(
        update={
            "class_keys": [f"n{number:08d}" for number in range(CLASSES)],
            "class_names": [f"class {number}, größer" for number in range(CLASSES)],
            "exif": "apply",
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        shrink_net(patch)
        write_opinionated_run(folder / "run", data, manifest, preset, towers, seed=3, bound=True)
        run = open_run(folder / "run")
        net, _ = trained_network(run, Towers.unplaced())
        export_run([run], folder / "alexnet", None, license_text=LICENSE)
    return Exported(run, net, folder / "alexnet")


def validation_batches(data: Path) -> RecordBatches:
    """All 12 pictures of the validation split, as evaluation reads them."""
    return evaluation_batches(data, load_manifest(data), split="val", batch_size=12)


def center_views(exported: Exported, data: Path) -> tf.Tensor:
    """What evaluation shows the network of them, float32 (12, size, size, 3)."""
    pictures, _ = next(iter(validation_batches(data)))
    return evaluation_views(pictures, 1, exported.run.config.preset.augment, exported.run.statistics)[:, 0]


_load = tf.saved_model.load


@functools.cache
def loaded(version: Path) -> object:
    """The version's SavedModel; once, for what it runs first takes seconds."""
    return _load(str(version))


def keep_one_warm_up(version: Path) -> None:
    """Leaves the first of its warm-up requests: loading takes a third of the time then."""
    warm_up = str(version / WARM_UP_FILE)
    first = next(tf.data.TFRecordDataset(warm_up).as_numpy_iterator())
    with tf.io.TFRecordWriter(warm_up) as writer:
        writer.write(first)


def stored_pictures_of(data: Path) -> list[bytes]:
    """The validation pictures as the records hold them, 256x256 JPEG files."""
    records = tf.data.TFRecordDataset([str(path) for path in shard_paths(data, load_manifest(data), "val")])
    return [parse_example(record)["image"].numpy() for record in records]
