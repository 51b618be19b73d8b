"""The command on real TFDS builders over generated pictures; no network."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from alexnet_tf.program.errors import UserError
from tests.faults.damage import cut_between_records
from tests.tfrecords.made_pictures import noise
from tfrecords.convert import main
from tfrecords.manifest import load_manifest, shard_paths
from tfrecords.pictures import load_picture
from tfrecords.record_parsing import parse_example

SIZE = 24
LABELS = ["zebra", "ant", "cat"]
"""Not in sorted order: the set's own order counts."""


class _Generated(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    counts = {"train": 20, "test": 7}  # noqa: RUF012
    shape = (26, 40, 3)

    def _features(self) -> dict[str, tfds.features.FeatureConnector]:
        return {
            "image": tfds.features.Image(shape=self.shape, encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=LABELS),
        }

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(self._features()))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._generate_examples(split, count) for split, count in self.counts.items()}

    def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, dict]]:
        for number in range(count):
            yield number, self._example(split, number)

    def _example(self, split: str, number: int) -> dict:
        pixels = noise(number + 100 * len(split), self.shape[1], self.shape[0])[..., : self.shape[2]]
        return {"image": pixels, "label": number % 3}


class MadePhotos(_Generated):
    """As most sets are: train and test, pictures as JPEG, no file names."""


class MadeNamed(_Generated):
    """Gray PNG pictures, with names and features of no use here; train only."""

    counts = {"train": 20}  # noqa: RUF012
    shape = (28, 28, 1)

    def _features(self) -> dict[str, tfds.features.FeatureConnector]:
        return {
            "photo": tfds.features.Image(shape=self.shape),
            "species": tfds.features.ClassLabel(names=LABELS),
            "file_name": tfds.features.Text(),
            "boxes": tfds.features.Sequence(tfds.features.BBoxFeature()),
        }

    def _example(self, split: str, number: int) -> dict:
        example = super()._example(split, number)
        return {"photo": example["image"], "species": example["label"], "file_name": f"p{number}.png", "boxes": []}


class MadeUnlabeled(_Generated):
    """Its test pictures have no labels, as ImageNet's."""

    def _example(self, split: str, number: int) -> dict:
        return super()._example(split, number) | {"label": -1 if split == "test" else number % 3}


class MadeNumbers(_Generated):
    """No pictures at all."""

    def _features(self) -> dict[str, tfds.features.FeatureConnector]:
        return {"label": tfds.features.ClassLabel(names=LABELS)}

    def _example(self, split: str, number: int) -> dict:
        return {"label": number % 3}


@pytest.fixture(autouse=True, scope="module")
def registered() -> None:
    """As an import of the set's module would do it; done here, so that no other test file sees them."""
    for builder in (MadePhotos, MadeNamed, MadeUnlabeled, MadeNumbers):
        tfds.core.registered._DATASET_REGISTRY.setdefault(builder.name, builder)


def options(name: str, data_dir: Path, out: Path) -> list[str]:
    return ["tfds", f"--name={name}", f"--data-dir={data_dir}", f"--out={out}", f"--size={SIZE}", "--workers=1"]


def stored(builder: tfds.core.DatasetBuilder, split: str, key: str = "image") -> list[bytes]:
    """The encoded pictures, as TFDS's own reader gives them."""
    decoders = {key: tfds.decode.SkipDecoding()}
    return [example[key] for example in tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders))]


def records(data: Path, split: str) -> list[dict]:
    paths = [str(path) for path in shard_paths(data, load_manifest(data), split)]
    found = list(tf.data.TFRecordDataset(paths).map(parse_example).as_numpy_iterator())
    return sorted(found, key=lambda record: record["file_name"])


def test_prepares_and_converts(tmp_path: Path) -> None:
    assert main([*options("made_photos", tmp_path / "tfds", tmp_path / "out"), "--encoding=raw"]) == 0
    builder = tfds.builder("made_photos", data_dir=tmp_path / "tfds")
    manifest = load_manifest(tmp_path / "out")
    assert manifest.source == "tfds"
    assert manifest.class_keys == manifest.class_names == LABELS
    for split, theirs in (("train", "train"), ("val", "test")):
        found, images = records(tmp_path / "out", split), stored(builder, theirs)
        assert len(found) == len(images)
        labels = [int(e["label"]) for e in tfds.as_numpy(builder.as_dataset(split=theirs))]
        for number, (record, image, label) in enumerate(zip(found, images, labels, strict=True)):
            assert record["file_name"].decode() == f"{theirs}-{number:08d}"
            assert record["label"] == label
            assert record["image"] == load_picture(image, SIZE).tobytes()
    opened = tfds.builder_from_directory(tmp_path / "out")
    assert opened.info.features["label"].names == LABELS


def test_prepared_set_without_its_code(tmp_path: Path) -> None:
    """As a user has it, in a process that does not know the builder; parts of one split, gray PNG."""
    builder = MadeNamed(data_dir=tmp_path / "tfds", file_format="tfrecord")
    builder.download_and_prepare()
    line = options("made_named", tmp_path / "tfds", tmp_path / "out")
    line += ["--train-split=train[:70%]", "--val-split=train[70%:]", "--encoding=raw"]
    done = subprocess.run(
        [sys.executable, "-m", "tfrecords.convert", *line],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    train, val = records(tmp_path / "out", "train"), records(tmp_path / "out", "val")
    assert (len(train), len(val)) == (14, 6)
    assert {record["file_name"] for record in train + val} == {f"p{number}.png".encode() for number in range(20)}
    pictures = {load_picture(image, SIZE).tobytes() for image in stored(builder, "train[70%:]", "photo")}
    assert {record["image"] for record in val} == pictures
    pixels = np.frombuffer(val[0]["image"], np.uint8).reshape(SIZE, SIZE, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("no_such_set", [], "--name no_such_set cannot be prepared"),
        ("made_photos", ["--val-split=valid"], "no split 'valid', only train, test"),
        ("made_photos", ["--train-split=train[:1]"], "class ant has no readable picture in train"),
        ("made_photos", ["--val-split=test[:0]"], r"split 'test\[:0\]' is empty"),
        ("made_named", [], r"made_named has only the splits train: divide one"),
        ("made_unlabeled", [], "split 'test' has pictures without a label"),
        ("made_numbers", [], "0 picture features: it is no image classification set"),
    ],
)
def test_faults(name: str, more: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as fault:
        main([*options(name, tmp_path / "tfds", tmp_path / "out"), *more])
    assert "\n" not in str(fault.value)


def test_other_file_format_is_told(tmp_path: Path) -> None:
    MadePhotos(data_dir=tmp_path / "tfds", file_format="array_record").download_and_prepare()
    with pytest.raises(UserError, match=r"was prepared as array_record .*--data-dir"):
        main(options("made_photos", tmp_path / "tfds", tmp_path / "out"))


def test_cut_file_of_a_prepared_set(tmp_path: Path) -> None:
    """TFDS itself reads it as a smaller set."""
    tfds.builder("made_photos", data_dir=tmp_path / "tfds").download_and_prepare()
    (file,) = (tmp_path / "tfds").rglob("*-train.tfrecord-*")
    cut_between_records(file)
    with pytest.raises(UserError, match=rf"{re.escape(str(file))} was cut: 19 records, TFDS counts 20 or more; remove"):
        main(options("made_photos", tmp_path / "tfds", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
