"""The training step, placed on two devices as a whole: towers, loss, gradient, update."""

from typing import TypeAlias

import numpy as np
import tensorflow as tf

from alexnet_tf.networks.layers import Conv2D
from alexnet_tf.networks.network import Images, named_layers, network_variables, refuse_unknown_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.pictures.preparation import PreparedPictures, StoredPictures, prepare_training
from alexnet_tf.settings.recipe import Preset
from alexnet_tf.towers import Towers
from alexnet_tf.training.optimizers import OPTIMIZERS
from alexnet_tf.workers.together import ONE_WORKER, OneWorker, Tensors, TowerTensor
from tfrecords.statistics import Statistics

StepInput: TypeAlias = PreparedPictures | StoredPictures | tf.Tensor
"""The input of a step: what the input pipeline yields, or prepared images by themselves, or stored features."""


class TrainingStep:
    """One step of training: forward, backward and update, each tower's part on that tower's device.

    Args:
      preset: the recipe.
      num_classes: of the data.
      towers: the two devices.
      seed: of the initial weights and of dropout.
      statistics: with which each tower prepares its images (`data.augment_on: device`); None: the step is given
        prepared ones.
      workers: those that do the step together, each with images of its own.
      class_weights: float32 (classes,), the weight of an image of each class in the loss; None: all the same.

    Raises:
      UserError: the network has a variable that would not be trained, or not be saved.
    """

    def __init__(
        self, preset: Preset, num_classes: int, towers: Towers, seed: int, statistics: Statistics | None = None,
        workers: OneWorker = ONE_WORKER, class_weights: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.towers = towers
        self.workers = workers
        self.dropout_seed = workers.dropout_seed(seed)
        self.frozen_part = preset.frozen_part
        self.model = build_network(preset.network, num_classes, towers, seed, preset.train.precision)
        self.known = network_variables(self.model)
        for layer in named_layers(self.model):
            if isinstance(layer, Conv2D):
                layer.filtered = towers.filtering
        self.variables = {name: known.variable for name, known in self.known.items()}
        """All variables that are saved, trained or not."""
        refuse_unknown_variables(self.model, self.variables)
        trained = {name: known.variable for name, known in self.known.items() if known.trained}
        self.optimizer = OPTIMIZERS[preset.train.optimizer](trained, preset.train)
        self.checkpoint = tf.train.Checkpoint(weights=self.variables, **self.optimizer.slots)
        self.augment = preset.augment
        self.statistics = statistics
        self.class_weights = class_weights
        self.compiled = tf.function(self._step, autograph=False)  # nothing in it branches on a tensor
        self.from_features = False
        """Whether the step takes the outputs of the frozen part, (N, F), in place of images."""

    def __call__(self, images: StepInput, labels: tf.Tensor, step: int, rates: dict[str, float]) -> Tensors:
        """Does step number `step` (from 0) and returns figures of the network as it was before.

        Args:
          images: what the input pipeline yields; or float32 (N, *picture_shape), prepared already.
          labels: int64 (N,), from 0.
          rates: every trained variable's learning rate; where it is 0 the variable and its velocity stay as they are,
            and so do the moving averages of a layer in which nothing is trained.

        Returns:
          What `workers.read_figures` reads the figures of all workers from: means over the images, float32 scalars,
          `loss` in nats, `top1_error` and `top5_error` from 0 to 1, and `NAME_loss` of auxiliary outputs.
        """
        return self.compiled(*self.arguments(images, labels, step, rates))

    def arguments(self, images: StepInput, labels: tf.Tensor, step: int, rates: dict[str, float]) -> tuple:
        """The arguments of the compiled step. Which variables are trained is part of its graph: others cost nothing.

        Their names are one text, since TensorFlow looks at each Python object among the arguments anew in every step.
        """
        if isinstance(images, PreparedPictures):
            images = images.images
        trained = tuple(name for name in self.optimizer.variables if rates[name])
        seed = tf.constant([self.dropout_seed, step], tf.int32)
        of_trained = tf.constant([rates[name] for name in trained], tf.float32)
        return images, labels, seed, of_trained, "\n".join(trained)

    def input_specs(self, batch_size: int) -> StepInput:
        """Types and shapes of a batch of pictures, as the step is given it."""
        settings = self.model.settings
        if self.statistics is not None:
            return StoredPictures.specs(batch_size, settings.stored_shape)
        return tf.TensorSpec((batch_size, *settings.picture_shape), tf.float32)

    def saved(self) -> dict[str, tf.Variable]:
        """What a checkpoint holds, by name: the network's variables and, as "slot/variable", the optimizer's slots."""
        slots = {
            f"{slot}/{name}": value for slot, values in self.optimizer.slots.items() for name, value in values.items()
        }
        return {**self.variables, **slots}

    def saved_bytes(self) -> int:
        """The size of a checkpoint at least: all weights and velocities."""
        return sum(variable.shape.num_elements() * variable.dtype.size for variable in self.saved().values())

    def weights_are_finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(bool(tf.reduce_all(tf.math.is_finite(variable))) for variable in self.variables.values())

    def prepare(self, images: StepInput) -> Images:
        """The images that the network sees, each tower's on its own device."""
        if isinstance(images, PreparedPictures):
            return images.images
        if not isinstance(images, StoredPictures):
            return images
        statistics = self.statistics
        assert statistics is not None, "pictures cannot be prepared without statistics"
        return self.model.on_each_tower(
            "prepare", lambda device: prepare_training(images, self.augment, statistics, device)
        )

    def _step(self, images: StepInput, labels: tf.Tensor, seed: tf.Tensor, rates: tf.Tensor, names: str) -> Tensors:
        trained = names.splitlines()
        self.model.freeze_all_but({self.known[name].layer for name in trained})
        logits, auxiliary = self._logits(images, seed)  # (N, classes), on the first device
        with tf.device(self.towers.a), tf.name_scope("loss_a"):
            figures = {"loss": self._cross_entropy(labels, logits), **_error_rates(labels, logits)}
            figures |= {f"{name}_loss": self._cross_entropy(labels, its) for name, its in auxiliary.items()}
            loss = figures["loss"]
            for name, output in self.model.auxiliary_outputs().items():
                if name in auxiliary:
                    loss += output.loss_weight * figures[f"{name}_loss"]
        # Not GradientTape: it would put the whole backward pass on the first device. tf.gradients
        # keeps every gradient on the device of the operation that it belongs to.
        gradients = tf.gradients(loss, [self.variables[name] for name in trained])
        values = [
            TowerTensor(name, self.known[name].tower, gradient)
            for name, gradient in zip(trained, gradients, strict=True)
        ]
        values += self._moving_averages()
        means, step_output = self.workers.average(values, figures)
        self.optimizer.apply({name: means[name] for name in trained}, rates)
        for name, _, value, _ in values[len(trained) :]:
            if means[name] is not value:
                with tf.device(self.variables[name].device), tf.name_scope(f"update/{name}"):
                    self.variables[name].assign(means[name])
        return step_output

    def _cross_entropy(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Weighted mean over N images, in nats."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)  # (N,)
        if self.class_weights is not None:
            losses *= tf.gather(tf.constant(self.class_weights, losses.dtype), labels)
        return tf.reduce_mean(losses)  # ()

    def _moving_averages(self) -> list[TowerTensor]:
        """The moving averages after the forward pass."""
        found = []
        for name, known in self.known.items():
            if not known.trained:
                with tf.device(known.variable.device), tf.name_scope(f"update/{name}"):
                    found.append(TowerTensor(name, known.tower, tf.identity(known.variable), exact=True))
        return found

    def _logits(self, images: StepInput, seed: tf.Tensor) -> tuple[tf.Tensor, Tensors]:
        part = self.frozen_part
        if part is None:
            return self.model.logits_in_training(self.prepare(images), None, seed)
        if self.from_features:
            frozen = self.model.split_features(images, part)
        else:
            frozen = self.model.features(self.prepare(images), part)
        return self.model.logits_in_training(frozen, part, seed)


def _error_rates(labels: tf.Tensor, logits: tf.Tensor) -> Tensors:
    """Top-1 and top-5 error of N images, of the logits' type."""
    rates = {}
    for name, count in (("top1_error", 1), ("top5_error", 5)):
        hits = tf.math.in_top_k(labels, tf.cast(logits, tf.float32), count)  # (N,)
        rates[name] = 1.0 - tf.reduce_mean(tf.cast(hits, logits.dtype))
    return rates
