"""Every file of the zoo fares alike in the converter and in an exported model, and docs/PICTURES.md says how."""

import pytest

from tests.picture_zoo.zoo import DIFFERS, ZOO, look_at, table, written_table


@pytest.mark.parametrize("form", ZOO)
def test_the_same_pixels_or_both_refuse(form: str) -> None:
    found = look_at(form)
    assert len(found) >= 15
    assert [one for one in found if one.verdict == DIFFERS] == []


def test_the_table_in_the_docs_is_what_the_code_does() -> None:
    assert written_table() == table(), "renew it: python -m tests.picture_zoo"
