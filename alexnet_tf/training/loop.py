"""The loop around the training step: it saves, validates at the end of every epoch and lowers the rate.

It stops cleanly on a signal or a loss that is not finite.
"""

import math
import signal
from typing import NoReturn

import numpy as np
import tensorflow as tf

from alexnet_tf.evaluation.error_rates import error_sums, rates_of_sums
from alexnet_tf.evaluation.probabilities import class_probabilities, prediction_function
from alexnet_tf.pictures.input_pipeline import evaluation_batches, training_batches
from alexnet_tf.pictures.preparation import PreparedPictures, StoredPictures
from alexnet_tf.pictures.record_files import RecordBatches
from alexnet_tf.program.activity import ACTIVITY
from alexnet_tf.program.errors import StoppedBySignal, UserError
from alexnet_tf.program.stop_signals import STOP
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.runs.run import open_run
from alexnet_tf.settings.config import Config
from alexnet_tf.towers import Towers
from alexnet_tf.training.fine_tuning import take_weights
from alexnet_tf.training.frozen_features import FrozenFeatures
from alexnet_tf.training.optimizers import learning_rates
from alexnet_tf.training.outlook import chance_advice, class_weights, is_judged
from alexnet_tf.training.progress import NoProgress, Progress
from alexnet_tf.training.sanity import JUDGED, PixelCheck, not_finite_advice, stuck_advice
from alexnet_tf.training.saving import Saving
from alexnet_tf.training.step import StepInput, TrainingStep
from alexnet_tf.workers.together import ONE_WORKER, OneWorker, Tensors
from tfrecords.manifest import Manifest
from tfrecords.statistics import Statistics


class Trainer:
    """The loop from the latest checkpoint to the last epoch."""

    def __init__(
        self, config: Config, towers: Towers, folder: TrainingFolder, manifest: Manifest, statistics: Statistics,
        workers: OneWorker = ONE_WORKER,
    ) -> None:  # fmt: skip
        self.config = config
        self.preset = config.preset
        self.folder = folder
        self.manifest = manifest
        self.statistics = statistics
        self.workers = workers
        self.batch_size = config.data.batch_size
        self.per_epoch = manifest.splits["train"].records
        self.all_steps = math.ceil(self.preset.train.epochs * self.per_epoch / self.batch_size)
        self.last_step = min(self.all_steps, config.train.steps or self.all_steps)
        weights = None
        if config.train.class_weights == "balanced":
            weights = class_weights(manifest.splits["train"].class_counts)
        on_device = statistics if config.data.augment_on == "device" else None
        self.step = TrainingStep(
            self.preset, manifest.num_classes, towers, config.train.seed, on_device, workers, weights
        )  # fmt: skip
        self.predict = prediction_function(self.step.model, self.preset.augment, statistics)
        fresh = not folder.has_checkpoint()
        if config.train.init_from and fresh:
            take_weights(open_run(config.train.init_from), self.step.known, config, folder.classes)
        self.state = folder.restore(self.step.checkpoint)
        if self.state.step < self.last_step:
            folder.check_room(self.step.saved_bytes())
        self._start_with_same_weights()
        self.features: FrozenFeatures | None = None
        if config.train.cache_features and self.step.frozen_part:
            self.features = FrozenFeatures(
                folder.path / "features", self.step.model, self.step.frozen_part, config, manifest, statistics
            )  # fmt: skip
            self.predict = self.features.prediction_function()
            self.step.from_features = True
        self.first_step = self.checked = self.state.step
        """Steps whose loss has been looked at."""
        self.pixels = PixelCheck(statistics.mean_image)
        self.saving = Saving(folder, self.step, config.train.saving_share, self.state.step)

    def run(self) -> None:
        """Trains until the last step is done and saved, or the validation error has stopped improving.

        Raises:
          StoppedBySignal: after SIGINT or SIGTERM, with everything saved.
          UserError: the loss is not finite, or a file that is read turned out damaged.
        """
        complete = self.complete
        if complete and not self.state.validation_due:
            more = "train.epochs" if self.last_step == self.all_steps else "train.steps"
            more = "train.stop_after" if self.state.step < self.last_step else more
            self._say(f"run {self.folder.path} is complete at step {self.state.step}; raise {more} to train longer")
            return
        if not complete:  # a fresh start is reported, too: the folder may be on a disk that is not mounted yet
            begins = "resumes from" if self.state.step else "starts at"
            self._say(f"run {self.folder.path} {begins} step {self.state.step} of {self.last_step}")
        self.progress = self._new_progress()
        try:
            with STOP.saving_first():
                if self.state.validation_due:  # the run ended between saving an epoch's last step and its validation
                    self._validate()
                if not self.complete:
                    self._run_steps()
                if self.state.step < self.last_step:
                    self.progress.say(
                        f"stopped at step {self.state.step} of {self.last_step}: no new best validation error in "
                        f"{self.state.epochs_without_best} epochs (train.stop_after={self.config.train.stop_after})"
                    )
        finally:
            self.progress.close()

    @property
    def complete(self) -> bool:
        """Whether no step is left."""
        return self.state.step >= self.last_step or self._stops_early()

    def _stops_early(self) -> bool:
        """Whether the validation error has not improved for as many epochs as the config allows."""
        limit = self.config.train.stop_after
        return limit is not None and not self.state.validation_due and self.state.epochs_without_best >= limit

    def _start_with_same_weights(self) -> None:
        """Gives this worker the state and the weights of the first one."""
        state = self.state
        best = math.nan if state.best_top1_error is None else state.best_top1_error
        step, drops, best, since, without, due = self.workers.broadcast_from_first(
            np.array(
                [state.step, state.drops, best, state.epochs_since_best, state.epochs_without_best,
                 state.validation_due]
            )
        ).tolist()  # fmt: skip
        self.state = TrainingState(
            step=int(step), drops=int(drops), best_top1_error=None if math.isnan(best) else best,
            epochs_since_best=int(since), epochs_without_best=int(without), validation_due=bool(due),
        )  # fmt: skip
        self.workers.start_with_same_weights(self.step.saved())

    def _new_progress(self) -> Progress:
        if self.workers.index:
            return NoProgress()
        return Progress(self.folder, self.state, self.last_step, self.batch_size, self.config.train.log_every)

    def _say(self, line: str) -> None:
        if self.workers.index == 0:
            print(line)

    def _run_steps(self) -> None:
        batches = iter(self._training_batches())
        pending: Tensors | None = None
        while not self.complete:
            with self.progress.waiting_for_data():
                images, labels = next(batches)
            self._check_batch(images)
            rates, warm_up = self._rates(), self._warm_up()
            with ACTIVITY.together(compiled=self.state.step > self.first_step):
                output = self.step(
                    images, labels, self.state.step, {name: rate * warm_up for name, rate in rates.items()}
                )
            # Figures are read one step late, so that a GPU is never kept waiting for a number to be printed.
            if pending is not None:
                self._read_figures(pending)
            pending = output
            self.state.step += 1
            ACTIVITY.reach(f"step {self.state.step}")
            self.progress.step_done(self._epoch(), rates, warm_up)
            stopping = self.workers.should_stop(STOP.number)  # read once: a later signal waits for the next step
            if stopping or self._has_to_save() or self._ends_epoch():
                self._read_figures(output)
                pending = None
                self._save(needed=stopping or self._has_to_save())
            if stopping and not self.complete:
                cause = signal.Signals(STOP.number).name if STOP.number else "a signal to another worker"
                raise StoppedBySignal(
                    f"stopped by {cause}, saved at step {self.state.step}; run the same command again to resume"
                )

    def _training_batches(self) -> RecordBatches:
        if self.features:
            return self.features.training_batches(self.batch_size, self.state.step)
        return training_batches(
            self.config.data.dir, self.manifest, self.statistics, self.preset.augment,
            batch_size=self.batch_size // self.workers.share.of, seed=self.config.train.seed,
            shuffle_buffer=self.config.data.shuffle_buffer, first_step=self.state.step, share=self.workers.share,
            augment_on=self.config.data.augment_on, keep_pixels=0 if self.first_step else JUDGED,
        )  # fmt: skip

    def _epoch(self) -> float:
        """Epochs done, as a fraction."""
        return self.state.step * self.batch_size / self.per_epoch

    def _ends_epoch(self) -> bool:
        before = (self.state.step - 1) * self.batch_size // self.per_epoch
        return self.state.step * self.batch_size // self.per_epoch > before

    def _rates(self) -> dict[str, float]:
        return learning_rates(self.preset.train, self.step.known, int(self._epoch()) + 1, self.state.drops)

    def trained(self) -> list[str]:
        """The names of the variables that the next step changes."""
        return [name for name, rate in self._rates().items() if rate]

    def _warm_up(self) -> float:
        """The share of the rates that is used: scaled rates rise step by step from the unscaled ones."""
        scale, epochs = self.config.rate_scale, self.config.distribute.warmup_epochs
        if scale <= 1 or self._epoch() >= epochs:
            return 1.0
        return (1 + (scale - 1) * self._epoch() / epochs) / scale

    def _has_to_save(self) -> bool:
        return self.state.step % self.config.train.checkpoint_every == 0 or self.state.step == self.last_step

    def _save(self, *, needed: bool) -> None:
        """Saves, or passes over the end of an epoch where saving takes too much time; validates there."""
        if not self.step.weights_are_finite():  # the loss is that from before the update, so it may not show it yet
            self._stop_not_finite(f"the weights after step {self.state.step} are not finite")
        self.state.validation_due = self._ends_epoch()
        if needed or self.saving.budget.is_affordable():
            self.saving.save(self.state)
        if self.state.validation_due:  # after the save, so that an error in it does not lose the epoch
            try:
                self._validate()
            except UserError:
                if not self.saving.is_saved(self.state):
                    self.saving.save(self.state)
                raise
        self.progress.restart_clock()

    def _check_batch(self, images: StepInput) -> None:
        if self.first_step or self.pixels.done() or not isinstance(images, PreparedPictures | StoredPictures):
            return  # a resumed run was checked by its first pictures, and features cannot be checked
        prepared = tf.nest.flatten(self.step.prepare(images))[0]
        warning = self.pixels.add(images.pixels.numpy(), prepared.numpy() * self.preset.augment.color_divisors)
        if warning:
            self.progress.say(warning)

    def _read_figures(self, step_output: Tensors) -> None:
        self._check_figures(self.workers.read_figures(step_output, STOP.number))

    def _check_figures(self, figures: dict[str, float]) -> None:
        step, loss = self.checked + 1, figures["loss"]
        self.checked = step
        self.progress.add_figures(figures)
        if not math.isfinite(loss):
            self._stop_not_finite(f"the loss of step {step} is {loss}")
        if step == self.config.train.stuck_after:
            preset, classes = self.config.model.preset, self.manifest.num_classes
            warning = stuck_advice(step, self.progress.mean("loss"), classes, preset)
            if warning:
                self.progress.say(warning)

    def _stop_not_finite(self, what: str) -> NoReturn:
        self.folder.log(kind="not_finite", step=self.checked)
        saved = f"the checkpoints in {self.folder.path} are from before it; " if self.folder.has_checkpoint() else ""
        raise UserError(f"{what}; {saved}{not_finite_advice(self.checked)}")

    def _validate(self) -> None:
        """Error rates of the latest weights on the validation split; adds them to their checkpoint."""
        first, end = self.workers.share.range_of(self.manifest.splits["val"].records)
        own = np.zeros(4)
        if end > first:
            bar = self.progress.validating(end - first)
            own = error_sums(*class_probabilities(self.predict, self._validation_batches(), bar))
        rates = rates_of_sums(self.workers.sum(own))
        self._follow_plateau(rates.top1_error)
        self.state.validation_due = False
        self.progress.validated(self._epoch(), rates)  # before the checkpoint says that validation is done
        before = (self.state.step - 1) * self.batch_size // self.per_epoch
        epoch, best, preset = int(self._epoch()), self.state.best_top1_error, self.config.model.preset
        if is_judged(before, epoch):
            warning = chance_advice(epoch, rates.top1_error, best, self.manifest.splits["val"], preset)
            if warning:
                self.progress.say(warning)
        if self._stops_early() and not self.saving.is_saved(self.state):
            self.saving.save(self.state, rates.top1_error)
        else:
            self.saving.validated(self.state, rates.top1_error)

    def _follow_plateau(self, top1_error: float) -> None:
        state, recipe = self.state, self.preset.train
        if state.best_top1_error is None or top1_error < state.best_top1_error:
            state.best_top1_error, state.epochs_since_best, state.epochs_without_best = top1_error, 0, 0
            return
        state.epochs_since_best += 1
        state.epochs_without_best += 1
        if recipe.schedule == "plateau" and state.epochs_since_best >= self.config.train.patience:
            state.drops, state.epochs_since_best = min(state.drops + 1, recipe.max_drops), 0

    def _validation_batches(self) -> RecordBatches:
        if self.features:
            return self.features.evaluation_batches("val")
        return evaluation_batches(
            self.config.data.dir, self.manifest,
            split="val", batch_size=self.config.data.eval_batch_size, share=self.workers.share,
        )  # fmt: skip
