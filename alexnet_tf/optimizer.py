"""The paper's update rule and its two ways of lowering the learning rate."""

import tensorflow as tf

from alexnet_tf.presets import Recipe


class PaperMomentum:
    """Momentum SGD with the weight decay inside the momentum (paper section 5).

    v <- momentum * v - weight_decay * rate * w - rate * gradient
    w <- w + v

    Keras' SGD(weight_decay=...) decays w beside the momentum instead, which is another rule. The 2012 program has a
    rate of its own for biases and does not decay them.

    Args:
      variables: by name, as `model.named_variables` gives them; each velocity lives on its variable's device.
      recipe: momentum, decay and how biases are treated.
    """

    def __init__(self, variables: dict[str, tf.Variable], recipe: Recipe) -> None:
        self.variables = variables
        self.recipe = recipe
        self.velocities = {}
        for name, variable in variables.items():
            with tf.device(variable.device):
                self.velocities[name] = tf.Variable(tf.zeros_like(variable), trainable=False, name=f"velocity/{name}")

    def apply(self, gradients: dict[str, tf.Tensor], weight_rate: tf.Tensor, bias_rate: tf.Tensor) -> None:
        """One step for every variable, each on its own device. The rates are float32 scalars."""
        for name, variable in self.variables.items():
            is_bias = name.endswith("/bias")
            decay = self.recipe.weight_decay if self.recipe.decay_biases or not is_bias else 0.0
            with tf.device(variable.device), tf.name_scope(f"update/{name}"):
                self._apply_one(variable, self.velocities[name], gradients[name],
                                bias_rate if is_bias else weight_rate, decay)  # fmt: skip

    def _apply_one(
        self, variable: tf.Variable, velocity: tf.Variable, gradient: tf.Tensor, rate: tf.Tensor, decay: float
    ) -> None:
        # Written out, the rule takes six passes over 60 million numbers; as two of TensorFlow's fused updates, two.
        momentum = self.recipe.momentum
        decayed = []
        if decay:  # v <- v - (decay * rate / momentum) * w; the momentum below cancels the division
            decayed.append(
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=velocity.handle, alpha=rate * (decay / momentum), delta=variable
                )
            )
        with tf.control_dependencies(decayed):  # v <- momentum * v - rate * gradient; w <- w + v
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle, accum=velocity.handle, lr=rate, grad=gradient, momentum=momentum
            )


def count_drops(epoch: int, drop_epochs: tuple[int, ...]) -> int:
    """How often a schedule by listed epochs has lowered the rate in `epoch`; both count from 1."""
    return sum(listed <= epoch for listed in drop_epochs)


def learning_rates(recipe: Recipe, drops: int) -> tuple[float, float]:
    """(weights' rate, biases' rate) after so many drops."""
    factor = recipe.drop_factor**drops
    bias_rate = recipe.learning_rate * recipe.bias_rate_factor
    return recipe.learning_rate * factor, bias_rate * factor if recipe.drop_bias_rate else bias_rate
