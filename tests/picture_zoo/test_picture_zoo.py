"""Every file of the zoo fares alike in the converter and in an exported model, and docs/PICTURES.md says how."""

import io
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf.serving.picture_files import OK
from tests.faults.hostile_pictures import encoded
from tests.picture_zoo.chance import damaged_files
from tests.picture_zoo.files import numbers, pixels
from tests.picture_zoo.orientations import upright
from tests.picture_zoo.zoo import DIFFERS, READ, ZOO, converter_answer, look_at, table, written_table
from tfrecords.exif import EXIF, UPRIGHT, exif_with
from tfrecords.pictures import load_picture, load_square

AT_ONCE = 100
LARGE = Image.fromarray((numbers(3, 401, 307) * 255).astype(np.uint8))
"""Odd sides, and larger than the square: the middle is not in the middle of the pixels."""
SMALL = Image.fromarray(pixels())


@pytest.mark.parametrize("form", ZOO)
def test_the_same_pixels_or_both_refuse(form: str) -> None:
    found = look_at(form)
    assert len(found) >= 15
    assert [one for one in found if one.verdict == DIFFERS] == []


def test_the_table_in_the_docs_is_what_the_code_does() -> None:
    assert written_table() == table(), "renew it: python -m tests.picture_zoo"


@pytest.mark.parametrize("picture", [LARGE, SMALL, LARGE.convert("L")], ids=["large", "small", "gray"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_all_orientations_give_the_same_pixels_in_converter_and_model(picture: Image.Image, kind: str) -> None:
    plain = encoded(picture, kind)
    with Image.open(io.BytesIO(plain)) as decoded:
        stored = decoded.convert("RGB")
    before = EXIF if kind == "JPEG" else b""
    files = [encoded(picture, kind, exif=before + exif_with(orientation)) for orientation in range(1, 9)]
    served, statuses = READ(tf.constant(files))
    assert set(statuses.numpy()) == {b"ok"}
    for orientation, file, pixels_served in zip(range(1, 9), files, served.numpy(), strict=True):
        repairs: list[str] = []
        converted = np.asarray(load_square(file, 256, repairs, exif="apply"))
        assert np.array_equal(converted, load_picture(encoded(upright(stored, orientation), "PNG"), 256))
        assert np.abs(pixels_served - converted.astype(np.float32)).max() <= 1
        assert (f"EXIF orientation {orientation} applied" in repairs) == (orientation != UPRIGHT)
        assert np.array_equal(load_picture(file, 256), load_picture(plain, 256))  # ignored, as by default


@pytest.mark.parametrize(("seed", "count"), [(0, 300), pytest.param(1, 6000, marks=pytest.mark.slow)])
def test_damage_by_chance_is_taken_alike(seed: int, count: int) -> None:
    files = damaged_files(seed)
    read = 0
    for _ in range(count // AT_ONCE):
        batch = list(itertools.islice(files, AT_ONCE))
        pictures, statuses = READ(tf.constant(batch))
        for file, picture, status in zip(batch, pictures.numpy(), statuses.numpy(), strict=True):
            converted, reason = converter_answer(file)
            assert (reason == OK) == (status == OK.encode()), (reason, status, file)
            assert np.abs(picture - converted).max() <= 1, file
            read += reason == OK
    assert 0.1 < read / count < 0.9
