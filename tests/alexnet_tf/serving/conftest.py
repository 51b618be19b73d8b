"""Exported models of both presets with small fully connected layers, and pictures to show them."""

import functools
import shutil
from collections.abc import Callable, Iterator
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
from tests.alexnet_tf.serving.servers import Server, local_server, tensorflow_model_server
from tests.alexnet_tf.training.made_runs import write_opinionated_run
from tests.narrow_nets import shrink_net
from tfrecords.manifest import load_manifest, shard_paths
from tfrecords.schema import parse_example

CLASSES = 7
"""More than the five that are named."""
LICENSE = "for tests only"


class Exported(NamedTuple):
    """A run, its network, and the model's folder with version 1 of it."""

    run: Run
    net: Network
    models: Path

    def signature(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        return _loaded(self.models / "1").signatures[name]


def validation_batches(data: Path) -> RecordBatches:
    """All 12 pictures of the validation split, as evaluation reads them."""
    return evaluation_batches(data, load_manifest(data), split="val", batch_size=12)


def center_views(exported: Exported, data: Path) -> tf.Tensor:
    """What evaluation shows the network of them, float32 (12, size, size, 3)."""
    pictures, _ = next(iter(validation_batches(data)))
    return evaluation_views(pictures, 1, exported.run.config.preset.augment, exported.run.statistics)[:, 0]


@functools.cache
def _loaded(version: Path) -> object:
    return tf.saved_model.load(str(version))


@pytest.fixture(scope="session")
def export_of(tiny_data: Path, two_cpus: Towers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable]:
    """The exported model of a preset, made once; it turns pictures by their EXIF orientation."""
    root = tmp_path_factory.mktemp("exported")

    @functools.cache
    def export(preset: str) -> Exported:
        folder = root / preset
        manifest = load_manifest(tiny_data).model_copy(
            update={
                "class_keys": [f"n{number:08d}" for number in range(CLASSES)],
                "class_names": [f"class {number}, größer" for number in range(CLASSES)],
                "exif": "apply",
            }
        )
        with pytest.MonkeyPatch.context() as patch:
            shrink_net(patch)
            write_opinionated_run(folder / "run", tiny_data, manifest, preset, two_cpus, seed=3, bound=True)
            run = open_run(folder / "run")
            net, _ = trained_network(run, Towers.unplaced())
            export_run([run], folder / "alexnet", None, license_text=LICENSE)
        return Exported(run, net, folder / "alexnet")

    yield export
    _loaded.cache_clear()
    shutil.rmtree(root)


@pytest.fixture(scope="session", params=["paper", "2012-code", "caffe", "owt"])
def exported(request: pytest.FixtureRequest, export_of: Callable[[str], Exported]) -> Exported:
    """Each preset in turn."""
    return export_of(request.param)


@pytest.fixture(scope="session")
def program(export_of: Callable[[str], Exported]) -> Exported:
    """The 2012 program's, where one preset is enough."""
    return export_of("2012-code")


@pytest.fixture(scope="session")
def quick_models(program: Exported, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same model, quick to load, for tests of something else."""
    root = tmp_path_factory.mktemp("quick")
    keep_one_warm_up(Path(shutil.copytree(program.models / "1", root / "alexnet" / "1")))
    yield root / "alexnet"
    shutil.rmtree(root)


def keep_one_warm_up(version: Path) -> None:
    """Leaves the first of its warm-up requests: loading takes a third of the time then."""
    warm_up = str(version / WARM_UP_FILE)
    first = next(tf.data.TFRecordDataset(warm_up).as_numpy_iterator())
    with tf.io.TFRecordWriter(warm_up) as writer:
        writer.write(first)


@pytest.fixture(scope="session")
def stored_pictures(tiny_data: Path) -> list[bytes]:
    """The validation pictures as the records hold them, 256x256 JPEG files."""
    records = tf.data.TFRecordDataset([str(path) for path in shard_paths(tiny_data, load_manifest(tiny_data), "val")])
    return [parse_example(record)["image"].numpy() for record in records]


@pytest.fixture(scope="session")
def server(program: Exported) -> Iterator[Server]:
    """alexnet_tf.serve with small limits, on the 2012 program's net."""
    with local_server(program.models, "--max-batch=4", "--max-body=4") as started:
        yield started


@pytest.fixture(scope="session", params=["alexnet_tf.serve", "tensorflow_model_server"])
def any_server(request: pytest.FixtureRequest, program: Exported) -> Iterator[Server]:
    """This project's server, then the real TensorFlow Serving where it is installed."""
    if request.param == "alexnet_tf.serve":
        yield request.getfixturevalue("server")
        return
    if shutil.which(request.param) is None:
        pytest.skip("NO TENSORFLOW SERVING: there is no tensorflow_model_server on the PATH")
    with tensorflow_model_server(program.models) as started:
        yield started
