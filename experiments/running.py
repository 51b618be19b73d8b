"""The runs of an experiment, one after the other, each a `train` of its own that resumes where it was."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import DONE, STOPPED_AFTER_SAVING, StoppedBySignal, UserError
from alexnet_tf.program.whole_files import make_folder, write_whole
from experiments.measures import epochs_to, outcome
from experiments.plans import Arm, Plan

UNTRIED: dict[str, Any] = {"training_error": 1.0, "epochs_to_target": None}
"""What counts for a rate of which no trial ended well."""

LOOKED_EVERY = 1.0
"""Seconds between two looks at whether a run has reached its target."""


@dataclass(frozen=True)
class OneRun:
    """A run of an experiment."""

    arm: str
    seed: int
    rate: float | None
    overrides: tuple[str, ...]
    folder: Path
    trial: bool = False
    """Whether it only tries a rate."""

    @property
    def record(self) -> Path:
        """The file that says it is finished, and what it shows."""
        return self.folder.with_name(f"{self.folder.name}.json")


def do(plan: Plan, out: Path, data: Path | None, tell: Callable[[str], None]) -> None:
    """Does all runs that are not finished yet.

    Args:
      plan: the experiment.
      out: the folder for runs, their logs and what they show.
      data: the folder of converted pictures; None: the config's own.
      tell: takes a line for the user.

    Raises:
      UserError: a run failed, or a finished one was made with other settings.
      StoppedBySignal: a run was stopped after saving; the same command goes on there.
    """
    make_folder(out)
    for arm in plan.arms:
        for one in trials(plan, arm, out):
            _finish(plan, one, data, tell)
    for one in runs(plan, out):
        _finish(plan, one, data, tell)


def trials(plan: Plan, arm: Arm, out: Path) -> list[OneRun]:
    """A run for each rate that an arm may have, as long as any: the one that learns quickest at first may end last."""
    seed = plan.seeds[0]
    return [
        OneRun(arm.name, seed, rate, _settings(arm, seed, rate), out / f"{arm.name}-rate-{rate:g}", trial=True)
        for rate in arm.rates
    ]


def runs(plan: Plan, out: Path) -> Iterator[OneRun]:
    """The runs that count; seed by seed, so that all arms have as many when it is stopped in between.

    Of an arm with several rates, the first seed's is the best of its trials.
    """
    for seed in plan.seeds:
        for arm in plan.arms:
            best = best_trial(plan, arm, out) if arm.rates else None
            if best and best.seed == seed:
                yield best
                continue
            rate = best.rate if best else None
            yield OneRun(arm.name, seed, rate, _settings(arm, seed, rate), out / f"{arm.name}-seed-{seed}")


def best_trial(plan: Plan, arm: Arm, out: Path) -> OneRun:
    """The trial that reached the target soonest, or else has the lowest training error; of equals the lower rate.

    Raises:
      UserError: all of them broke down.
    """

    def order(one: OneRun) -> tuple[float, float, float]:
        found = read_record(one) or UNTRIED
        return found["epochs_to_target"] or inf, found["training_error"], one.rate or 0.0

    best = min(trials(plan, arm, out), key=order)
    if why := (read_record(best) or {}).get("failed"):
        raise UserError(f"{arm.name}: training broke down with every rate; with {best.rate:g}: {why}")
    return best


def read_record(one: OneRun) -> dict[str, Any] | None:
    """What a finished run shows; None where it is not finished.

    Raises:
      UserError: it was made with other settings.
    """
    if not one.record.exists():
        return None
    found: dict[str, Any] = json.loads(one.record.read_text(encoding="utf-8"))
    if found["overrides"] != list(one.overrides):
        raise UserError(
            f"{one.record} is of a run with {' '.join(found['overrides'])}, and it would be {' '.join(one.overrides)} "
            "now; give another --out, or remove that file and its run"
        )
    return found


def _settings(arm: Arm, seed: int, rate: float | None) -> tuple[str, ...]:
    return (*arm.overrides, f"train.seed={seed}", *([f"train.learning_rate={rate:g}"] if rate is not None else []))


def _finish(plan: Plan, one: OneRun, data: Path | None, tell: Callable[[str], None]) -> None:
    if read_record(one) is not None:
        return
    tell(f"{one.folder.name}: {' '.join(one.overrides)}")
    shown = _shown_by(plan, one, data) | {
        "arm": one.arm, "seed": one.seed, "rate": one.rate, "overrides": list(one.overrides),
    }  # fmt: skip
    write_whole(one.record, (json.dumps(shown, indent=1) + "\n").encode())
    if one.trial:
        after = f" after {reached:.1f} epochs" if (reached := shown["epochs_to_target"]) else ""
        error = f"{shown['training_error']:.1%}{after}"
        tell(f"{one.folder.name}: training error {error} {shown.get('failed', '')}".strip())


def _shown_by(plan: Plan, one: OneRun, data: Path | None) -> dict[str, Any]:
    """Trains on to the end or the target, if it is not there yet; what the run shows."""
    if _reached(plan.target, one.folder):  # stopped there before
        return outcome(one.folder, plan.target)
    overrides = [*one.overrides, *([f"data.dir={data}"] if data else [])]
    line = [sys.executable, "-m", "alexnet_tf.train", "--config", str(plan.config_file), "--run", str(one.folder)]
    log = one.folder.with_name(f"{one.folder.name}.log")
    with log.open("ab") as file:
        reached, status = _train([*line, *overrides], file, lambda: _reached(plan.target, one.folder))
    if status == STOPPED_AFTER_SAVING and not reached:
        raise StoppedBySignal(f"{one.folder} was stopped; the same command goes on there")
    if status not in (DONE, STOPPED_AFTER_SAVING) and not one.trial:
        raise UserError(f"{one.folder} failed: {_last_line(log)}; the whole of it is in {log}")
    if status in (DONE, STOPPED_AFTER_SAVING):
        return outcome(one.folder, plan.target)
    return {"failed": _last_line(log), **UNTRIED}  # a rate that is too high


def _train(line: list[str], log: Any, reached: Callable[[], bool]) -> tuple[bool, int]:
    """Trains until the end or the target; whether that was reached, and the exit status."""
    child = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT)
    asked = False
    try:
        while child.poll() is None:
            if not asked and reached():
                asked = True
                child.terminate()  # it saves, and ends with 75
            time.sleep(LOOKED_EVERY)
    except BaseException:  # this program is stopped: the run saves, too
        child.terminate()
        child.wait()
        raise
    return asked or reached(), child.returncode


def _reached(target: float | None, run: Path) -> bool:
    if target is None or not (run / "metrics.jsonl").exists():
        return False
    return epochs_to(target, run) is not None


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
