"""One small conversion that many tests read."""

import shutil
from pathlib import Path

import pytest

from tests.tfrecords.made_pictures import CLASSES, SETTINGS, write_pictures
from tfrecords.convert import convert
from tfrecords.folder_source import FolderSource


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with the classes; not to be changed."""
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root / "train", CLASSES, 14, seed=0)
    write_pictures(root / "val", CLASSES, 5, seed=500)
    (root / "synset_words.txt").write_text("ant ant, emmet\ncat house cat\nunused word\n")
    return root


@pytest.fixture(scope="session")
def converted(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of `pictures`; not to be changed."""
    out = tmp_path_factory.mktemp("converted") / "data"
    convert(FolderSource(pictures / "train", pictures / "val"), out, SETTINGS, workers=1)
    return out


@pytest.fixture
def data(converted: Path, tmp_path: Path) -> Path:
    """A copy of `converted` to damage."""
    return Path(shutil.copytree(converted, tmp_path / "data"))
