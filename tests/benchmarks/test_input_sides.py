"""The sides of the input benchmark do the same work: each against the pictures themselves."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.pictures.decoding import decode_picture
from alexnet_tf.settings.presets import PRESETS
from benchmarks import input_sides, torch_input
from tests.conftest import TINY_CLASSES, TINY_TRAIN
from tfrecords.manifest import Manifest, load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

COUNT = len(TINY_CLASSES) * TINY_TRAIN


@pytest.fixture
def manifest(tiny_data: Path) -> Manifest:
    return load_manifest(tiny_data)


@pytest.fixture
def pictures(tiny_data: Path, manifest: Manifest) -> np.ndarray:
    """The training pictures in stored order, uint8 (24, 256, 256, 3)."""
    files, _ = input_sides.stored_pictures(tiny_data, manifest, COUNT)
    return np.stack([decode_picture(tf.constant(file), "jpeg", (256, 256, 3)) for file in files])


def test_every_kind_of_bare_decoding_sees_every_picture_again_and_again(
    tiny_data: Path, manifest: Manifest, pictures: np.ndarray
) -> None:
    """What is decoded first comes first, so that a few of a round may still be missing when many have been seen."""
    files, _ = input_sides.stored_pictures(tiny_data, manifest, COUNT)
    rounds, late = 20, 4
    expected = Counter(map(tuple, pictures[:, 0, 0].tolist()))
    assert len(expected) == COUNT  # else they could not be told apart
    for batches in (
        input_sides.bare_decoding(tiny_data, manifest, COUNT // 2),
        input_sides.tensorflow_decoding(tiny_data, manifest, COUNT // 2),
        input_sides.decoding_from_memory(files, COUNT // 2, threads=2),
    ):
        pixels = np.concatenate(list(itertools.islice(batches, 2 * rounds)))
        seen = Counter(map(tuple, pixels.tolist()))
        assert seen.keys() == expected.keys()
        assert all(abs(count - rounds) <= late for count in seen.values())


def test_naive_pipeline_augments_as_the_paper_does(tiny_data: Path, manifest: Manifest, pictures: np.ndarray) -> None:
    statistics = Statistics.load(tiny_data / STATISTICS_FILE)
    batches = input_sides.naive_pipeline(tiny_data, manifest, statistics, PRESETS["paper"].augment, 6, 12)
    images, labels = next(iter(batches))
    assert images.shape == (6, 224, 224, 3) and labels.shape == (6,)
    prepared = pictures - statistics.mean_image
    for image in images.numpy():
        assert any(is_crop_of(image, picture) for whole in prepared for picture in (whole, whole[:, ::-1]))


def is_crop_of(image: np.ndarray, picture: np.ndarray) -> bool:
    """Whether some crop of the picture is the image but for one color shift."""
    for top, left in itertools.product(range(33), range(33)):
        corner = image[:2, :2] - picture[top : top + 2, left : left + 2]
        if np.ptp(corner, axis=(0, 1)).max() < 1e-3:
            whole = image - picture[top : top + 224, left : left + 224]
            if np.ptp(whole, axis=(0, 1)).max() < 1e-3:
                return True
    return False


def test_pytorch_prepares_the_same_pictures(tiny_data: Path, manifest: Manifest, pictures: np.ndarray) -> None:
    files, labels = input_sides.stored_pictures(tiny_data, manifest, COUNT)
    mean = Statistics.load(tiny_data / STATISTICS_FILE).mean_image.astype("f4")
    data = torch_input.AugmentedPictures(files, labels, mean, np.eye(3, dtype="f4"), 224, 32)
    for index in (0, 5, 23):
        image, label = data[index]
        assert label == labels[index]
        whole = pictures[index] - mean
        found = image.permute(1, 2, 0).numpy()
        assert any(is_crop_of(found, picture) for picture in (whole, whole[:, ::-1]))
