"""Several runs beside each other: their curves, their error rates with intervals, and what may be chance."""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_tf.evaluation.drawing import shortened
from alexnet_tf.evaluation.ensemble import EvaluatedRun, Pictures
from alexnet_tf.evaluation.error_analysis import wilson_interval
from alexnet_tf.evaluation.error_rates import error_rates
from alexnet_tf.evaluation.figures import compared_curves
from alexnet_tf.evaluation.paired_tests import Paired, PictureKey, paired, same_pictures
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.program.errors import UserError
from alexnet_tf.reporting.answers import answers_of
from alexnet_tf.reporting.files import Chapter, ReportFiles, Table, refuse_folder
from alexnet_tf.reporting.page import page
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.experiment import deciding_settings
from alexnet_tf.runs.metrics import METRICS_FILE, read_metrics, validation_at
from alexnet_tf.runs.run import Run, Which
from alexnet_tf.settings.config import in_force
from alexnet_tf.settings.sections import DevicesConfig
from alexnet_tf.towers import Towers, set_up_towers

PAGE = "compare.html"


@dataclass(frozen=True)
class Result:
    """What is known of one run's errors."""

    name: str
    facts: CheckpointFacts
    images: int
    """How many pictures were evaluated; 0 where nothing was measured."""
    top1_error: float
    top5_error: float
    by: str
    """Who measured: "this comparison" or "training"."""
    pictures: tuple[PictureKey, ...] = ()
    wrong: np.ndarray | None = None
    """At top-1, bool (images,), in the order of `pictures`; None where training measured, which keeps sums alone."""

    @property
    def intervals(self) -> list[tuple[float, float]]:
        """95 %, of the top-1 and the top-5 error."""
        errors = (self.top1_error, self.top5_error)
        return [wilson_interval(round(error * self.images) if self.images else 0, self.images) for error in errors]


@dataclass(frozen=True)
class Pair:
    """Two runs on the same pictures."""

    first: str
    second: str
    found: Paired


class Comparison:
    """Runs, evaluated one after the other.

    Args:
      runs: two or more.
      data: the folder of converted pictures to evaluate all of them on; None: each on its own, as far as it is there.
      which: the best or the latest checkpoint of each.
      split: of the data, whose pictures are evaluated.
      views: 1 or 10.

    Raises:
      UserError: a run is given twice or has no checkpoint, or `data` cannot be used.
    """

    def __init__(self, runs: Sequence[Run], data: Path | None, *, which: Which, split: str, views: int) -> None:
        self.runs, self.views, self.which = runs, views, which
        self.names = _names(runs)
        self.left_out: list[str] = []
        """What cannot be compared, and why."""
        for run in runs:
            run.checkpoint(which)  # a fault in it is told before anything is computed
        self.data = [self._find_data(run, data, split) for run in runs]
        self.towers = set_up_towers(DevicesConfig(threads=runs[0].config.devices.threads))
        self.results = [self._result(*each, self.towers) for each in zip(self.names, runs, self.data, strict=True)]
        self.pairs = self._pairs()

    @property
    def lines(self) -> list[str]:
        """What was found, a line for each run and for each pair."""
        return [*map(_result_line, self.results), *map(_pair_line, self.pairs)]

    def write(self, out: Path) -> Path:
        """Writes the page and what lies beside it; returns the page's path.

        Raises:
          UserError: `out` is a run or converted data, or cannot be written.
        """
        refuse_folder(out)
        files = ReportFiles(out)
        chapters = [*self._curves(files), self._errors(files), *self._pairs_chapter(files), *self._settings(files)]
        files.json("compare", self._numbers())
        title = f"Comparison of {len(self.runs)} runs"
        files.write(PAGE, page(title, [", ".join(self.names) + "."], chapters, self.left_out))
        return files.folder / PAGE

    def _result(self, name: str, run: Run, data: Pictures | None, towers: Towers) -> Result:
        if data is None:
            facts = CheckpointFacts.of(run, run.checkpoint(self.which))
            line = validation_at(run.path / METRICS_FILE, facts.step)
            if line is None or not isinstance(line.get("images"), int):
                return Result(name, facts, 0, np.nan, np.nan, "nobody")
            return Result(name, facts, line["images"], line["top1_error"], line["top5_error"], "training")
        model, checkpoint = trained_network(run, towers, self.which)
        answers = answers_of(run, model, data, self.views)
        rates = error_rates(answers.probabilities, answers.labels)
        keys = data.manifest.class_keys
        pictures = tuple((keys[label], file) for label, file in zip(answers.labels, answers.file_names, strict=True))
        wrong = answers.probabilities.argmax(axis=1) != answers.labels
        facts = CheckpointFacts.of(run, checkpoint)
        return Result(name, facts, rates.images, rates.top1_error, rates.top5_error, "this comparison", pictures, wrong)

    def _find_data(self, run: Run, given: Path | None, split: str) -> Pictures | None:
        found = Pictures.if_there(given, run.config.data.dir, split, [EvaluatedRun(run, self.which)])
        if isinstance(found, Pictures):
            return found
        self._leave_out(
            f"{run.path} is not evaluated: {found}. Give the folder of converted pictures with --data; what is told "
            "of it was measured in training"
        )
        return None

    def _pairs(self) -> list[Pair]:
        found = []
        for first, second in itertools.combinations(self.results, 2):
            if first.wrong is None or second.wrong is None:
                continue
            places = same_pictures(first.pictures, second.pictures)
            if places is None:
                self._leave_out(
                    f"{first.name} and {second.name} were evaluated on different pictures ({first.images:,} and "
                    f"{second.images:,}), so their errors cannot be compared picture by picture: give data that fit "
                    "both with --data"
                )
            else:
                found.append(Pair(first.name, second.name, paired(first.wrong, second.wrong[places])))
        return found

    def _curves(self, files: ReportFiles) -> list[Chapter]:
        curves = []
        for name, run in zip(self.names, self.runs, strict=True):
            try:
                training, validation = read_metrics(run.path / METRICS_FILE)
            except UserError as fault:
                self._leave_out(f"Without the curve of {name}: {fault}")
                continue
            curves.append((name, training, validation))
        if not any(training or validation for _, training, validation in curves):
            return []
        figure = files.figure(
            "curves", "Training loss and validation error of every run over its epochs.",
            lambda: compared_curves(curves),
        )  # fmt: skip
        header = ("run", "kind", "step", "epoch", "loss", "top1_error", "top5_error")
        rows = (
            [name, *(line.get(key, "") for key in header[1:])]
            for name, training, validation in curves
            for line in (*training, *validation)
        )
        return [Chapter("Learning", [], [figure], files=[files.table("curves", header, rows)])]

    def _errors(self, files: ReportFiles) -> Chapter:
        header = (
            "run", "step", "epoch", "images", "top1_error", "top1_low", "top1_high", "top5_error", "top5_low",
            "top5_high", "by",
        )  # fmt: skip
        rows = [
            [one.name, one.facts.step, one.facts.epoch or "", one.images,
             one.top1_error, *one.intervals[0], one.top5_error, *one.intervals[1], one.by]
            for one in self.results
        ]  # fmt: skip
        shown = [
            [one.name, f"{one.facts.epoch:.4g}" if one.facts.epoch else "unknown", f"{one.images:,}",
             *(_with_interval(*each) for each in zip((one.top1_error, one.top5_error), one.intervals, strict=True)),
             one.by]
            for one in self.results
        ]  # fmt: skip
        titles = ("run", "epoch", "pictures", "top-1 error (95 % interval)", "top-5 error", "measured by")
        told = "Intervals are Wilson scores: what other pictures of the same kind may bring, not what another seed may."
        return Chapter("Errors", [told], [], Table(titles, shown), [files.table("errors", header, rows)])

    def _pairs_chapter(self, files: ReportFiles) -> list[Chapter]:
        if not self.pairs:
            return []
        header = (
            "first", "second", "images", "only_first_wrong", "only_second_wrong",
            "difference", "low", "high", "p_value",
        )  # fmt: skip
        rows = [
            [one.first, one.second, one.found.images, one.found.only_first_wrong, one.found.only_second_wrong,
             one.found.difference, *one.found.interval, one.found.p_value]
            for one in self.pairs
        ]  # fmt: skip
        shown = [
            [one.first, one.second, f"{one.found.only_first_wrong:,}", f"{one.found.only_second_wrong:,}",
             _points(one.found), f"{one.found.p_value:.3g}"]
            for one in self.pairs
        ]  # fmt: skip
        titles = (
            "first", "second", "only the first is wrong", "only the second is wrong",
            "second's error less the first's, in points (95 % interval)", "p, McNemar's exact test",
        )  # fmt: skip
        told = [
            "Picture by picture, at top-1. p is how likely two equally good networks are to differ so much or more by "
            "chance; below 0.05 is often called significant."
        ]
        if len(self.pairs) > 1:
            told.append(f"Of {len(self.pairs)} such tests one in twenty is below 0.05 even where nothing differs.")
        return [Chapter("Differences", told, [], Table(titles, shown), [files.table("differences", header, rows)])]

    def _settings(self, files: ReportFiles) -> list[Chapter]:
        different = self._different_settings()
        if not different:
            return []
        rows = [[name, *map(str, values)] for name, values in different.items()]
        file = files.table("settings", ("setting", *self.names), rows)
        told = "Settings that differ, of those that decide a run's steps."
        return [Chapter("Settings", [told], [], Table(("setting", *self.names), rows), [file])]

    def _different_settings(self) -> dict[str, list[Any]]:
        settings = [in_force(deciding_settings(run.config)) for run in self.runs]
        names = dict.fromkeys(name for one in settings for name in one)
        table = {name: [one.get(name) for one in settings] for name in names}
        return {name: values for name, values in table.items() if any(value != values[0] for value in values)}

    def _numbers(self) -> dict[str, Any]:
        return {
            "runs": [
                {"run": one.name, "step": one.facts.step, "epoch": one.facts.epoch, "images": one.images,
                 "top1_error": _figure(one.top1_error), "top1_interval": one.intervals[0],
                 "top5_error": _figure(one.top5_error), "top5_interval": one.intervals[1], "by": one.by}
                for one in self.results
            ],
            "pairs": [
                {"first": one.first, "second": one.second, "images": one.found.images,
                 "only_first_wrong": one.found.only_first_wrong, "only_second_wrong": one.found.only_second_wrong,
                 "difference": one.found.difference, "interval": one.found.interval, "p_value": one.found.p_value}
                for one in self.pairs
            ],
            "settings": self._different_settings(),
            "views": self.views,
            "left_out": self.left_out,
        }  # fmt: skip

    def _leave_out(self, reason: str) -> None:
        self.left_out.append(reason)
        print(reason, file=sys.stderr)


def _names(runs: Sequence[Run]) -> list[str]:
    """The folders' names, or their paths where two have the same name.

    Raises:
      UserError: two are the same folder.
    """
    places = [run.path.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{run.path} is given twice; compare it with another run")
    names = [place.name for place in places]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _result_line(one: Result) -> str:
    if not one.images:
        return f"{one.name}: {one.facts}; its error is unknown"
    errors = (_with_interval(*each) for each in zip((one.top1_error, one.top5_error), one.intervals, strict=True))
    top1, top5 = errors
    return f"{one.name}: top-1 error {top1}, top-5 error {top5}, {one.images:,} pictures, measured by {one.by}"


def _pair_line(one: Pair) -> str:
    return (
        f"{shortened(one.second, 40, synonyms=False)} against {shortened(one.first, 40, synonyms=False)}: "
        f"{_points(one.found)} points; {one.found.only_second_wrong:,} pictures only the former gets wrong, "
        f"{one.found.only_first_wrong:,} only the latter; McNemar's exact test p = {one.found.p_value:.3g}"
    )


def _points(found: Paired) -> str:
    low, high = (100 * bound for bound in found.interval)
    return f"{100 * found.difference:+.2f} ({low:+.2f} to {high:+.2f})"


def _with_interval(error: float, interval: tuple[float, float]) -> str:
    return "unknown" if np.isnan(error) else f"{error:.2%} ({interval[0]:.2%} to {interval[1]:.2%})"


def _figure(error: float) -> float | None:
    return None if np.isnan(error) else error
