"""What the benchmarks compute from their measurements; the measurements are made by hand."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tf.networks.registry import build_network
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from benchmarks import convert as convert_benchmark
from benchmarks import evaluation, report, step
from benchmarks import input as input_benchmark
from benchmarks.flops import LayerWork, count_work, gflop_per_image

# (output positions, kernel values) of every layer of both towers, from the paper's figure 2.
PAPER_LAYERS = {
    "conv1": [(55 * 55, 11 * 11 * 3 * 48)] * 2,
    "conv2": [(27 * 27, 5 * 5 * 48 * 128)] * 2,
    "conv3": [(13 * 13, 3 * 3 * 256 * 192)] * 2,
    "conv4": [(13 * 13, 3 * 3 * 192 * 192)] * 2,
    "conv5": [(13 * 13, 3 * 3 * 192 * 128)] * 2,
    "fc6": [(1, 9216 * 2048)] * 2,
    "fc7": [(1, 4096 * 2048)] * 2,
    "fc8": [(1, 4096 * 1000)],
}


@pytest.mark.parametrize("preset", ["paper", "2012-code", "caffe"])
def test_work_is_that_of_the_papers_layers(preset: str) -> None:
    model = build_network(PRESETS[preset].network, 1000, Towers.unplaced())
    work = count_work(model)
    found: dict[str, list[tuple[int, int]]] = {}
    for layer in work:
        name = layer.layer.rpartition("_")[0]
        found.setdefault(name, []).append((layer.positions, int(np.prod(layer.kernel))))
    assert found == PAPER_LAYERS
    assert {layer.layer for layer in work if layer.sees_image} == {"conv1_a", "conv1_b"}

    products = {name: sum(p * k for p, k in layers) for name, layers in PAPER_LAYERS.items()}
    expected = 2 * (3 * sum(products.values()) - products["conv1"])
    assert gflop_per_image(work) * 1e9 == pytest.approx(expected, abs=1)


def test_input_gradient_of_the_first_layer_is_not_counted() -> None:
    first = LayerWork("conv1_a", (2, 2, 3, 4), 10, sees_image=True)
    later = LayerWork("conv2_a", (2, 2, 3, 4), 10, sees_image=False)
    assert (first.forward, first.backward) == (960, 960)
    assert (later.forward, later.backward) == (960, 1920)


def test_sides_are_compared_round_by_round() -> None:
    # The machine halves its speed in the last two rounds; the step is at half of the peak always.
    rounds = {
        "torch": [step.Round(3.0), step.Round(6.0), step.Round(8.0)],
        "paper": [step.Round(1.0, 80.0), step.Round(2.0, 40.0), step.Round(2.0, 40.0)],
    }
    rounds["paper@5"] = [step.Round(0.6, 80.0), step.Round(1.2, 40.0), step.Round(1.2, 40.0)]
    images = {"torch": 10, "paper": 10, "paper@5": 5}
    figures = step.summarize(rounds, images, gflop={"paper": 4.0, "paper@5": 4.0})
    assert figures["paper@5: images_per_second"].rounds == pytest.approx([5 / 0.6, 5 / 1.2, 5 / 1.2])
    assert figures["paper@5: time_over_paper"].rounds == pytest.approx([1.2, 1.2, 1.2])
    assert figures["paper: images_per_second"].rounds == [10.0, 5.0, 5.0]
    assert figures["paper: images_per_second"].median == 5.0
    assert figures["paper: step_ms"].median == 2000.0
    assert figures["paper: step_gflops"].median == 20.0
    assert figures["paper: share_of_peak"].rounds == [50.0, 50.0, 50.0]
    assert figures["torch: step_ms"].rounds == [3000.0, 6000.0, 8000.0]
    assert figures["torch: time_over_paper"].rounds == [3.0, 3.0, 4.0]
    assert {"torch: share_of_peak", "paper: time_over_paper"}.isdisjoint(figures)


def test_pipelines_share_is_taken_round_by_round() -> None:
    def turns(*rates: float) -> input_benchmark.Turns:
        return input_benchmark.Turns("side", list(rates), [1e3 / rate for rate in rates])

    figures = input_benchmark.summarize(
        {
            "pipeline": turns(80, 20, 20), "device": turns(90, 20, 30), "torch": turns(20, 10, 5),
            "bare": turns(100, 40, 50),
        }
    )  # fmt: skip
    assert figures["pipeline_share_of_bare"].median == pytest.approx(50.0)
    assert figures["device_share_of_bare"].median == pytest.approx(60.0)
    assert figures["pipeline_cpu_share_of_bare"].median == pytest.approx(50.0)
    assert figures["times_torch"].median == pytest.approx(4.0)
    assert figures["cpu_bare"].median == pytest.approx(20.0) and "cpu_torch" not in figures
    raw = input_benchmark.summarize(
        {"pipeline": turns(5, 6, 7), "device": turns(4000, 8000, 9000), "reading": turns(8000, 8000, 9000)}
    )
    assert raw["share_of_goal"].median == 100.0


def test_cost_of_ten_views_is_taken_round_by_round() -> None:
    figures = evaluation.summarize({1: [90.0, 40.0, 60.0], 10: [10.0, 5.0, 6.0]})
    assert figures["cost_of_ten"].rounds == pytest.approx([9.0, 8.0, 10.0])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (4.1349, "4.13"),
        (9.999, "10.0"),
        (49.23, "49.2"),
        (329.6, "330"),
        (999.9, "1000"),
        (12345.6, "12346"),
        (-2.345678, "-2.35"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, expected: str) -> None:
    assert report.format_number(value) == expected


def test_table_has_a_line_for_each_figure() -> None:
    table = report.format_table([report.Figure("step", "images/s", [49.0, 51.0, 50.0]), report.Figure("", "%", [7.0])])
    first, second = table.splitlines()
    assert first.split() == ["step", "50.0", "images/s", "(49.0", "to", "51.0)"]
    assert second.split() == ["7.00", "%", "(7.00", "to", "7.00)"]
    assert first.index("(") == second.index("(")


def test_every_second_round_runs_backwards() -> None:
    order: list[str] = []
    for number in range(3):
        report.in_turns(number, lambda: order.append("a"), lambda: order.append("b"))
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_report_holds_every_round_and_the_machine(tmp_path: Path) -> None:
    machine = report.describe_machine()
    figures = {"rate": report.Figure("rate", "images/s", [3.0, 1.0, 2.0])}
    report.write_report(tmp_path / "r.json", "step", {"batch_size": 8}, machine, figures)
    saved = json.loads((tmp_path / "r.json").read_text())
    assert saved["settings"] == {"batch_size": 8}
    assert saved["figures"]["rate"] == {
        "unit": "images/s", "median": 2.0, "min": 1.0, "max": 3.0, "rounds": [3.0, 1.0, 2.0]
    }  # fmt: skip
    assert saved["machine"]["cores"] >= 1
    assert saved["machine"]["cpu"]
    assert re.match(r"2\.\d+", saved["machine"]["tensorflow"])
    assert machine["cpu"] in report.format_machine(machine)


def test_json_in_a_missing_folder_is_told_before_measuring(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*make it first"):
        step.main(["--json", str(tmp_path / "nowhere" / "r.json")])


def test_input_without_data_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no data folder .*missing"):
        input_benchmark.main(["--data", str(tmp_path / "missing")])


@pytest.mark.parametrize(
    "arguments", [["--batch-size", "0"], ["--rounds", "x"], ["--sides", "paper,tensorflow"], ["--sides", "torch"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        step.main(arguments)
    assert stopped.value.code == 2


def test_conversion_and_plain_loop_code_the_same_picture(tmp_path: Path) -> None:
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8))
    (tmp_path / "a").mkdir()
    coarse.resize((400, 300), Image.Resampling.BICUBIC).save(tmp_path / "a" / "1.jpg", quality=90)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    (item,) = convert_benchmark.readable_items(tmp_path)
    coded = [side(item.read()) for side in (convert_benchmark.same_work, convert_benchmark.plain_loop)]
    ours, loops = (np.asarray(Image.open(io.BytesIO(data)), int) for data in coded)
    assert ours.shape == loops.shape == (256, 256, 3)
    assert np.abs(ours - loops).mean() < 0.5
    (tmp_path / "a" / "1.jpg").unlink()
    with pytest.raises(UserError, match="holds no picture that can be read"):
        convert_benchmark.readable_items(tmp_path)
