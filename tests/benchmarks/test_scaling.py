"""docs/SCALING.md says what `benchmarks.scaling` computes, and that is what can be computed by hand."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from alexnet_tf.program.errors import UserError
from benchmarks import scaling
from benchmarks.cluster import Cluster, Network, ring_bytes
from benchmarks.figures import MEASURED, PUBLISHED, SOURCES, WEIRD_TRICK, one_tower_parameters
from tests.one_end import at_the_newer_end

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("scaling") / "tables.json"
    assert scaling.main(["--json", str(path)]) == 0
    return json.loads(path.read_text())


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.mark.slow
def test_the_documents_tables_are_the_commands(tables: dict[str, str]) -> None:
    document = DOCS / "SCALING.md"
    assert scaling.renewed(document, tables) == document.read_text(encoding="utf-8"), (
        "renew them: python -m benchmarks.scaling --renew docs/SCALING.md"
    )
    assert re.findall(r"<!-- table (.+?) -->", document.read_text(encoding="utf-8")) == list(tables)


@pytest.mark.slow
def test_what_crosses_and_what_is_reduced(tables: dict[str, str]) -> None:
    crossings = {row[0]: row[1:] for row in cells(tables["crossings"])}
    layers = {"conv3": 13 * 13 * 128 * 4, "fc6": 6 * 6 * 128 * 4, "fc7": 2048 * 4}
    for layer, size in layers.items():
        assert crossings[f"input of {layer}"] == [f"{size:,}"] * 4
    assert crossings["input of fc8"] == ["0", "8,192", "8,192", "0"]  # fc8 is on tower a's device
    two, *_, thirty_two = cells(tables["all-reduce"])[2:]
    assert two[:4] == ["4", "2", "244", "122"]  # 60,965,224 parameters of 4 and of 2 bytes
    assert thirty_two[:3] == ["64", "32", "472"]


@pytest.mark.parametrize("name", MEASURED)
def test_every_measured_figure_stands_in_the_results(name: str) -> None:
    figure = MEASURED[name]
    written = [f"{figure.value:g}", f"{figure.value:,}"]
    results = (DOCS / "RESULTS.md").read_text(encoding="utf-8")
    assert any(re.search(rf"(?<![\d.,]){re.escape(text)}(?![\d]|[.,]\d)", results) for text in written), (
        f"{written[0]} ({figure.what}) is no longer in docs/RESULTS.md: bring benchmarks/figures.py up to date"
    )


def test_every_published_figure_names_its_source() -> None:
    assert {entry.source for entry in PUBLISHED} == set(SOURCES)


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_a_ring_all_reduce_sends_as_much(workers: int) -> None:
    """Carried out: each worker sends one part a turn to the next, first to add up, then to hand round."""
    gradients = np.random.default_rng(0).normal(size=(workers, 24))
    parts = [list(np.split(gradient, workers)) for gradient in gradients.copy()]
    sent = 0
    for turn in range(2 * (workers - 1)):
        moving = [(w, (w - turn) % workers, parts[w][(w - turn) % workers].copy()) for w in range(workers)]
        for worker, number, values in moving:
            adding = turn < workers - 1
            receiver = parts[(worker + 1) % workers]
            receiver[number] = receiver[number] + values if adding else values
            sent += values.nbytes
    for part in parts:
        np.testing.assert_allclose(np.concatenate(part), gradients.sum(0), rtol=1e-12)
    assert sent / workers == pytest.approx(ring_bytes(workers, gradients[0].nbytes))


def test_a_step_by_hand() -> None:
    network = Network(parameters=1_000_000, tower_parameters=600_000, crossing_bytes=2_000)
    cluster = Cluster("made up", images_per_second=100, link=4e6, network=1e6, gpus_per_host=4)
    alone, pair, host, hosts = (cluster.step(gpus, 64 * max(1, gpus // 2), network) for gpus in (1, 2, 4, 8))
    assert (alone.compute, alone.crossings, alone.all_reduce) == (0.64, 0, 0)
    assert (pair.compute, pair.crossings, pair.all_reduce) == (0.32, 0.032, 0)
    assert (host.compute, host.crossings, host.all_reduce) == pytest.approx((0.32, 0.032, 0.6))  # 2.4 MB, 4 MB/s
    assert (hosts.compute, hosts.crossings, hosts.all_reduce) == pytest.approx((0.32, 0.032, 6.0))  # 6 MB, 1 MB/s
    assert (hosts.shortest, hosts.longest) == pytest.approx((6.0, 6.352))
    assert cluster.step(4, 64, network).crossings == 0.016
    with pytest.raises(ValueError, match="3 GPUs are no pairs"):
        cluster.step(3, 64, network)


def test_parameters_of_the_one_tower_net_are_torchvisions() -> None:
    assert one_tower_parameters(WEIRD_TRICK) == 61_100_840


@at_the_newer_end
def test_own_machines_take_the_place_of_the_published_ones(capsys: pytest.CaptureFixture) -> None:
    own = ["--rate", "1000", "--network", "40", "--jpeg-rate", "2000", "--classes", "10", "--batch-size", "64"]
    assert scaling.main(own) == 0
    printed = capsys.readouterr().out
    assert "yours, 40 Gbit/s" in printed and "A100 40GB PCIe, 100" not in printed
    hours = printed.partition("hours:\n\n")[2]
    assert cells(hours)[2][2] == f"{90 * 1_281_167 / 1000 / 3600:.1f}"
    with pytest.raises(SystemExit):
        scaling.main(["--rate", "0"])


def test_a_document_that_cannot_be_renewed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.md cannot be read"):
        scaling.renewed(tmp_path / "nowhere.md", {})
    (tmp_path / "d.md").write_text("<!-- table prices -->\n<!-- end -->\n")
    with pytest.raises(UserError, match=r"no table 'prices'; there are step"):
        scaling.renewed(tmp_path / "d.md", {"step": ""})
