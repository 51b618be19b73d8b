"""The runs of an experiment, one after the other, each a `train` of its own that resumes where it was.

Several processes may do the same experiment in the same folder at the same time: each takes what no other has begun.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from math import inf
from operator import itemgetter
from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import DONE, FAULT, STOPPED_AFTER_SAVING, StoppedBySignal, UserError
from alexnet_tf.program.whole_files import hold_if_free, make_folder
from experiments.one_run import OneRun
from experiments.plans import Arm, Plan

LOOKED_EVERY = 1.0
"""Seconds between two looks at whether a run has reached its target, or another process has finished it."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """What of a plan is to be run."""

    arms: Collection[str] | None = None
    """By name; None: all."""
    seeds: Collection[int] | None = None

    def has(self, one: OneRun) -> bool:
        """Whether a run is among it; trials are for all seeds."""
        seeds = None if one.trial else self.seeds
        return (self.arms is None or one.arm.name in self.arms) and (seeds is None or one.seed in seeds)


EVERYTHING = Choice()


def do(plan: Plan, out: Path, tell: Say, choice: Choice = EVERYTHING) -> None:
    """Does all runs that are not finished yet, but for those that another process has begun.

    Args:
      plan: the experiment.
      out: the folder for runs, their logs and what they show.
      tell: takes a line for the user.
      choice: which of them.

    Raises:
      UserError: a run failed otherwise than by breaking down, or was made with other settings or data.
      StoppedBySignal: a run was stopped after saving; the same command goes on there.
    """
    make_folder(out)
    rates = [one for arm in plan.arms for one in trials(plan, arm, out) if choice.has(one)]
    for wait in (False, True):
        for one in rates:
            _finish(one, tell, wait=wait)
    for one in runs(plan, out):
        if not one.trial and choice.has(one):
            _finish(one, tell, wait=False)


def trials(plan: Plan, arm: Arm, out: Path) -> list[OneRun]:
    """A run for each rate that an arm may have, as long as any: the one that learns quickest at first may end last."""
    seed = plan.seeds[0]
    return [OneRun(plan, arm, seed, rate, out / f"{arm.name}-rate-{rate:g}", trial=True) for rate in arm.rates]


def runs(plan: Plan, out: Path) -> Iterator[OneRun]:
    """The runs that count; seed by seed, so that all arms have as many when it is stopped in between.

    Of an arm with several rates, the first seed's is the best of its trials; there are no others before all of these
    have ended, or if all of them broke down.
    """
    best_trials = {arm.name: best_trial(plan, arm, out) for arm in plan.arms}
    for seed in plan.seeds:
        for arm in plan.arms:
            best = best_trials[arm.name]
            if best and seed == plan.seeds[0]:
                yield best
            elif not arm.rates or (best and "failed" not in _shown(best)):
                rate = best.rate if best else None
                yield OneRun(plan, arm, seed, rate, out / f"{arm.name}-seed-{seed}")


def best_trial(plan: Plan, arm: Arm, out: Path) -> OneRun | None:
    """The trial that reached the target soonest, or else has the lowest training error; of equals the lower rate.

    None where there are none, or some have not ended yet. One that broke down comes last.
    """
    ended = []
    for one in trials(plan, arm, out):
        shown = one.finished()
        if shown is None:
            return None
        failed = "failed" in shown
        reached, error = (inf, inf) if failed else (shown["epochs_to_target"] or inf, shown["training_error"])
        ended.append(((failed, reached, error, one.rate or 0.0), one))
    return min(ended, key=itemgetter(0))[1] if ended else None


def _shown(one: OneRun) -> dict[str, Any]:
    return one.finished() or {}


def _finish(one: OneRun, tell: Say, *, wait: bool) -> None:
    """Trains a run to its end, if it is not there yet and no other process trains it; or waits until that has."""
    told = False
    while one.finished() is None:
        lock = hold_if_free(one.folder.with_name(f"{one.name}.lock"))
        if lock is None and not wait:
            return
        if lock is None:
            if not told:
                tell(f"{one.name}: waits for another process, which trains it")
            told = True
            time.sleep(LOOKED_EVERY)
            continue
        with lock:
            if one.finished() is None:  # nor has another process finished it in between
                _train_to_end(one, tell)


def _train_to_end(one: OneRun, tell: Say) -> None:
    """Trains on to the end or the target, and writes that down."""
    tell(f"{one.name}: {' '.join(one.overrides)}")
    status = STOPPED_AFTER_SAVING if one.reached_target else _train(one)
    if status == DONE or one.reached_target:
        one.write_record(complete=status == DONE)
    elif status == FAULT and one.broke_down:
        one.write_record(failed=one.last_words)
    elif status == STOPPED_AFTER_SAVING:
        raise StoppedBySignal(f"{one.folder} was stopped; the same command goes on there")
    else:
        raise UserError(f"{one.folder} failed: {one.last_words}; the whole of it is in {one.log}")
    shown = _shown(one)
    if why := shown.get("failed"):
        tell(f"{one.name}: broke down: {why}")
    elif one.trial:
        after = f" after {reached:.1f} epochs" if (reached := shown["epochs_to_target"]) else ""
        tell(f"{one.name}: training error {shown['training_error']:.1%}{after}")


def _train(one: OneRun) -> int:
    """Trains until the end or the target; the exit status."""
    line = [sys.executable, "-m", "alexnet_tf.train", "--config", str(one.plan.config_file), "--run", str(one.folder)]
    with one.log.open("ab") as log:
        child = subprocess.Popen([*line, *one.settings], stdout=log, stderr=subprocess.STDOUT)
    asked = False
    try:
        while child.poll() is None:
            if not asked and one.reached_target:
                asked = True
                child.terminate()  # it saves, and ends with 75
            time.sleep(LOOKED_EVERY)
    except BaseException:  # this program is stopped: the run saves, too
        child.terminate()
        child.wait()
        raise
    return child.returncode
