"""An experiment's runs: which there are, what they show together, and the whole way on a few pictures."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.config import load_config
from experiments import __main__ as command
from experiments import plans
from experiments.measures import Summary, epochs_to, outcome
from experiments.plans import PLANS, Arm, Plan
from experiments.running import best_trial, do, read_record, runs, trials
from experiments.tables import collect
from tests.conftest import convert_folder

PLAN = Plan("small", "figure1.yaml", (Arm("relu", (), (0.1, 0.2)), Arm("tanh", (), (0.1, 0.3))), target=0.25)
"""Of Figure 1's kind."""


def write_log(run: Path, errors: list[float]) -> None:
    """Two lines an epoch, and a validation at its end."""
    run.mkdir(parents=True)
    lines: list[dict[str, Any]] = []
    for number, error in enumerate(errors, 1):
        lines.append({"kind": "train", "step": number, "epoch": number / 2, "loss": 1.0, "top1_error": error,
                      "weight_rate": 0.1, "images_per_second": 100.0 * number})  # fmt: skip
        if number % 2 == 0:
            lines.append({"kind": "validation", "step": number, "epoch": number / 2, "loss": 1.0,
                          "top1_error": error + 0.1, "top5_error": 0.0})  # fmt: skip
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def finish(plan: Plan, out: Path, errors: dict[str, list[float]]) -> None:
    """Makes finished runs of such training errors, by their folders' names."""
    for one in [*(one for arm in plan.arms for one in trials(plan, arm, out)), *runs(plan, out)]:
        if one.folder.name in errors and not one.record.exists():
            write_log(one.folder, errors[one.folder.name])
            shown = outcome(one.folder, plan.target)
            shown |= {"arm": one.arm, "seed": one.seed, "rate": one.rate, "overrides": list(one.overrides)}
            one.record.write_text(json.dumps(shown))


def test_every_plan_fits_its_config() -> None:
    for plan in PLANS.values():
        for arm in plan.arms:
            rates = [f"train.learning_rate={rate}" for rate in arm.rates]
            config = load_config(plan.config_file, [*arm.overrides, *rates[:1], "train.seed=1"])
            assert config.train.seed == 1
        settings = [arm.overrides for arm in plan.arms]
        assert len(set(settings)) == len(settings)
        text = plan.config_file.read_text()
        assert f"python -m experiments {plan.name} --data" in text and "# Source:" in text and "# Time:" in text
    assert {plan.config_file for plan in PLANS.values()} == set(plans.CONFIGS.glob("*.yaml"))


def test_epochs_to_a_training_error(tmp_path: Path) -> None:
    write_log(tmp_path / "run", [0.5, 0.3, 0.24, 0.26])
    assert epochs_to(0.25, tmp_path / "run") == 1.5 and epochs_to(0.2, tmp_path / "run") is None
    shown = outcome(tmp_path / "run", 0.25)
    assert (shown["epochs_to_target"], shown["best_epoch"], shown["epochs"]) == (1.5, 2.0, 2.0)
    assert shown["top1_error"] == pytest.approx(0.36) and shown["images_per_second"] == 250


def test_summary_by_hand() -> None:
    found = Summary((2.0, 4.0, 9.0))
    assert found.mean == 5 and found.spread == pytest.approx(13**0.5)
    reach = 4.30265272975 * 13**0.5 / 3**0.5  # Student's t, two degrees of freedom
    assert found.interval == pytest.approx((5 - reach, 5 + reach))
    assert Summary((1.0,)).spread is None and Summary((1.0,)).interval is None


def test_each_arm_runs_at_its_own_best_rate_and_the_table_tells_the_factor(tmp_path: Path) -> None:
    finish(PLAN, tmp_path / "none", {
        "relu-rate-0.1": [0.5, 0.4], "relu-rate-0.2": [0.9, 0.9], "tanh-rate-0.1": [0.9, 0.8],
        "tanh-rate-0.3": [0.8, 0.7],
    })  # fmt: skip
    assert [best_trial(PLAN, arm, tmp_path / "none").rate for arm in PLAN.arms] == [0.1, 0.3]
    soonest = {"relu-rate-0.1": [0.5, 0.24], "relu-rate-0.2": [0.25, 0.3], "tanh-rate-0.1": [0.4, 0.25],
               "tanh-rate-0.3": [0.2, 0.1]}  # fmt: skip
    finish(PLAN, tmp_path / "reached", soonest)
    assert [best_trial(PLAN, arm, tmp_path / "reached").rate for arm in PLAN.arms] == [0.2, 0.3]
    finish(PLAN, tmp_path, {
        "relu-rate-0.1": [0.4, 0.2], "relu-rate-0.2": [0.9] * 4, "tanh-rate-0.1": [0.9] * 12,
        "tanh-rate-0.3": [0.4] * 11 + [0.1],
    })  # fmt: skip
    names = [one.folder.name for one in runs(PLAN, tmp_path)]  # of the first seed there are trials already
    assert names == ["relu-rate-0.1", "tanh-rate-0.3", "relu-seed-1", "tanh-seed-1", "relu-seed-2", "tanh-seed-2"]
    finish(PLAN, tmp_path, {"relu-seed-1": [0.3, 0.3, 0.3, 0.2]})
    write_log(tmp_path / "tanh-seed-1", [0.4] * 4)  # not finished yet
    table = collect(PLAN, tmp_path)
    assert "| relu | 0.1 | 1.00, 2.00 | 1.50 | 0.71 | -4.85 to 7.85 |" in table
    assert "| tanh | 0.3 | 6.00, not in 2.0 | 6.00 |  |  |" in table
    assert table.endswith("\ntanh takes 4.00 times as many as relu.\n") and (tmp_path / "small.png").stat().st_size
    assert "| relu | 0.1 | 0.50, 0.50 |" in collect(replace(PLAN, target=0.4), tmp_path)  # another error is asked about
    collect(PLAN, tmp_path)
    told = json.loads((tmp_path / "small.json").read_text())
    assert [one["finished"] for one in told["runs"]] == [True, True, True, False]
    assert told["arms"]["relu"]["epochs_to_target"]["values"] == [1.0, 2.0] and len(told["trials"]) == 4


def test_a_finished_run_of_other_settings_is_told(tmp_path: Path) -> None:
    plan = Plan("small", "figure1.yaml", (Arm("net"),), seeds=(0,), target=0.25)
    finish(plan, tmp_path, {"net-seed-0": [0.4, 0.2]})
    (other,) = runs(Plan("small", "figure1.yaml", (Arm("net", ("data.batch_size=7",)),), seeds=(0,)), tmp_path)
    with pytest.raises(UserError, match=r"net-seed-0.json is of a run with train.seed=0, and it would be data.batch_"):
        read_record(other)
    with pytest.raises(UserError, match=r"no run of small is finished in .* yet"):
        collect(plan, tmp_path / "elsewhere")


@pytest.mark.slow
def test_the_whole_way(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that breaks down, one that does not; a run that ends at its target; nothing is done twice."""
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(tiny_data.parent / split)
    data, out = convert_folder(tmp_path, "--size=32"), tmp_path / "out"
    arm = Arm("relu", ("data.batch_size=8", "train.log_every=1", "train.epochs=400"), (0.001, 1e6))
    # Three classes, eight pictures a step: chance gets there in some steps, but not in the first three.
    plan = Plan("small", "figure1.yaml", (arm,), seeds=(0, 1), target=0.45)
    monkeypatch.setitem(PLANS, "figure1", plan)
    monkeypatch.setattr(command, "PLANS", PLANS)
    told: list[str] = []
    do(plan, out, data, told.append)
    assert any("relu-rate-1e+06: training error 100.0% error: the loss of step" in line for line in told)
    for name in ("relu-rate-0.001", "relu-seed-1"):  # the best trial is the first seed's run
        found = json.loads((out / f"{name}.json").read_text())
        assert found["rate"] == 0.001 and found["epochs_to_target"] <= found["epochs"] < 399
    assert not list(out.glob("relu-seed-0*"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    told.clear()
    do(plan, out, data, told.append)
    assert told == [] and before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert command.main(["figure1", "--out", str(out), "--collect"]) == 0

    told.clear()
    reached = Plan("small", "figure1.yaml", (replace(arm, rates=(0.001,)),), seeds=(0,), target=1.0)
    do(reached, tmp_path / "reached", data, told.append)
    assert len(told) == 2 and re.fullmatch(r"relu-rate-0.001: training error \S+% after 0.7 epochs", told[1])
    found = json.loads((tmp_path / "reached" / "relu-rate-0.001.json").read_text())
    assert found["rate"] == 0.001 and found["epochs_to_target"] < 1 < 400 and found["epochs"] < 399
    broken = replace(reached, arms=(replace(arm, rates=(1e6,)),))
    with pytest.raises(UserError, match=r"^relu: training broke down with every rate; with 1e\+06: error: the loss of"):
        do(broken, tmp_path / "broken", data, told.append)
