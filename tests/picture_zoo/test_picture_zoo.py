"""Every file of the zoo fares alike in the converter and in an exported model, and docs/PICTURES.md says how."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.serving.picture_files import OK
from tests.picture_zoo.chance import damaged_files
from tests.picture_zoo.zoo import DIFFERS, READ, ZOO, converter_answer, look_at, table, written_table

AT_ONCE = 100


@pytest.mark.parametrize("form", ZOO)
def test_the_same_pixels_or_both_refuse(form: str) -> None:
    found = look_at(form)
    assert len(found) >= 15
    assert [one for one in found if one.verdict == DIFFERS] == []


def test_the_table_in_the_docs_is_what_the_code_does() -> None:
    assert written_table() == table(), "renew it: python -m tests.picture_zoo"


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
