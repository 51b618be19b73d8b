"""Error rates of finished runs, each alone and several averaged, with one view and with ten; by their last weights.

Not by their best ones: those were chosen by the very pictures that they are evaluated on.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alexnet_tf.program.errors import DONE, UserError
from alexnet_tf.program.whole_files import hold_if_free
from experiments.one_run import OneRun, last_line
from experiments.plans import Plan
from experiments.running import Say, runs

VIEWS = (1, 10)

Group = tuple[OneRun, ...]
"""A run, or several whose probabilities are averaged."""


def groups(plan: Plan, out: Path) -> Iterator[Group]:
    """Every finished run, and all of an arm together where the plan averages them."""
    if not plan.evaluated:
        return
    done = [one for one in runs(plan, out) if (shown := one.finished()) and "failed" not in shown]
    yield from ((one,) for one in done)
    if plan.ensemble:
        for arm in plan.arms:
            own = tuple(one for one in done if one.arm == arm)
            if len(own) > 1 and len(own) == len(plan.seeds):
                yield own


def evaluate(plan: Plan, out: Path, tell: Say) -> None:
    """Evaluates what is not evaluated yet, but for what another process evaluates.

    Raises:
      UserError: an evaluation failed.
    """
    for group in groups(plan, out):
        for views in VIEWS:
            lock = None if evaluation(group, views) else hold_if_free(_file(group, views).with_suffix(".lock"))
            if lock is None:
                continue
            with lock:
                if evaluation(group, views) is None:  # nor has another process done it in between
                    _evaluate(group, views, tell)


def evaluation(group: Group, views: int) -> dict[str, Any] | None:
    """What `evaluate` has written of these runs as they are now; None where it has not."""
    file = _file(group, views)
    if not file.exists() or file.stat().st_mtime < max(one.record.stat().st_mtime for one in group):
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found if [Path(run).name for run in found["runs"]] == [one.name for one in group] else None


def _file(group: Group, views: int) -> Path:
    first = group[0]
    name = first.name if len(group) == 1 else f"{first.arm.name}-average-of-{len(group)}"
    return first.folder.with_name(f"{name}-{views}-views.json")


def _evaluate(group: Group, views: int, tell: Say) -> None:
    file = _file(group, views)
    tell(f"{file.stem}: evaluation")
    line = [
        sys.executable,
        "-m",
        "alexnet_tf.evaluate",
        "--views",
        str(views),
        "--checkpoint",
        "latest",
        "--json",
        str(file),
    ]
    for one in group:
        line += ["--run", str(one.folder)]
    if data := group[0].plan.data:
        line += ["--data", str(data)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != DONE:
        raise UserError(f"{file.stem} cannot be evaluated: {last_line(done.stderr)}")
