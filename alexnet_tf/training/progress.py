"""What a user sees of a run: the progress bar, metrics.jsonl and TensorBoard."""

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.evaluation.error_rates import ErrorRates
from alexnet_tf.evaluation.probabilities import Bar
from alexnet_tf.program.activity import ACTIVITY
from alexnet_tf.program.checkout import commit
from alexnet_tf.program.machine import hardware
from alexnet_tf.program.progress_lines import Lines, on_terminal, progress_bar
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.settings.recipe import is_bias
from alexnet_tf.towers import gpu_names

RECENT = 100
"""Steps over which the figures that the bar shows are averaged."""


class Progress:
    """Follows a run from `state.step` to `last_step`.

    Args:
      folder: the run's folder, for metrics.jsonl and tensorboard/.
      state: where the run stands.
      last_step: where it ends.
      batch_size: images a step.
      log_every: steps between two lines of metrics.
    """

    def __init__(
        self, folder: TrainingFolder, state: TrainingState, last_step: int, batch_size: int, log_every: int
    ) -> None:
        self.folder = folder
        self.batch_size = batch_size
        self.log_every = log_every
        self.step = state.step
        self.figures: deque[dict[str, float]] = deque(maxlen=RECENT)
        self.rates: dict[str, float] = {}
        folder.start_metrics(state)
        folder.log(kind="start", step=state.step, **_surroundings())
        self.board = _board(folder)
        self.bar = progress_bar(last_step * batch_size, self.step * batch_size)
        self.restart_clock()
        self.first_step = self.step

    def restart_clock(self) -> None:
        """Excludes the time before from images/s: compilation, validation, saving."""
        self.clock, self.clock_step, self.waited = time.perf_counter(), self.step, 0.0

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Counts the time inside as waiting for the input pipeline."""
        before = time.perf_counter()
        yield
        self.waited += time.perf_counter() - before

    def data_wait(self) -> float:
        """The share of the time that was spent waiting for data, since the last line of metrics."""
        return self.waited / (time.perf_counter() - self.clock)

    def step_done(self, epoch: float, rates: dict[str, float], warm_up: float = 1.0) -> None:
        """Moves the bar on by one step, and writes a line of metrics where one is due.

        Args:
          epoch: epochs done, as a fraction.
          rates: the schedule's learning rates by the variables' names; a line of metrics tells when they change.
          warm_up: the share of them that was used.
        """
        self.step += 1
        if rates != self.rates:
            self.rates = rates
            self.folder.log(kind="rates", step=self.step, rates=rates)
        self.bar.update(self.batch_size)
        if self.figures:
            self.bar.set_description(
                f"epoch {epoch:.2f}, loss {self.mean('loss'):.3f}, top-1 error {self.mean('top1_error'):.1%}, "
                f"{self.data_wait():.0%} waiting for data",
                refresh=False,
            )
        if self.step == self.first_step + 1:
            self.restart_clock()
        elif self.step % self.log_every == 0 and self.figures:
            self._log_training(epoch, {name: rate * warm_up for name, rate in rates.items()})

    def add_figures(self, figures: dict[str, float]) -> None:
        """Adds the figures of the latest step that has been read: one step late, except where the run is saved."""
        self.figures.append(figures)

    def mean(self, name: str, steps: int = RECENT) -> float:
        """The mean of a figure over the latest steps, or over as many as there are."""
        return float(np.mean([figures[name] for figures in self.figures][-steps:]))

    def validating(self, images: int) -> Bar:
        """The progress bar for a validation of so many images."""
        return ACTIVITY if on_terminal() else Validation(images)

    def validated(self, epoch: float, rates: ErrorRates) -> None:
        """Reports the error rates at the end of an epoch."""
        self.say(
            f"epoch {int(epoch)}: validation top-1 error {rates.top1_error:.2%}, "
            f"top-5 error {rates.top5_error:.2%}, loss {rates.loss:.3f}, {rates.images} images"
        )
        self._write(
            "validation", epoch,
            top1_error=rates.top1_error, top5_error=rates.top5_error, loss=rates.loss, images=rates.images,
        )  # fmt: skip

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        tqdm.write(line)

    def close(self) -> None:
        """Ends the bar and flushes TensorBoard's file."""
        self.bar.close()
        with contextlib.suppress(tf.errors.OpError):
            self.board.close()

    def _log_training(self, epoch: float, rates: dict[str, float]) -> None:
        seconds = time.perf_counter() - self.clock
        steps = self.step - self.clock_step
        of_weights = [rate for name, rate in rates.items() if not is_bias(name)]
        of_biases = [rate for name, rate in rates.items() if is_bias(name)]
        self._write(
            "train", epoch,
            **{name: self.mean(name, self.log_every) for name in self.figures[-1]},
            weight_rate=max(of_weights, default=0.0), bias_rate=max(of_biases, default=0.0),
            images_per_second=steps * self.batch_size / seconds, data_wait=self.data_wait(),
        )  # fmt: skip
        self.restart_clock()

    def _write(self, kind: str, epoch: float, **figures: Any) -> None:
        self.folder.log(kind=kind, step=self.step, epoch=round(epoch, 4), time=round(time.time(), 3), **figures)
        with contextlib.suppress(tf.errors.OpError), self.board.as_default():
            for name, value in figures.items():
                tf.summary.scalar(f"{kind}/{name}", value, step=self.step)


class Validation:
    """Marks each batch for the watch, and prints a line of progress now and then, where there is no terminal."""

    def __init__(self, images: int) -> None:
        self.lines = Lines(images, desc="validation", by_percent=False)

    def update(self, n: int = 1) -> None:
        """Counts `n` more images."""
        ACTIVITY.update(n)
        self.lines.update(n)

    def close(self) -> None:
        """Prints nothing: the result has a line of its own."""


def _surroundings() -> dict[str, str | None]:
    """What a training is to be known by later: commit, hardware and TensorFlow."""
    return {"commit": commit(), "hardware": hardware(gpu_names()), "tensorflow": tf.__version__}


def _board(folder: TrainingFolder) -> Any:
    """TensorBoard's file; metrics.jsonl holds the same figures, so a full disk here ends no run."""
    path = folder.path / "tensorboard"
    try:
        return tf.summary.create_file_writer(str(path))
    except tf.errors.OpError:
        tqdm.write(f"{path} cannot be written; metrics.jsonl holds the same figures")
        return tf.summary.create_noop_writer()


class NoProgress(Progress):
    """The progress of a worker that shows and writes nothing: the first worker does, for all."""

    def __init__(self) -> None:
        self.waited = 0.0
        self.figures = deque(maxlen=RECENT)

    def restart_clock(self) -> None:
        """Does nothing."""

    def step_done(self, epoch: float, rates: dict[str, float], warm_up: float = 1.0) -> None:
        """Does nothing."""

    def validating(self, images: int) -> Bar:
        """Only marks each batch for the watch."""
        return ACTIVITY

    def validated(self, epoch: float, rates: ErrorRates) -> None:
        """Does nothing."""

    def say(self, line: str) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""
