"""The mixed load on a small net: every kind of request ends as it should, with a new version beneath."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import load
from benchmarks.load_requests import KINDS
from tests.alexnet_tf.serving.conftest import export_of  # noqa: F401
from tests.alexnet_tf.serving.exported_models import Exported, export_preset
from tests.conftest import convert_folder

if TYPE_CHECKING:
    from alexnet_tf.towers import Towers


def gray_model(pictures: Path, folder: Path, towers: "Towers") -> Path:
    """LeNet-5's, which takes gray pixels."""
    for split in ("train", "val"):
        (folder / split).symlink_to(pictures / split)
    data = convert_folder(folder, "--size=28", "--channels=1")
    return export_preset("lenet5", folder / "lenet5", data, towers).models


@pytest.mark.slow
@pytest.mark.parametrize("colors", ["color", "gray"])
def test_every_request_ends_as_it_should(
    colors: str,
    export_of: Callable[[str], Exported],  # noqa: F811
    tiny_data: Path,
    two_cpus: "Towers",
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gray = colors == "gray"
    models = gray_model(tiny_data.parent, tmp_path, two_cpus) if gray else export_of("2012-code").models
    report = tmp_path / "report.json"
    options = ["--requests", "300", "--clients", "4", "--reloads", "2", "--json", str(report)]
    assert load.main(["--model", str(models), *options]) == 0
    figures = json.loads(report.read_text())["figures"]
    ended = {name: figure["median"] for name, figure in figures.items() if name.startswith("ended ")}
    assert sum(ended.values()) == 300
    assert set(ended) <= {f"ended {kind.expected}" for kind in KINDS}
    assert figures["first"]["median"] > 100
    assert "memory at the end" in capsys.readouterr().out
