"""The picture of a run's learning curve: which kinds there are, and when there is something to draw."""

import json
from pathlib import Path

import pytest

from alexnet_tf import learning_curve
from alexnet_tf.program.errors import UserError

VALIDATION = {"kind": "validation", "step": 2, "epoch": 1, "loss": 0.7, "top1_error": 0.5, "top5_error": 0.0}


def test_one_epoch_is_enough_and_the_ending_tells_the_kind(tmp_path: Path) -> None:
    """Of few pictures an epoch may be over before the first line of training is due."""
    (tmp_path / "metrics.jsonl").write_text(json.dumps(VALIDATION) + "\n")
    for name, beginning in (("curve.svg", b"<?xml"), ("curve.PNG", b"\x89PNG"), ("curve", b"\x89PNG")):
        assert learning_curve.main(["--run", str(tmp_path), "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes().startswith(beginning)
    with pytest.raises(UserError, match=r"curve\.foo: no picture is written as \.foo; choose one of \.\w+, .*\.png, "):
        learning_curve.main(["--run", str(tmp_path), "--out", str(tmp_path / "curve.foo")])


def test_before_the_first_epoch_there_is_nothing_to_draw(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(UserError, match="has not finished an epoch yet; nothing to draw"):
        learning_curve.main(["--run", str(tmp_path), "--out", str(tmp_path / "curve.png")])
