"""Custom gradients that do not keep the graph they were used in in memory.

Every call of `tf.custom_gradient` inside a tf.function registers a closure over that graph's tensors under a new
name, and TensorFlow never forgets a registered name: each training step that a notebook or a test builds would stay
in memory with all its weights. Here a gradient is registered once for each set of settings, and finds its tensors
among the inputs of the operation that it belongs to.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class OwnGradient(ABC):
    """The gradient of one tensor with respect to some others.

    A subclass is a frozen dataclass whose fields are settings, never tensors: two that are equal are one registration.
    """

    @abstractmethod
    def __call__(self, upstream: tf.Tensor, *saved: tf.Tensor) -> Sequence[tf.Tensor]:
        """From the gradient with respect to the result to that with respect to each input.

        It must open the scope of the device that it computes on.

        Args:
          upstream: the gradient with respect to the result, of its shape.
          saved: the tensors that `with_gradient` was given to keep.
        """


def with_gradient(
    result: tf.Tensor, inputs: Sequence[tf.Tensor], saved: Sequence[tf.Tensor], gradient: OwnGradient
) -> tf.Tensor:
    """The result, whose gradient with respect to the inputs is `gradient` in place of TensorFlow's.

    `tf.gradients` inside a tf.function and `tf.GradientTape` outside of one use it. A tape inside a tf.function does
    not know it and differentiates the operations that made the result: equal but for rounding, only slower.
    """
    if tf.executing_eagerly():  # the tape holds the closure, and goes

        @tf.custom_gradient
        def passed(*_: tf.Tensor) -> Any:
            return result, lambda upstream: gradient(upstream, *saved)

        return passed(*inputs)
    graph = tf.compat.v1.get_default_graph()
    with graph.gradient_override_map({"IdentityN": _registered(gradient, len(inputs))}):
        return tf.identity_n([result, *inputs, *saved])[0]


@functools.cache
def _registered(gradient: OwnGradient, number_of_inputs: int) -> str:
    """The name under which TensorFlow finds the gradient of an IdentityN of result, inputs and saved tensors."""
    name = f"alexnet_tf.{gradient!r}.{number_of_inputs}"

    @tf.RegisterGradient(name)
    def of_identity(operation: tf.Operation, upstream: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor | None]:
        saved = operation.inputs[1 + number_of_inputs :]
        # tf.gradients colocates with the operation; a function that is traced meanwhile, and saved, would remember it.
        with operation.graph.colocate_with(None, ignore_existing=True):
            return [None, *gradient(upstream, *saved), *[None] * len(saved)]

    return name
