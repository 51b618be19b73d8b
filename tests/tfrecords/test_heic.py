"""Phones' HEIC files: read where pillow-heif is installed, and told with what to install where it is not."""

import sys

import numpy as np
import pytest
from PIL import Image

from tests.faults.hostile_pictures import encoded
from tests.picture_zoo.orientations import upright
from tests.picture_zoo.other_files import unread_files
from tests.tfrecords.odd_pictures import smooth
from tfrecords.pictures import UnreadablePicture, as_png, load_picture, load_square

SIZE = 32


@pytest.mark.parametrize("brand", ["heic", "mif1"])
def test_without_its_reader_it_is_told_what_to_install(brand: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    with pytest.raises(
        UnreadablePicture, match=r"a HEI[CF] file, which needs pillow-heif: pip install 'alexnet-tf\[heic\]'"
    ):
        load_picture(unread_files()["HEIC", brand], SIZE)


def test_with_its_reader() -> None:
    """It turns pictures itself, by what the file says beside its Exif data."""
    heif = pytest.importorskip("pillow_heif", reason="NO HEIC: pillow-heif is not installed")
    heif.register_heif_opener()
    stored = Image.fromarray(smooth(96, 64))
    for orientation in (1, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = encoded(stored, "HEIF", quality=95, exif=exif.tobytes())
        expected = load_picture(encoded(upright(stored, orientation), "PNG"), SIZE).astype(int)
        for found in (
            load_picture(file, SIZE),
            load_picture(file, SIZE, exif="apply"),
            load_picture(as_png(file), SIZE),
        ):
            assert np.abs(found - expected).mean() < 8
        repairs: list[str] = []
        load_square(file, SIZE, repairs, "IMG_1.HEIC", exif="apply")
        assert repairs == []
    for length in (100, len(file) // 2):
        with pytest.raises(UnreadablePicture, match="damaged"):
            load_picture(file[:length], SIZE)
