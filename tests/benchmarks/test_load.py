"""The mixed load on a small net: every kind of request ends as it should, with a new version beneath."""

import json
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.load_requests import KINDS
from tests.alexnet_tf.serving.conftest import export_of, program  # noqa: F401
from tests.alexnet_tf.serving.exported_models import Exported


@pytest.mark.slow
def test_every_request_ends_as_it_should(
    program: Exported,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = tmp_path / "report.json"
    options = ["--requests", "300", "--clients", "4", "--reloads", "2", "--json", str(report)]
    assert load.main(["--model", str(program.models), *options]) == 0
    figures = json.loads(report.read_text())["figures"]
    ended = {name: figure["median"] for name, figure in figures.items() if name.startswith("ended ")}
    assert sum(ended.values()) == 300
    assert set(ended) <= {f"ended {kind.expected}" for kind in KINDS}
    assert figures["first"]["median"] > 100
    assert "memory at the end" in capsys.readouterr().out
