"""Writes a run's report: what is measured, drawn and said, chapter by chapter, then the page."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tensorflow as tf

from alexnet_tf.evaluation.ensemble import EvaluatedRun, Pictures
from alexnet_tf.evaluation.error_rates import ErrorRates, error_rates, shifted_labels
from alexnet_tf.evaluation.model_card import Measured, card_as_markdown, how_turned, model_card, with_error_rates
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.networks.network import Network
from alexnet_tf.pictures.one_of_each import one_of_each_class
from alexnet_tf.pictures.preparation import number_of_views
from alexnet_tf.program.checkout import commit
from alexnet_tf.program.errors import UserError
from alexnet_tf.program.machine import hardware
from alexnet_tf.reporting.answers import Answers, answers_of
from alexnet_tf.reporting.chapters_of_errors import (
    calibration_chapter,
    class_chapter,
    confusion_chapter,
    learning_chapter,
    mistakes_chapter,
)
from alexnet_tf.reporting.chapters_of_network import (
    answers_chapter,
    filters_chapter,
    grad_cam_chapter,
    maps_chapter,
    neighbors_chapter,
    placement_chapter,
    views_chapter,
)
from alexnet_tf.reporting.files import Chapter, ReportFiles, refuse_folder
from alexnet_tf.reporting.page import page
from alexnet_tf.runs.checkpoint_facts import CheckpointFacts
from alexnet_tf.runs.run import Run, Which
from alexnet_tf.settings.sections import DevicesConfig
from alexnet_tf.towers import gpu_names, set_up_towers

PAGE = "report.html"
SHOWN = 8
"""Pictures with their answers, as in the paper's Figure 4."""


class Report:
    """A run's report in the making.

    Args:
      run: trained, in training, or imported.
      data: the folder of converted pictures; None: the run's own, as far as it is there.
      out: the folder to write in.
      which: the best or the latest checkpoint.
      split: of the data, whose pictures are evaluated.
      views: 1 or 10.
      searched: how many training pictures are looked at for neighbors.

    Raises:
      UserError: the run has no checkpoint, `data` cannot be used, or `out` cannot be written.
    """

    def __init__(
        self, run: Run, data: Path | None, out: Path, *,
        which: Which = "best", split: str = "val", views: int = 1, searched: int = 10_000,
    ) -> None:  # fmt: skip
        refuse_folder(out)
        self.run, self.views, self.searched = run, views, searched
        self.left_out: list[str] = []
        """What cannot be shown, and why."""
        self.numbers: dict[str, Any] = {}
        self.chapters: list[Chapter] = []
        run.checkpoint(which)  # a fault in it is told before anything is computed
        self.net = EvaluatedRun(run, which)
        self.data = self._find_data(data, split)
        self.towers = set_up_towers(DevicesConfig(threads=run.config.devices.threads))
        self.files = ReportFiles(out)
        self.which = which

    def write(self) -> Path:
        """Everything; returns the page's path.

        Raises:
          UserError: a file is damaged or cannot be written.
        """
        run, files = self.run, self.files
        placement = self._try("the placement", lambda: placement_chapter(run, self.towers, files, self.numbers))
        model, checkpoint = trained_network(run, self.towers, self.which)
        # At once: of a run that is still trained the checkpoint may be gone by the end.
        card, facts = model_card(run, checkpoint), CheckpointFacts.of(run, checkpoint)
        self._add("the learning curve", lambda: learning_chapter(run, files))
        if self.data is not None:
            if turned_otherwise := self.net.other_exif(run.exif(checkpoint), self.data):
                self._leave_out(turned_otherwise)
            card = with_error_rates(card, run, [self._chapters_of_pictures(model, self.data)])
        self._add("the first filters", lambda: filters_chapter(model, files, self.numbers))
        self.chapters += [placement] if placement else []
        files.write("model_card.md", card_as_markdown(card).encode("utf-8", "replace"))
        made_by = {"commit": commit(), "hardware": hardware(gpu_names()), "tensorflow": tf.__version__}
        self.numbers |= {"checkpoint": asdict(facts), "card": card, "made_by": made_by, "left_out": self.left_out}
        files.json("report", self.numbers)
        about = [
            f"Network {run.config.model.preset}, {run.num_classes} classes; weights of {facts}.",
            *([_about_data(self.data)] if self.data is not None else []),
            f"Made by commit {made_by['commit'] or 'unknown'} on {made_by['hardware']}, TensorFlow {tf.__version__}.",
        ]
        files.write(PAGE, page(f"Report of {run.path.resolve().name}", about, self.chapters, self.left_out, card))
        return files.folder / PAGE

    def _chapters_of_pictures(self, model: Network, data: Pictures) -> Measured:
        run, files, names = self.run, self.files, self.run.classes.names
        answers = answers_of(run, model, data, self.views)
        rates = error_rates(answers.probabilities, answers.labels)
        self._note_rates(rates, answers)
        self.chapters += [
            confusion_chapter(answers, names, files),
            class_chapter(answers, names, files, self.numbers),
            calibration_chapter(answers, files, self.numbers),
            mistakes_chapter(answers, data, names, files),
        ]
        places = one_of_each_class(answers.labels, SHOWN)
        pictures, probabilities = data.at(places), answers.probabilities[places]
        self.chapters.append(answers_chapter(pictures, probabilities, names, files))
        self._add(
            "the nearest training pictures",
            lambda: neighbors_chapter(run, model, data, pictures, self.searched, files),
        )
        self.chapters += [
            maps_chapter(run, model, pictures[0], files),
            grad_cam_chapter(run, model, pictures, files),
            views_chapter(run, model, pictures[0], files),
        ]
        shown = number_of_views(self.views, run.config.preset.augment, data.manifest.size)
        return Measured(data.split, shown, rates.images, rates.top1_error, rates.top5_error, "this report")

    def _note_rates(self, rates: ErrorRates, answers: Answers) -> None:
        self.numbers["error_rates"] = asdict(rates)
        if warning := shifted_labels(answers.probabilities, answers.labels):
            self._leave_out(warning)

    def _find_data(self, given: Path | None, split: str) -> Pictures | None:
        found = Pictures.if_there(given, self.run.config.data.dir, split, [self.net])
        if isinstance(found, Pictures):
            return found
        self._leave_out(f"What needs pictures is left out: {found}. Give the folder of converted pictures with --data.")
        return None

    def _add(self, what: str, make: Callable[[], Chapter]) -> None:
        chapter = self._try(what, make)
        self.chapters += [chapter] if chapter else []

    def _try(self, what: str, make: Callable[[], Chapter]) -> Chapter | None:
        """A chapter without which a report is still one; where it cannot be made, the page says why."""
        try:
            return make()
        except UserError as fault:
            self._leave_out(f"Without {what}: {fault}.")
            return None

    def _leave_out(self, reason: str) -> None:
        self.left_out.append(reason)
        print(reason, file=sys.stderr)


def _about_data(data: Pictures) -> str:
    manifest = data.manifest
    return (
        f"The pictures are those of {data.data.name}, split {data.split}: {data.count:,}, converted to "
        f"{manifest.size}×{manifest.size} pixels. EXIF orientation: {how_turned(manifest.exif)}."
    )
