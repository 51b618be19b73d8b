"""Two logical processors for every test, a small converted data set, and where real pictures are."""

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.narrow_nets import shrink_net
from tfrecords import convert

if TYPE_CHECKING:
    from alexnet_tf.towers import Towers

pytest_plugins = ["tests.suite_cost"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before the first import of TensorFlow

TINY_CLASSES = ("ant", "bee", "cat")
TINY_TRAIN, TINY_VAL = 8, 4
"""Pictures of each class."""


def pytest_collectstart() -> None:
    """The devices are made before any module of tests is imported, so that none can use TensorFlow with only one.

    Of the processes of pytest-xdist only those that run tests collect them: the one that starts these has no need of
    TensorFlow, whose import takes seconds. That is why no conftest.py of this suite imports it at its top.
    """
    two_processors()


@functools.cache
def two_processors() -> "Towers":
    """Makes two logical processors, one for each tower."""
    import tensorflow as tf

    from alexnet_tf.settings.sections import DevicesConfig
    from alexnet_tf.towers import set_up_towers

    towers = set_up_towers(DevicesConfig(towers="two-cpus"))
    assert len(tf.config.list_logical_devices("CPU")) == 2  # asking for them makes them
    return towers


@pytest.fixture(scope="session")
def two_cpus() -> "Towers":
    """Tower a on the first logical processor, tower b on the second."""
    return two_processors()


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 classes of 8 training and 4 validation pictures, converted to JPEG; not to be changed."""
    root = tmp_path_factory.mktemp("tiny")
    write_pictures(root / "train", TINY_TRAIN, seed=0)
    write_pictures(root / "val", TINY_VAL, seed=10_000)
    return convert_folder(root)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real pictures; the test is skipped where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ALEXNET_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"NO REAL PICTURES: {folder} does not exist; set ALEXNET_TEST_DATA to their folder")
    return folder


@pytest.fixture
def small_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks made from now on are narrow."""
    shrink_net(monkeypatch)


def convert_folder(root: Path, *options: str) -> Path:
    """Converts root/train and root/val by the command itself; returns the data folder."""
    folders = [f"--train={root / 'train'}", f"--val={root / 'val'}", f"--out={root / 'data'}"]
    assert convert.main(["folder", *folders, "--workers=1", *options]) == 0
    return root / "data"


def write_pictures(folder: Path, per_class: int, seed: int) -> None:
    for label, key in enumerate(TINY_CLASSES):
        (folder / key).mkdir(parents=True)
        for number in range(per_class):
            draw = np.random.default_rng(seed + 100 * label + number)
            coarse = Image.fromarray(draw.integers(0, 256, (5, 6, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((300, 270), Image.Resampling.BICUBIC), np.float64)
            # The classes differ in color and in the period of their stripes.
            smooth[..., label] += 60 * np.sin(np.arange(300) / (2 + 3 * label))
            pixels = np.clip(smooth + draw.normal(0, 10, smooth.shape), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / key / f"{key}_{number}.png")
