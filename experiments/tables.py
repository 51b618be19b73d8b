"""What an experiment shows so far: a table as Markdown and JSON, and a figure."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from alexnet_tf.evaluation.drawing import BLUE, GRAY, RED, Figure, colormaps
from alexnet_tf.program.checkout import commit
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.machine import hardware
from alexnet_tf.reporting.files import ReportFiles
from alexnet_tf.runs.metrics import METRICS_FILE, read_metrics
from experiments.measures import Summary, outcome, summary, training_errors
from experiments.plans import Plan
from experiments.running import OneRun, read_record, runs, trials

Outcomes = dict[str, list[tuple[OneRun, dict[str, Any]]]]
"""The finished runs of each arm, with what they show."""


def collect(plan: Plan, out: Path) -> str:
    """Writes the table, as JSON and Markdown, and the figure, named after the plan; returns the table as Markdown.

    Raises:
      UserError: no run is finished yet.
    """
    found: Outcomes = {arm.name: [] for arm in plan.arms}
    for one in runs(plan, out):
        if record := _so_far(plan, one):
            found[one.arm].append((one, record))
    if not any(found.values()):
        raise UserError(f"no run of {plan.name} is finished in {out} yet")
    table = "\n".join([*_table(plan, found), *_factor(plan, found)]) + "\n"
    told = {
        "experiment": plan.name,
        "config": plan.config,
        "made_by": {"commit": commit(), "hardware": hardware()},
        "trials": [record for arm in plan.arms for one in trials(plan, arm, out) if (record := read_record(one))],
        "runs": [record for records in found.values() for _, record in records],
        "arms": {name: _numbers(plan, records) for name, records in found.items() if records},
    }
    files = ReportFiles(out)
    files.json(plan.name, told)
    files.write(f"{plan.name}.md", table.encode())
    files.figure(plan.name, "", lambda: error_curves(plan, found))
    return table


def _so_far(plan: Plan, one: OneRun) -> dict[str, Any] | None:
    """What a finished run shows; of runs that end at a target also what an unfinished one shows so far."""
    record = read_record(one)
    if plan.target is None or not (one.folder / METRICS_FILE).exists():
        return record
    shown = outcome(one.folder, plan.target)  # anew, for another target may be asked about
    return {"arm": one.arm, "seed": one.seed, "rate": one.rate, "finished": record is not None, **shown}


def evaluate_ensembles(plan: Plan, out: Path, views: int) -> str:
    """Evaluates all finished runs of each arm, averaged; returns what it printed."""
    lines = []
    for arm in plan.arms:
        done = [str(one.folder) for one in runs(plan, out) if one.arm == arm.name and read_record(one)]
        given = [part for folder in done for part in ("--run", folder)]
        json_file = out / f"{arm.name}-ensemble-{views}-views.json"
        line = [sys.executable, "-m", "alexnet_tf.evaluate", *given, "--views", str(views), "--json", str(json_file)]
        lines.append(subprocess.run(line, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    return "\n".join(lines)


def _table(plan: Plan, found: Outcomes) -> list[str]:
    figure, title = ("epochs_to_target", f"epochs to {100 * plan.target:g} % training error") if plan.target else (
        "top1_error", "validation top-1 error in percent, last epoch")  # fmt: skip
    scale = 1 if plan.target else 100
    lines = [
        f"| | rate | {title}, by seed | mean | spread | 95 % interval of the mean "
        "| training error, last | epoch of the lowest validation error | images/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, records in found.items():
        if not records:
            continue
        outcomes = [record for _, record in records]
        of_figure = summary(outcomes, figure)
        values = ", ".join(
            f"not in {one['epochs']:.1f}" if one[figure] is None else f"{scale * one[figure]:.2f}" for one in outcomes
        )
        rate = outcomes[0]["rate"]
        best, speed, trained = (summary(outcomes, one) for one in ("best_epoch", "images_per_second", "training_error"))
        cells = [
            name, "" if rate is None else f"{rate:g}", values, *_cells(of_figure, scale),
            f"{100 * trained.mean:.1f} %" if trained else "", f"{best.mean:.1f}" if best else "",
            f"{speed.mean:,.0f}" if speed else "",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cells(found: Summary | None, scale: float) -> list[str]:
    if found is None:
        return ["", "", ""]
    spread, interval = found.spread, found.interval
    return [
        f"{scale * found.mean:.2f}",
        "" if spread is None else f"{scale * spread:.2f}",
        "" if interval is None else f"{scale * interval[0]:.2f} to {scale * interval[1]:.2f}",
    ]


def _factor(plan: Plan, found: Outcomes) -> list[str]:
    """How many times as many epochs each other arm takes as the first, where runs end at a target."""
    if not plan.target:
        return []
    means = {
        name: of_arm
        for name, records in found.items()
        if (of_arm := summary([record for _, record in records], "epochs_to_target"))
    }
    first = means.pop(plan.arms[0].name, None)
    if first is None:
        return []
    return ["", *(f"{name} takes {one.mean / first.mean:.2f} times as many as {plan.arms[0].name}." for name, one in
                  means.items())]  # fmt: skip


def _numbers(plan: Plan, records: list[tuple[OneRun, dict[str, Any]]]) -> dict[str, Any]:
    figures = ("epochs_to_target", "top1_error", "best_top1_error", "best_epoch", "images_per_second")
    found = {name: summary([record for _, record in records], name) for name in figures}
    return {
        name: {"values": one.values, "mean": one.mean, "spread": one.spread, "interval": one.interval}
        for name, one in found.items()
        if one is not None
    }


def error_curves(plan: Plan, found: Outcomes) -> Figure:
    """Training error over the epochs where a plan is about it, else validation error; an arm a color, a seed a line."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    palette = colormaps["tab10"]
    for number, (name, records) in enumerate(found.items()):
        color = (BLUE, RED)[number] if len(found) == 2 else palette(number % 10)
        for place, (one, _) in enumerate(records):
            if plan.shows_training:
                points = training_errors(one.folder)
            else:
                lines = read_metrics(one.folder / METRICS_FILE)[1]
                points = [(line["epoch"], line["top1_error"]) for line in lines]
            axes.plot(
                [epoch for epoch, _ in points], [100 * error for _, error in points], color=color, linewidth=1.1,
                linestyle="-" if number == 0 else "--", label=None if place else name,
            )  # fmt: skip
    if plan.target:
        axes.axhline(100 * plan.target, color=GRAY, linestyle=":", linewidth=1)
    axes.set(
        xlabel="epochs",
        ylabel=f"{'training' if plan.shows_training else 'validation'} error in percent",
        xlim=(0, None), ylim=(0, None),
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
