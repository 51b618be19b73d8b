"""What an experiment shows so far: a table as Markdown and JSON, and a figure."""

from pathlib import Path
from statistics import fmean
from typing import Any

from alexnet_tf.evaluation.drawing import BLUE, GRAY, RED, Figure, colormaps
from alexnet_tf.program.errors import UserError
from alexnet_tf.reporting.files import ReportFiles
from alexnet_tf.runs.metrics import METRICS_FILE, read_metrics
from experiments.evaluating import VIEWS, Group, evaluation, groups
from experiments.measures import Summary, summary, training_errors
from experiments.one_run import OneRun
from experiments.plans import Plan
from experiments.running import runs, trials

Outcomes = dict[str, list[tuple[OneRun, dict[str, Any]]]]
"""The runs of each arm that have begun, with what they show; one that goes on has `going_on`."""


def collect(plan: Plan, out: Path) -> str:
    """Writes the table, as JSON and Markdown, and the figure, named after the plan; returns the table as Markdown.

    Raises:
      UserError: no run has ended yet.
    """
    found: Outcomes = {arm.name: [] for arm in plan.arms}
    for one in runs(plan, out):
        if shown := _so_far(one):
            found[one.arm.name].append((one, shown))
    if not any("going_on" not in shown for records in found.values() for _, shown in records):
        raise UserError(f"no run of {plan.name} is finished in {out} yet")
    evaluated = [(group, views, shown) for group in groups(plan, out) for views in VIEWS
                 if (shown := evaluation(group, views))]  # fmt: skip
    table = "\n".join([*_table(plan, found), *_factors(plan, found), *_evaluations(evaluated)]) + "\n"
    told = {
        "experiment": plan.name,
        "config": plan.config,
        "trials": [shown for arm in plan.arms for one in trials(plan, arm, out) if (shown := one.finished())],
        "runs": [record for records in found.values() for _, record in records],
        "arms": {name: _numbers(records) for name, records in found.items() if records},
        "evaluations": [shown for _, _, shown in evaluated],
    }
    files = ReportFiles(out)
    files.json(plan.name, told)
    files.write(f"{plan.name}.md", table.encode())
    files.figure(plan.name, "", lambda: error_curves(plan, found))
    return table


def broken_down(plan: Plan, out: Path) -> list[str]:
    """A line for each run that broke down and belongs into the table."""
    ended = ((one, one.finished() or {}) for one in runs(plan, out))
    return [f"{one.name} broke down: {shown['failed']}" for one, shown in ended if "failed" in shown]


def _so_far(one: OneRun) -> dict[str, Any] | None:
    if shown := one.finished():
        return shown
    # Before its first validation a run without a target shows nothing.
    begun = one.has_metrics and any(read_metrics(one.folder / METRICS_FILE)[1 if one.plan.target is None else 0])
    return one.outcome() | {"going_on": True} if begun else None


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
        rate = records[0][0].rate
        values = ", ".join(_value(shown, figure, scale) for _, shown in records)
        of_figure = _summary(records, figure)
        best, speed, trained = (_summary(records, one) for one in ("best_epoch", "images_per_second", "training_error"))
        cells = [
            name, "" if rate is None else f"{rate:g}", values, *_cells(of_figure, scale),
            f"{100 * trained.mean:.1f} %" if trained else "", f"{best.mean:.1f}" if best else "",
            f"{speed.mean:,.0f}" if speed else "",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _value(shown: dict[str, Any], figure: str, scale: float) -> str:
    if "failed" in shown:
        return "broke down"
    if "going_on" in shown:
        return f"goes on after {shown['epochs']:.1f}"
    return f"not in {shown['epochs']:.1f}" if shown[figure] is None else f"{scale * shown[figure]:.2f}"


def _summary(records: list[tuple[OneRun, dict[str, Any]]], figure: str) -> Summary | None:
    """Of the runs that have ended; None where one of them does not have the figure: the others alone would flatter."""
    return summary([shown for _, shown in records if "going_on" not in shown], figure)


def _cells(found: Summary | None, scale: float) -> list[str]:
    if found is None:
        return ["", "", ""]
    spread, interval = found.spread, found.interval
    return [
        f"{scale * found.mean:.2f}",
        "" if spread is None else f"{scale * spread:.2f}",
        "" if interval is None else f"{scale * interval[0]:.2f} to {scale * interval[1]:.2f}",
    ]


def _factors(plan: Plan, found: Outcomes) -> list[str]:
    """How many times as many epochs each other arm takes as the first, over the seeds that both have ended with."""
    if not plan.target:
        return []
    first, *others = ({one.seed: shown for one, shown in records if "going_on" not in shown}
                      for records in found.values())  # fmt: skip
    lines = []
    for arm, other in zip(plan.arms[1:], others, strict=True):
        seeds = [seed for seed in first if seed in other]
        own, its = (summary([one[seed] for seed in seeds], "epochs_to_target") for one in (first, other))
        if own and its:
            ratios = ", ".join(f"{a / b:.2f}" for a, b in zip(its.values, own.values, strict=True))
            factor = f"{its.mean / own.mean:.2f} times as many epochs as {plan.arms[0].name}"
            lines.append(f"{arm.name} takes {factor}; seed by seed {ratios}.")
    return ["", *lines] if lines else []


def _evaluations(evaluated: list[tuple[Group, int, dict[str, Any]]]) -> list[str]:
    """A line for each run, its arm's mean where there are several, and what is averaged."""
    if not evaluated:
        return []
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    for group, views, shown in evaluated:
        name = group[0].name if len(group) == 1 else f"{group[0].arm.name}: average of {len(group)} nets"
        rows.setdefault(name, {})[views] = shown
    for arm in dict.fromkeys(group[0].arm.name for group, _, _ in evaluated):
        for views in VIEWS:
            own = [shown for group, seen, shown in evaluated
                   if len(group) == 1 and (group[0].arm.name, seen) == (arm, views)]  # fmt: skip
            if len(own) > 1:
                means = {figure: fmean(shown[figure] for shown in own) for figure in ("top1_error", "top5_error")}
                rows.setdefault(f"{arm}: mean of {len(own)}", {})[views] = means
    lines = ["", "| top-1 / top-5 error in percent, last weights | one view | ten views |", "|---|---|---|"]
    for name, row in rows.items():
        cells = [f"{100 * row[views]['top1_error']:.2f} / {100 * row[views]['top5_error']:.2f}" if views in row else ""
                 for views in VIEWS]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _numbers(records: list[tuple[OneRun, dict[str, Any]]]) -> dict[str, Any]:
    figures = ("epochs_to_target", "top1_error", "best_top1_error", "best_epoch", "images_per_second")
    found = {name: _summary(records, name) for name in figures}
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
        for place, (one, shown) in enumerate(records):
            if "failed" in shown:
                continue
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
