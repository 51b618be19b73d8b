import gc
import weakref
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from alexnet_tf.networks.own_gradient import OwnGradient, with_gradient
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from alexnet_tf.training.step import TrainingStep


@dataclass(frozen=True)
class _Tenfold(OwnGradient):
    """Ten times the gradient of x * saved, so that it cannot be taken for TensorFlow's."""

    factor: float = 10.0

    def __call__(self, upstream: tf.Tensor, *saved: tf.Tensor) -> list[tf.Tensor]:
        return [self.factor * upstream * saved[0]]


def scaled(x: tf.Tensor) -> tf.Tensor:
    scale = tf.constant([2.0, 3.0])
    return with_gradient(x * scale, [x], [scale], _Tenfold())


def test_gradients_use_it_in_a_graph_and_in_eager_mode() -> None:
    x = tf.constant([1.0, 1.0])

    @tf.function
    def in_a_graph(x: tf.Tensor) -> list[tf.Tensor]:
        return tf.gradients(scaled(x) ** 2, x)

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = scaled(x) ** 2
    expected = 10 * 2 * np.array([4.0, 9.0])
    np.testing.assert_allclose(in_a_graph(x)[0], expected, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x), expected, rtol=1e-6)


def test_a_tape_in_a_graph_finds_tensorflows_own() -> None:
    @tf.function
    def in_a_graph(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = scaled(x) ** 2
        return tape.gradient(y, x)

    np.testing.assert_allclose(in_a_graph(tf.constant([1.0, 1.0])), 2 * np.array([4.0, 9.0]), rtol=1e-6)


def test_a_step_that_nobody_needs_any_more_is_freed(two_cpus: Towers, small_net: None) -> None:
    """With the graph it was traced in, and so with the weights that the graph holds."""

    def graph_of_a_step() -> weakref.ref:
        step = TrainingStep(PRESETS["2012-code"], num_classes=10, towers=two_cpus, seed=0)
        rates = dict.fromkeys(step.variables, 0.01)
        given = step.arguments(tf.zeros((2, 224, 224, 3)), tf.zeros(2, tf.int64), 0, rates)
        return weakref.ref(step.compiled.get_concrete_function(*given).graph)

    graph = graph_of_a_step()
    gc.collect()
    assert graph() is None
