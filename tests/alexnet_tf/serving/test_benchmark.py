"""The serving benchmark on a small net: every engine and way is measured and reported."""

import json
from pathlib import Path

import pytest

from alexnet_tf.program.errors import UserError
from benchmarks import serving
from tests.alexnet_tf.serving.exported_models import Exported


@pytest.mark.slow
def test_reports_every_engine_and_way(
    program: Exported, stored_pictures: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jpg").write_bytes(stored_pictures[0])
    report = tmp_path / "report.json"
    arguments = ["--model", str(program.models), "--images", str(tmp_path), "--pictures", "3", "--rounds", "2"]
    assert serving.main([*arguments, "--json", str(report)]) == 0
    figures = json.loads(report.read_text())["figures"]
    assert all(len(figure["rounds"]) == 2 and min(figure["rounds"]) > 0 for figure in figures.values())
    for name in ("TensorFlow, batch 1", "TensorFlow, batch 32", "gRPC, p99", "REST, p50", "direct call, p95",
                 "gRPC, 16 at a time, throughput", "server's memory at most"):  # fmt: skip
        assert name in figures
    missing = [line for line in capsys.readouterr().out.splitlines() if "takes no part" in line]
    assert len([name for name in figures if name.endswith("over TensorFlow, batch 32")]) == 3 - len(missing) / 2


def test_no_pictures_are_told(program: Exported, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.jpg"):
        serving.main(["--model", str(program.models), "--images", str(tmp_path)])
