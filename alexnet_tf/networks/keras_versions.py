"""What differs between Keras 3 and Keras 2 (the latter with tensorflow-addons), and nothing else.

Each function does one thing on either end of the supported range; the rest of the code never asks which end it is on.
"""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from alexnet_tf.program.keras_settings import check_settings

check_settings(keras)
KERAS_3 = keras.__version__.startswith("3.")


def tensorflow_variable(variable: Any) -> tf.Variable:
    """The tf.Variable behind a layer's weight: Keras 3 wraps it, Keras 2 hands it out as it is."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def variable_path(variable: Any) -> str:
    """A variable's name with those of the layers that hold it, for a message: "alexnet/norm/gamma"."""
    return variable.path if KERAS_3 else variable.name.partition(":")[0]


def part_of_layer(variable: Any) -> str:
    """What a variable is called within its layer: "kernel"."""
    return variable.name if KERAS_3 else variable.name.partition(":")[0].rpartition("/")[2]


def decoupled_momentum(
    variable: tf.Variable, rate: Callable[[], tf.Tensor], momentum: float, weight_decay: float
) -> tuple[Any, tf.Variable]:
    """An optimizer of one variable: momentum SGD with decoupled weight decay, which is scheduled with the rate.

        w <- w - weight_decay * rate * w;   v <- momentum * v - rate * gradient;   w <- w + v

    Keras' own SGD with Keras 3, tfa.optimizers.SGDW with Keras 2. The two count weight decay differently: Keras
    multiplies it with the rate, tensorflow-addons leaves that to its caller.

    Args:
      variable: what is to be updated by `apply_gradients([(gradient, variable)])`.
      rate: gives the learning rate, a float32 scalar; called whenever the update is built into a graph.

    Returns:
      The optimizer and the velocity v, which starts at zero and lives on the variable's device.
    """
    if KERAS_3:
        optimizer = keras.optimizers.SGD(rate, momentum=momentum, weight_decay=weight_decay or None)
        optimizer.build([variable])
        return optimizer, tensorflow_variable(optimizer.momentums[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it has ended: why it is an extra here
        import tensorflow_addons as tfa
    optimizer = tfa.optimizers.SGDW(lambda: weight_decay * rate(), rate, momentum)
    optimizer._create_all_weights([variable])
    return optimizer, optimizer.get_slot(variable, "momentum")
