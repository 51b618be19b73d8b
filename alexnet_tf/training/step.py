"""The training step, placed on two devices as a whole: towers, loss, gradient, update."""

from typing import TypeAlias

import numpy as np
import tensorflow as tf

from alexnet_tf.networks.network import Images, named_variables, refuse_unknown_variables
from alexnet_tf.networks.registry import build_alexnet
from alexnet_tf.pictures.preparation import TrainingPictures, prepare_training
from alexnet_tf.settings.presets import Preset
from alexnet_tf.towers import Towers
from alexnet_tf.training.optimizers import OPTIMIZERS
from alexnet_tf.workers.together import ONE_WORKER, OneWorker
from tfrecords.statistics import Statistics

StepInput: TypeAlias = TrainingPictures | tf.Tensor
"""What a step is given: pictures as the input pipeline yields them, or prepared images, or stored features."""


class TrainingStep:
    """One step of training: forward, backward and update, each tower's part on that tower's device.

    Args:
      preset: the recipe.
      num_classes: of the data.
      towers: the two devices.
      seed: of the initial weights and of dropout.
      statistics: with which each tower prepares its images; None: the step is given prepared ones.
      workers: those that do the step together, each with images of its own.
      class_weights: float32 (classes,), what an image of each class counts in the loss; None: all alike.

    Raises:
      UserError: the network has a variable that would stay untrained, or out of the checkpoints.
    """

    def __init__(
        self, preset: Preset, num_classes: int, towers: Towers, seed: int, statistics: Statistics | None = None,
        workers: OneWorker = ONE_WORKER, class_weights: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.towers = towers
        self.workers = workers
        self.dropout_seed = workers.dropout_seed(seed)
        self.frozen_part = preset.train.frozen_part
        self.model = build_alexnet(preset.network, num_classes, towers, seed, preset.train.precision)
        self.variables = named_variables(self.model)
        refuse_unknown_variables(self.model, self.variables)
        self.optimizer = OPTIMIZERS[preset.train.optimizer](self.variables, preset.train)
        self.checkpoint = tf.train.Checkpoint(weights=self.variables, velocities=self.optimizer.velocities)
        self.augment = preset.augment
        self.statistics = statistics
        self.class_weights = class_weights
        self.compiled = tf.function(self._step, autograph=False)  # nothing in it branches on a tensor
        self.from_features = False
        """Whether the step is given what the frozen part puts out, (N, F), in place of images."""

    def __call__(self, images: StepInput, labels: tf.Tensor, step: int, rates: dict[str, float]) -> tf.Tensor:
        """Does step number `step` (from 0) and returns the mean loss before it, in nats, float32 scalar.

        With several workers it is what `ManyWorkers.read_loss` reads the loss of all from.

        Args:
          images: what the input pipeline yields; or float32 (N, size, size, 3), prepared already.
          labels: int64 (N,), from 0.
          rates: every variable's learning rate; where it is 0 the variable and its velocity stay as they are.
        """
        return self.compiled(*self.arguments(images, labels, step, rates))

    def arguments(self, images: StepInput, labels: tf.Tensor, step: int, rates: dict[str, float]) -> tuple:
        """What the compiled step takes. Which variables are trained is part of its graph: others cost no gradient."""
        trained = tuple(name for name in self.variables if rates[name])
        seed = tf.constant([self.dropout_seed, step], tf.int32)
        return images, labels, seed, tf.constant([rates[name] for name in trained], tf.float32), trained

    def saved_bytes(self) -> int:
        """How many a checkpoint takes, at least: all weights and velocities."""
        saved = [*self.variables.values(), *self.optimizer.velocities.values()]
        return sum(variable.shape.num_elements() * variable.dtype.size for variable in saved)

    def weights_are_finite(self) -> bool:
        """Whether no weight is infinite or no number at all."""
        return all(bool(tf.reduce_all(tf.math.is_finite(variable))) for variable in self.variables.values())

    def prepare(self, images: StepInput) -> Images:
        """The images that the network sees, each tower's on its own device."""
        if not isinstance(images, TrainingPictures):
            return images
        statistics = self.statistics
        assert statistics is not None, "to prepare pictures takes statistics"
        return self.model.on_each_tower(
            "prepare", lambda device: prepare_training(images, self.augment, statistics, device)
        )

    def _step(
        self, images: StepInput, labels: tf.Tensor, seed: tf.Tensor, rates: tf.Tensor, trained: tuple[str, ...]
    ) -> tf.Tensor:
        logits = self._logits(images, seed)  # (N, classes), on the first device
        with tf.device(self.towers.a), tf.name_scope("loss_a"):
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)  # (N,)
            if self.class_weights is not None:
                losses *= tf.gather(tf.constant(self.class_weights, losses.dtype), labels)
            loss = tf.reduce_mean(losses)  # ()
        # Not GradientTape: it would put the whole backward pass on the first device. tf.gradients
        # keeps every gradient on the device of the operation that it belongs to.
        gradients = tf.gradients(loss, [self.variables[name] for name in trained])
        means, mean_loss = self.workers.average(dict(zip(trained, gradients, strict=True)), loss)
        self.optimizer.apply(means, rates)
        return mean_loss

    def _logits(self, images: StepInput, seed: tf.Tensor) -> tf.Tensor:
        if self.frozen_part is None:
            return self.model(self.prepare(images), dropout_seed=seed)
        if self.from_features:
            frozen = self.model.towers_of(images)
        else:
            frozen = self.model.features(self.prepare(images), self.frozen_part)
        return self.model.head(frozen, self.frozen_part, seed)
