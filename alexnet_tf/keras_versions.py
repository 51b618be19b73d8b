"""What differs between Keras 2 and Keras 3, and nothing else."""

from typing import Any

import tensorflow as tf


def tensorflow_variable(variable: Any) -> tf.Variable:
    """The tf.Variable behind a layer's weight: Keras 3 wraps it, Keras 2 hands it out as it is."""
    return variable if isinstance(variable, tf.Variable) else variable.value
