"""The update rules, and the learning rate of every variable in every epoch."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from alexnet_tf.networks.keras_versions import decoupled_momentum
from alexnet_tf.networks.network import NetworkVariable
from alexnet_tf.settings.recipe import OptimizerName, Recipe, is_bias

LARGE = 2**20
"""Numbers of a variable from which on the passes over memory are what its update costs."""


class Optimizer(ABC):
    """One update rule, applied to each variable on that variable's own device.

    Args:
      variables: by name, those of `networks.network.network_variables` that are trained.
      recipe: momentum, decay and whether biases are decayed.

    Attributes:
      slots: the rule's state for each variable, by the slot's name and then the variable's. Each lives on its
        variable's device; a checkpoint holds them under these names.
    """

    slot_names: tuple[str, ...]
    """Names of the rule's state for each variable."""

    def __init__(self, variables: dict[str, tf.Variable], recipe: Recipe) -> None:
        self.variables = variables
        self.momentum = recipe.momentum
        self.slots: dict[str, dict[str, tf.Variable]] = {slot: {} for slot in self.slot_names}
        self.decays = {
            name: 0.0 if is_bias(name) and not recipe.decay_biases else recipe.weight_decay for name in variables
        }
        for name, variable in variables.items():
            with tf.device(variable.device):
                for slot, value in self._new_slots(name, variable).items():
                    self.slots[slot][name] = value

    def apply(self, gradients: dict[str, tf.Tensor], rates: tf.Tensor) -> None:
        """One step for the variables named in `gradients`; the others, and their slots, stay as they are.

        Args:
          gradients: by the variables' names.
          rates: float32 (len(gradients),), in the order of `gradients`.
        """
        for number, (name, gradient) in enumerate(gradients.items()):
            with tf.device(self.variables[name].device), tf.name_scope(f"update/{name}"):
                self._apply_one(name, gradient, tf.cast(rates[number], gradient.dtype))

    @abstractmethod
    def _new_slots(self, name: str, variable: tf.Variable) -> dict[str, tf.Variable]:
        """The initial slots of a variable, by `slot_names`; called on its device."""

    @abstractmethod
    def _apply_one(self, name: str, gradient: tf.Tensor, rate: tf.Tensor) -> None:
        """One step for one variable; called on its device."""


class PaperMomentum(Optimizer):
    """Momentum SGD with the weight decay inside the momentum (paper section 5).

    v <- momentum * v - weight_decay * rate * w - rate * gradient
    w <- w + v
    """

    slot_names = ("velocities",)

    def _new_slots(self, name: str, variable: tf.Variable) -> dict[str, tf.Variable]:
        return {"velocities": tf.Variable(tf.zeros_like(variable), trainable=False, name=f"velocity/{name}")}

    def _apply_one(self, name: str, gradient: tf.Tensor, rate: tf.Tensor) -> None:
        variable, velocity = self.variables[name], self.slots["velocities"][name]
        if self.decays[name] and _is_large_on_a_processor(variable):
            update = _compiled_update(self.momentum, self.decays[name])
            new_variable, new_velocity = update(variable.read_value(), velocity.read_value(), gradient, rate)
            variable.assign(new_variable)
            velocity.assign(new_velocity)
            return
        # Written out, the rule takes six passes over 60 million numbers; as two of TensorFlow's fused updates, two.
        decayed = []
        if self.decays[name]:  # v <- v - (decay * rate / momentum) * w; the momentum below cancels the division
            decayed.append(
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=velocity.handle, alpha=rate * (self.decays[name] / self.momentum), delta=variable
                )
            )
        with tf.control_dependencies(decayed):  # v <- momentum * v - rate * gradient; w <- w + v
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle, accum=velocity.handle, lr=rate, grad=gradient, momentum=self.momentum
            )


def _is_large_on_a_processor(variable: tf.Variable) -> bool:
    on_a_processor = tf.DeviceSpec.from_string(variable.device).device_type == "CPU"
    return on_a_processor and variable.shape.num_elements() >= LARGE


@functools.cache
def _compiled_update(momentum: float, decay: float) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """The paper's rule as one pass, from weights, velocity, gradient and rate to new weights and velocity.

    Its two fused updates read weights and velocity twice. On a processor that is worth a few percent of a step of 16
    images, for kernels of millions of weights.
    """

    def update(
        weights: tf.Tensor, velocity: tf.Tensor, gradient: tf.Tensor, rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        velocity = momentum * velocity - rate * (gradient + decay * weights)
        return weights + velocity, velocity

    return tf.function(update, jit_compile=True, autograph=False)


class DecoupledMomentum(Optimizer):
    """Momentum SGD with the weight decay beside the momentum (SGDW; Loshchilov and Hutter, arXiv 1711.05101).

    w <- w - weight_decay * rate * w
    v <- momentum * v - rate * gradient
    w <- w + v

    The paper's decay, which the momentum accumulates, is about 1 / (1 - momentum) times as strong. The update is
    Keras' own or that of tensorflow-addons, one optimizer a variable, so that each has a rate and a device of its own.
    """

    slot_names = ("velocities",)

    def __init__(self, variables: dict[str, tf.Variable], recipe: Recipe) -> None:
        self.rates: dict[str, tf.Tensor] = {}
        """The learning rate that the optimizers read; set just before each is called."""
        self.optimizers: dict[str, Any] = {}
        super().__init__(variables, recipe)

    def _new_slots(self, name: str, variable: tf.Variable) -> dict[str, tf.Variable]:
        self.optimizers[name], velocity = decoupled_momentum(
            variable, lambda: self.rates[name], self.momentum, self.decays[name]
        )
        return {"velocities": velocity}

    def _apply_one(self, name: str, gradient: tf.Tensor, rate: tf.Tensor) -> None:
        self.rates[name] = rate
        self.optimizers[name].apply_gradients([(gradient, self.variables[name])])


OPTIMIZERS: dict[OptimizerName, type[Optimizer]] = {"paper": PaperMomentum, "sgdw": DecoupledMomentum}
"""The optimizers by their names in a config."""


def learning_rates(
    recipe: Recipe, variables: Mapping[str, NetworkVariable], epoch: int, plateau_drops: int
) -> dict[str, float]:
    """Every trained variable's rate in an epoch, by the variables' names; 0 means no update at all.

    Args:
      recipe: the schedule and each layer's share in it.
      variables: of the network, by their names.
      epoch: counts from 1.
      plateau_drops: how often the "plateau" schedule has lowered the rates.
    """
    drops = plateau_drops if recipe.schedule == "plateau" else count_drops(epoch, recipe.drop_epochs)
    return {
        name: _rate(recipe, known.layer, is_bias(name), epoch, recipe.drop_factor**drops)
        for name, known in variables.items()
        if known.trained
    }


def _rate(recipe: Recipe, layer: str, bias: bool, epoch: int, factor: float) -> float:
    for change_epoch, own_factor in sorted(recipe.layer_drops.get(layer, {}).items()):
        if change_epoch <= epoch:
            factor = own_factor
    rate = recipe.learning_rate * recipe.rate_multipliers.get(layer, 1.0)
    if layer in recipe.freeze or factor == 0:  # a frozen layer's biases are frozen, too
        return 0.0
    if bias:
        return rate * recipe.bias_rate_factor * (factor if recipe.drop_bias_rate else 1.0)
    return rate * factor


def count_drops(epoch: int, drop_epochs: tuple[int, ...]) -> int:
    """How often a schedule by listed epochs has lowered the rate in `epoch`; both count from 1."""
    return sum(listed <= epoch for listed in drop_epochs)
