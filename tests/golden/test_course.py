import json
from pathlib import Path

import pytest

from tests.golden.course import COURSES, golden_file, walk

WITHIN = 1e-9
"""Relative. In float64 twenty steps of two right programs agree to some 1e-13."""


@pytest.mark.parametrize("preset", COURSES)
def test_the_golden_course_has_not_moved(preset: str, tmp_path: Path) -> None:
    found, golden = walk(preset, tmp_path), json.loads(golden_file(preset).read_text())
    assert found["losses"] == pytest.approx(golden["losses"], rel=WITHIN)
    assert len(found["validations"]) == len(golden["validations"])
    for line, expected in zip(found["validations"], golden["validations"], strict=True):
        assert line == pytest.approx(expected, rel=WITHIN)
    assert found["norms"] == pytest.approx(golden["norms"], rel=WITHIN)
    assert found["weights_sha256"] == golden["weights_sha256"]
