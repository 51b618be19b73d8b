"""When a training saves: at the end of each epoch, unless saving would take too much of its time.

An epoch of a few hundred pictures is over sooner than its state is written. Then the end of an epoch may go by without
a checkpoint; the best weights since the last one wait in memory, and are written before the next.
"""

from dataclasses import dataclass

import numpy as np

from alexnet_tf.program.activity import ACTIVITY
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.training.saving_budget import SavingBudget
from alexnet_tf.training.step import TrainingStep


@dataclass(frozen=True)
class _Kept:
    """A state that is better than all saved ones, and not saved."""

    state: TrainingState
    top1_error: float
    values: dict[str, np.ndarray]


class Saving:
    """Saves a training's state.

    Args:
      folder: the run's.
      step: whose variables are saved.
      share: of the time since the training began that saving at the ends of epochs may take.
      saved: the step of the latest checkpoint.
    """

    def __init__(self, folder: TrainingFolder, step: TrainingStep, share: float, saved: int) -> None:
        self._folder = folder
        self._step = step
        self.budget = SavingBudget(share)
        self._saved = saved
        self._kept: _Kept | None = None

    def is_saved(self, state: TrainingState) -> bool:
        """Whether the latest checkpoint is of this step."""
        return self._saved == state.step

    def save(self, state: TrainingState, top1_error: float | None = None) -> None:
        """Writes a checkpoint, and before it the best one that waits, for the later one's state counts from it.

        Args:
          state: where training stands.
          top1_error: of these weights on the validation split, where that is known already.

        Raises:
          UserError: one cannot be written; those from before are still there.
        """
        with self.budget.spending(), ACTIVITY.saving():
            if self._kept:
                self._write(self._kept)
                self._kept = None
            self._folder.save(self._step.checkpoint, state, top1_error=top1_error)
        self._saved = state.step

    def validated(self, state: TrainingState, top1_error: float) -> None:
        """Adds a validation's result to the checkpoint of this step; without one, keeps the state where it is the best.

        Raises:
          UserError: it cannot be written.
        """
        if self.is_saved(state):
            with ACTIVITY.saving():
                self._folder.add_validation(state, top1_error)
        elif top1_error == state.best_top1_error and self._folder.writes:  # of equal ones the later
            self._kept = _Kept(state.model_copy(), top1_error, self._values())

    def _write(self, kept: _Kept) -> None:
        now = self._values()
        try:
            self._assign(kept.values)
            self._folder.save(self._step.checkpoint, kept.state, top1_error=kept.top1_error)
        finally:
            self._assign(now)

    def _values(self) -> dict[str, np.ndarray]:
        return {name: variable.numpy() for name, variable in self._step.saved().items()}

    def _assign(self, values: dict[str, np.ndarray]) -> None:
        for name, variable in self._step.saved().items():
            variable.assign(values[name])
