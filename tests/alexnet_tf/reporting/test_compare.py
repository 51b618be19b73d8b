"""A whole comparison of narrow runs: its numbers against those that follow from the networks' own answers."""

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from alexnet_tf import compare
from alexnet_tf.program.errors import UserError
from alexnet_tf.towers import Towers
from tests.alexnet_tf.evaluation.test_evaluate import probabilities_by_hand
from tests.alexnet_tf.training.made_runs import write_opinionated_run
from tests.conftest import convert_folder
from tests.narrow_nets import shrink_net
from tfrecords.manifest import load_manifest

SEEDS = {"one": 3, "two": 4}
"""By the run's name."""
RUNS = (*SEEDS, "three")


@pytest.fixture(scope="module")
def folder(tiny_data: Path, two_cpus: Towers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs with logs; the third is as the first, but its data are away."""
    root = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        shrink_net(patch)
        for name, seed in SEEDS.items():
            write_opinionated_run(root / name, tiny_data, load_manifest(tiny_data), "2012-code", two_cpus, seed)
            log = [
                {"kind": "train", "step": 1, "epoch": 1.0, "loss": 1.0 + seed, "weight_rate": 0.01},
                {"kind": "validation", "step": 1, "epoch": 1.0, "loss": 1.0, "top1_error": 0.25, "top5_error": 0.0,
                 "images": 12},
            ]  # fmt: skip
            (root / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
        shutil.copytree(root / "one", root / "three")
        config = root / "three/config.yaml"
        config.write_text(config.read_text().replace(f"dir: {tiny_data}", f"dir: {root / 'away'}"))
        yield root


def test_errors_and_differences_are_those_of_the_networks(
    folder: Path, two_cpus: Towers, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "out"
    runs = [str(folder / name) for name in RUNS]
    assert compare.main([*runs, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    wrong = []
    for name in ("one", "two"):
        probabilities, labels = probabilities_by_hand(folder / name, two_cpus, 1)
        wrong.append(probabilities.argmax(axis=1) != labels)
    told = json.loads((out / "compare.json").read_text())
    for own, errors in zip(told["runs"], wrong, strict=False):
        interval = binomtest(int(errors.sum()), 12).proportion_ci(0.95, method="wilson")
        assert own["top1_error"] == pytest.approx(errors.mean()) and own["by"] == "this comparison"
        assert own["top1_interval"] == pytest.approx([interval.low, interval.high])
        assert f"{own['run']}: top-1 error {errors.mean():.2%} ({interval.low:.2%} to " in printed.out
    third = told["runs"][2]  # as training measured it
    assert (third["by"], third["images"], third["top1_error"]) == ("training", 12, 0.25)
    (pair,) = told["pairs"]
    only = [int((wrong[0] & ~wrong[1]).sum()), int((wrong[1] & ~wrong[0]).sum())]
    assert sum(only) > 0  # else the next lines would prove nothing
    assert [pair["only_first_wrong"], pair["only_second_wrong"]] == only
    assert pair["p_value"] == pytest.approx(binomtest(only[0], sum(only), 0.5).pvalue)
    assert told["settings"] == {"train.seed": [3, 4, 3]}
    assert "three is not evaluated: no data folder" in printed.err and "--data" in printed.err

    page = (out / "compare.html").read_text("utf-8")
    sources = re.findall(r'\b(?:src|href)="([^"]*)"', page)
    asked = [source for source in sources if not source.startswith(("data:image/png;base64,", "#"))]
    assert {"curves.png", "curves.svg", "errors.csv", "differences.csv", "settings.csv"} <= set(asked)
    assert all((out / source).is_file() for source in asked)
    assert "Model card" not in page and "://" not in page and "is not evaluated" in page
    assert (np.asarray(Image.open(out / "curves.png").convert("RGB"))[0] == 255).all()
    rows = list(csv.DictReader(io.StringIO((out / "curves.csv").read_text("utf-8"))))
    assert [float(row["loss"]) for row in rows if row["kind"] == "train"] == [4.0, 5.0, 4.0]


def test_of_a_run_without_data_and_log_only_the_settings_are_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "three", tmp_path / "four")
    (tmp_path / "four/metrics.jsonl").unlink()
    assert compare.main([str(folder / "three"), str(tmp_path / "four"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "four: step 1, epoch unknown, not validated; its error is unknown" in printed.out
    assert "three: top-1 error 25.00% (8.89% to 53.23%), top-5 error 0.00%" in printed.out  # Wilson's, by hand
    assert "Without the curve of four: " in printed.err and "McNemar" not in printed.out
    told = json.loads((tmp_path / "out/compare.json").read_text())
    assert told["runs"][1]["top1_error"] is None and told["pairs"] == [] and told["settings"] == {}


@pytest.mark.slow
def test_other_pictures_are_told_and_not_tested(
    folder: Path, tiny_data: Path, two_cpus: Towers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):  # the same classes, the other way round
        (tmp_path / split).symlink_to(tiny_data.parent / ("val" if split == "train" else "train"))
    data = convert_folder(tmp_path)
    write_opinionated_run(tmp_path / "other", data, load_manifest(data), "2012-code", two_cpus, seed=3)
    assert compare.main([str(folder / "one"), str(tmp_path / "other")]) == 0
    printed = capsys.readouterr()
    assert "one and other were evaluated on different pictures (12 and 24)" in printed.err
    assert "McNemar" not in printed.out and printed.out.count("top-1 error") == 2


def test_faults_are_one_line(folder: Path, tmp_path: Path) -> None:
    one, two = str(folder / "one"), str(folder / "two")
    for given, line in (
        ([one, two, "--out", one], r"one is a run or converted data; give a folder"),
        ([one, f"{one}/../one"], r"one is given twice; compare it with another run"),
        ([one, str(tmp_path)], r"is no run: it has no config.yaml"),
        ([one, two, "--data", str(tmp_path)], r"manifest.json is missing, so .* is no finished"),
    ):
        with pytest.raises(UserError, match=line):
            compare.main(given)
    with pytest.raises(SystemExit) as ended:
        compare.main([one])
    assert ended.value.code == 2
