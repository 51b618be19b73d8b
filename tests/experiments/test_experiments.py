"""An experiment's runs: which there are, what they show together, and the whole way on a few pictures."""

import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alexnet_tf.program.errors import DONE, FAULT, UserError
from alexnet_tf.settings.config import dump_config, load_config
from experiments import __main__ as command
from experiments import plans, running
from experiments.evaluating import evaluate, evaluation, groups
from experiments.measures import Summary, epochs_to, outcome, summary
from experiments.one_run import OneRun
from experiments.plans import PLANS, Arm, Plan
from experiments.running import Choice, best_trial, do, runs, trials
from experiments.tables import broken_down, collect
from tests.alexnet_tf.training.run_files import metrics, steps_of
from tests.conftest import convert_folder

PLAN = Plan("small", "figure1.yaml", (Arm("relu", (), (0.1, 0.2)), Arm("tanh", (), (0.1, 0.3))), target=0.25)
"""Of Figure 1's kind."""
NETS = Plan("nets", "cifar_lrn.yaml", (Arm("net"),), seeds=(0, 1), evaluated=True, ensemble=True)
"""Of the ensemble's kind."""


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


def finish(plan: Plan, out: Path, errors: dict[str, list[float]], **ended: Any) -> None:
    """Makes finished runs of such training errors, by their folders' names."""
    for one in every_run(plan, out):
        if one.folder.name in errors and not one.record.exists():
            write_log(one.folder, errors[one.name])
            (one.folder / "config.yaml").write_text(dump_config(one.config))
            one.write_record(**ended or {"complete": True})


def every_run(plan: Plan, out: Path) -> list[OneRun]:
    """Trials and runs."""
    return [*(one for arm in plan.arms for one in trials(plan, arm, out)), *runs(plan, out)]


def best_rates(out: Path) -> list[float | None]:
    """Of PLAN's arms."""
    best = [best_trial(PLAN, arm, out) for arm in PLAN.arms]
    return [one.rate if one else None for one in best]


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
    assert summary([{"a": 1.0}, {"a": None}], "a") is None and summary([{"a": 0.0}], "a") == Summary((0.0,))


def test_each_arm_runs_at_its_own_best_rate_and_the_table_tells_the_factor(tmp_path: Path) -> None:
    finish(PLAN, tmp_path / "none", {
        "relu-rate-0.1": [0.5, 0.4], "relu-rate-0.2": [0.9, 0.9], "tanh-rate-0.1": [0.9, 0.8],
        "tanh-rate-0.3": [0.8, 0.7],
    })  # fmt: skip
    assert best_rates(tmp_path / "none") == [0.1, 0.3]
    soonest = {"relu-rate-0.1": [0.5, 0.24], "relu-rate-0.2": [0.25, 0.3], "tanh-rate-0.1": [0.4, 0.25]}
    finish(PLAN, tmp_path / "reached", soonest)
    assert best_rates(tmp_path / "reached") == [0.2, None]  # of tanh's rates one is not tried yet
    assert [one.name for one in runs(PLAN, tmp_path / "reached")] == ["relu-rate-0.2", "relu-seed-1", "relu-seed-2"]
    finish(PLAN, tmp_path / "reached", {"tanh-rate-0.3": [0.2, 0.1]})
    assert best_rates(tmp_path / "reached") == [0.2, 0.3]

    finish(PLAN, tmp_path, {
        "relu-rate-0.1": [0.4, 0.2], "relu-rate-0.2": [0.9] * 4, "tanh-rate-0.1": [0.9] * 12,
        "tanh-rate-0.3": [0.4] * 11 + [0.1],
    })  # fmt: skip
    names = [one.name for one in runs(PLAN, tmp_path)]  # of the first seed there are trials already
    assert names == ["relu-rate-0.1", "tanh-rate-0.3", "relu-seed-1", "tanh-seed-1", "relu-seed-2", "tanh-seed-2"]
    finish(PLAN, tmp_path, {"relu-seed-1": [0.3, 0.3, 0.3, 0.2]})
    write_log(tmp_path / "tanh-seed-1", [0.4] * 4)  # not finished yet
    table = collect(PLAN, tmp_path)
    assert "| relu | 0.1 | 1.00, 2.00 | 1.50 | 0.71 | -4.85 to 7.85 |" in table
    assert "| tanh | 0.3 | 6.00, goes on after 2.0 | 6.00 |  |  |" in table
    assert table.endswith("\ntanh takes 6.00 times as many epochs as relu; seed by seed 6.00.\n")  # seed 0 of both
    assert (tmp_path / "small.png").stat().st_size
    told = json.loads((tmp_path / "small.json").read_text())
    assert [one.get("going_on", False) for one in told["runs"]] == [False, False, False, True]
    assert told["arms"]["relu"]["epochs_to_target"]["values"] == [1.0, 2.0] and len(told["trials"]) == 4
    assert "| relu | 0.1 | 0.50, 0.50 |" in collect(replace(PLAN, target=0.4), tmp_path)  # another error is asked about

    finish(PLAN, tmp_path, {"relu-seed-2": [0.4] * 4})  # a run that never gets there counts
    table = collect(PLAN, tmp_path)
    assert "| relu | 0.1 | 1.00, 2.00, not in 2.0 |  |  |  |" in table


def test_a_run_that_ended_at_another_target_goes_on(tmp_path: Path) -> None:
    plan = replace(PLAN, arms=(Arm("relu"),), seeds=(0, 1))
    finish(plan, tmp_path, {"relu-seed-0": [0.4, 0.2]}, complete=False)
    finish(plan, tmp_path, {"relu-seed-1": [0.4, 0.2]}, complete=True)
    ended = [one.finished() is not None for one in runs(replace(plan, target=0.1), tmp_path)]
    assert ended == [False, True] and all(one.finished() for one in runs(plan, tmp_path))


def test_runs_that_break_down_are_told_and_stop_no_others(tmp_path: Path) -> None:
    finish(PLAN, tmp_path, {"relu-rate-0.1": [0.4, 0.2], "tanh-rate-0.1": [0.9, 0.9]})
    finish(PLAN, tmp_path, {"relu-rate-0.2": [0.2], "tanh-rate-0.3": [0.2]}, failed="error: the loss of step 2 is nan")
    assert best_rates(tmp_path) == [0.1, 0.1]  # a rate that breaks down is no good, however soon it got there
    every = tmp_path / "every"
    finish(PLAN, every, {"relu-rate-0.1": [0.4, 0.2], "relu-rate-0.2": [0.4, 0.2]})
    finish(PLAN, every, {"tanh-rate-0.1": [0.2], "tanh-rate-0.3": [0.2]}, failed="error: the loss of step 2 is nan")
    assert [one.name for one in runs(PLAN, every)] == ["relu-rate-0.1", "tanh-rate-0.1", "relu-seed-1", "relu-seed-2"]
    assert "| tanh | 0.1 | broke down |  |" in collect(PLAN, every)
    assert broken_down(PLAN, every) == ["tanh-rate-0.1 broke down: error: the loss of step 2 is nan"]


def test_a_finished_run_of_other_settings_is_told(tmp_path: Path) -> None:
    plan = replace(PLAN, arms=(Arm("net"),), seeds=(0,))
    finish(plan, tmp_path, {"net-seed-0": [0.4, 0.2]})
    for override, difference in (
        (
            "data.batch_size=7",
            r"data.batch_size=128, and it would be 7 now; give another --out, or remove .*net-seed-0",
        ),
        ("train.epochs=3", r"train.epochs=100, and it would be 3 now"),
    ):
        (other,) = runs(replace(plan, arms=(Arm("net", (override,)),)), tmp_path)
        with pytest.raises(UserError, match=rf"net-seed-0 was trained with {difference}"):
            other.finished()
    with pytest.raises(UserError, match=r"no run of small is finished in .* yet"):
        collect(plan, tmp_path / "elsewhere")


def test_a_run_that_cannot_begin_is_no_broken_rate(tmp_path: Path) -> None:
    plan = replace(PLAN, data=tmp_path / "typo")
    for _ in range(2):
        with pytest.raises(UserError, match=r"relu-rate-0.1 failed: error: .*typo"):
            do(plan, tmp_path / "out", print)
    assert not list(tmp_path.rglob("relu-rate-0.1.json"))


def test_the_table_of_evaluations(tmp_path: Path) -> None:
    finish(NETS, tmp_path, {"net-seed-0": [0.4, 0.2], "net-seed-1": [0.4, 0.3]})
    first, second, both = groups(NETS, tmp_path)
    for group, name, views, error in (
        (first, "net-seed-0", 1, 0.5), (first, "net-seed-0", 10, 0.48), (second, "net-seed-1", 1, 0.52),
        (both, "net-average-of-2", 10, 0.4),
    ):  # fmt: skip
        shown = {"top1_error": error, "top5_error": 0.1, "runs": [f"anywhere/{one.name}" for one in group]}
        (tmp_path / f"{name}-{views}-views.json").write_text(json.dumps(shown))
    assert collect(NETS, tmp_path).endswith(
        "| net-seed-0 | 50.00 / 10.00 | 48.00 / 10.00 |\n| net-seed-1 | 52.00 / 10.00 |  |\n"
        "| net: average of 2 nets |  | 40.00 / 10.00 |\n| net: mean of 2 | 51.00 / 10.00 |  |\n"
    )
    assert evaluation(second, 1)
    (one,) = second
    one.record.touch()  # trained anew since
    assert not evaluation(second, 1) and len(list(groups(replace(NETS, seeds=(0, 1, 2)), tmp_path))) == 2


def test_options_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = f"--out={tmp_path}"
    for arguments, message in (
        (["cifar-lrn", out, "--target=0.2"], r"--target: cifar-lrn trains every run to its last epoch; leave the opt"),
        (["figure1", out, "--arms", "relu", "elu"], r"--arms elu: figure1 has relu, tanh"),
    ):
        with pytest.raises(UserError, match=message):
            command.main(arguments)
    names = {"relu-rate-0.0025", "relu-rate-0.005", "relu-rate-0.01", "relu-seed-7"}
    figure1 = replace(PLANS["figure1"], seeds=(0, 1, 2, 7))
    for _ in range(2):  # runs come after all trials
        finish(figure1, tmp_path, {name: [0.4, 0.2] for name in names})
    chosen = Choice(["relu"], [7])
    assert {one.name for one in every_run(figure1, tmp_path) if chosen.has(one)} == names  # trials are seed 0's
    assert command.main(["figure1", out, "--collect", "--seeds", "7", "7"]) == DONE
    assert "| relu | 0.0025 | 1.00, 1.00 | 1.00 |" in capsys.readouterr().out
    finish(figure1, tmp_path, {"relu-seed-1": [0.4]}, failed="error: the loss of step 2 is nan")
    assert command.main(["figure1", out, "--collect"]) == FAULT
    assert capsys.readouterr().err == "relu-seed-1 broke down: error: the loss of step 2 is nan\n"


@pytest.fixture
def small_data(tiny_data: Path, tmp_path: Path) -> Path:
    """Pictures of 32x32 pixels in three classes."""
    for split in ("train", "val"):
        (tmp_path / split).symlink_to(tiny_data.parent / split)
    return convert_folder(tmp_path, "--size=32")


@pytest.mark.slow
def test_the_whole_way(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that breaks down, one that does not; a run that ends at its target; nothing is done twice."""
    out = tmp_path / "out"
    arm = Arm("relu", ("data.batch_size=8", "train.log_every=1", "train.epochs=400"), (0.001, 1e6))
    # Three classes, eight pictures a step: chance gets there in some steps, but not in the first three.
    plan = Plan("small", "figure1.yaml", (arm,), seeds=(0, 1), target=0.45, data=small_data)
    told: list[str] = []
    do(plan, out, told.append)
    assert any("relu-rate-1e+06: broke down: error: the loss of step" in line for line in told)
    for name in ("relu-rate-0.001", "relu-seed-1"):  # the best trial is the first seed's run
        found = json.loads((out / f"{name}.json").read_text())
        assert found["rate"] == 0.001 and found["epochs_to_target"] <= found["epochs"] < 399
    assert not list(out.glob("relu-seed-0*"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    told.clear()
    do(plan, out, told.append)
    assert told == [] and before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setitem(PLANS, "figure1", plan)
    assert command.main(["figure1", "--out", str(out), "--collect"]) == DONE

    broken = replace(plan, arms=(replace(arm, rates=(1e6,)),))
    told.clear()
    do(broken, tmp_path / "broken", told.append)
    assert len(told) == 2 and told[1].startswith("relu-rate-1e+06: broke down: error: the loss of step")
    assert [one.name for one in runs(broken, tmp_path / "broken")] == ["relu-rate-1e+06"]
    other = tmp_path / "other"
    convert_folder(tmp_path, "--size=32", "--encoding=raw", f"--out={other}")
    with pytest.raises(UserError, match=r"was trained on other data than .*other, which holds other training records"):
        do(replace(plan, data=other), out, told.append)


@pytest.mark.slow
def test_two_processes_share_the_runs_and_their_average_is_evaluated(small_data: Path, tmp_path: Path) -> None:
    overrides = ("data.batch_size=8", "train.epochs=1", "train.drop_epochs=[]")
    plan, out = replace(NETS, arms=(Arm("net", overrides),), data=small_data), tmp_path / "out"
    told: list[str] = []
    others = [threading.Thread(target=do, args=(plan, out, told.append)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert sorted(line.split(":")[0] for line in told) == ["net-seed-0", "net-seed-1"]
    evaluate(plan, out, told.append)
    table = collect(plan, out)
    assert re.search(r"\| net: average of 2 nets \| \d+\.\d+ / \d+\.\d+ \| \d+\.\d+ / \d+\.\d+ \|\n", table)
    single = json.loads((out / "net-seed-0-1-views.json").read_text())
    record = json.loads((out / "net-seed-0.json").read_text())
    assert single["top1_error"] == pytest.approx(record["top1_error"]) and record["complete"] is True
    told.clear()
    evaluate(plan, out, told.append)
    assert told == []
    (out / "net-average-of-2-10-views.json").unlink()
    for checkpoint in (out / "net-seed-1" / "checkpoints").glob("step-*"):
        checkpoint.rename(out / "net-seed-1" / checkpoint.name)
    with pytest.raises(UserError, match=r"net-average-of-2-10-views cannot be evaluated: error: run .* has no checkp"):
        evaluate(plan, out, told.append)


@pytest.mark.slow
def test_interrupted_it_goes_on_where_it_was(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = Arm("net", ("data.batch_size=8", "train.epochs=100", "train.drop_epochs=[]", "train.log_every=1"))
    plan, out = replace(NETS, arms=(arm,), seeds=(0,), data=small_data), tmp_path / "out"
    (one,) = runs(plan, out)

    def interrupt_once_begun(seconds: float) -> None:
        sleep(0.05)
        if one.has_metrics and metrics(one.folder, "train"):
            raise KeyboardInterrupt  # as SIGINT, SIGTERM and SIGHUP come

    told: list[str] = []
    with monkeypatch.context() as patch:
        sleep = running.time.sleep
        patch.setattr(running.time, "sleep", interrupt_once_begun)
        with pytest.raises(KeyboardInterrupt):
            do(plan, out, told.append)
    saved = steps_of(one.folder)[-1]
    assert 0 < saved < 300 and one.finished() is None  # the training was told, and saved
    do(plan, out, told.append)
    assert len(told) == 2 and one.finished()
    assert [line["step"] for line in metrics(one.folder, "start")] == [0, saved]
    steps = [line["step"] for line in metrics(one.folder, "train")]
    assert steps == sorted(set(steps)) and steps[-1] == 300  # each once
