"""The notebook runs from its first cell to its last, with few pictures and a narrow network, all else as it stands."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks/tour.ipynb"
SMALL = {"PER_CLASS": 6, "EPOCHS": 1}


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


@pytest.fixture
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The notebook moves to the checkout's root, whence it imports."""
    path, before = list(sys.path), Path.cwd()
    monkeypatch.setenv("MPLBACKEND", "agg")
    yield
    os.chdir(before)
    sys.path[:] = path


def test_it_is_stored_without_outputs(notebook: dict[str, Any]) -> None:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    text = json.dumps(notebook)
    assert "/home/" not in text and str(ROOT) not in text


@pytest.mark.slow
@pytest.mark.usefixtures("small_net", "as_it_was")
def test_it_runs_from_first_cell_to_last(notebook: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    from matplotlib import pyplot

    names: dict[str, Any] = {"__name__": "__main__"}
    os.chdir(NOTEBOOK.parent)  # where Jupyter starts it
    try:
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
                if "parameters" in cell["metadata"].get("tags", []):
                    assert names.keys() >= SMALL.keys()
                    names.update(SMALL, FOLDER=str(tmp_path / "tour"))
        assert len(pyplot.get_fignums()) == 6
    finally:
        pyplot.close("all")
        if "server" in names:
            names["server"].kill()
            names["server"].wait()
    told = capsys.readouterr().out
    assert "conv1_b" in told and "fc8_a" in told  # the summary
    assert names["server"].returncode == 0
    assert names["probabilities"].shape == (10, 10) and names["features"].shape == (10, 32)
