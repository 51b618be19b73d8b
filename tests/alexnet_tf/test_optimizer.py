"""The update rule against hand-computed steps, and the two schedules."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.optimizer import PaperMomentum, count_drops, learning_rates
from alexnet_tf.presets import PRESETS, Recipe

PAPER, PROGRAM = PRESETS["paper"].train, PRESETS["2012-code"].train
RATES = ((0.01, 0.01), (0.01, 0.02), (0.001, 0.02))
"""(weights', biases') of three steps."""
START = {
    "conv1_a/kernel": np.array([[1.0, -2.0], [3.0, 0.5]]),
    "conv1_a/bias": np.array([1.0, -4.0]),
}


def gradients_of(step: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(step)
    return {name: draw.normal(0, 1, value.shape) for name, value in START.items()}


def by_hand(recipe: Recipe) -> dict[str, np.ndarray]:
    """Three steps of v <- m v - d e w - e g, w <- w + v, number by number."""
    weights = {name: value.copy() for name, value in START.items()}
    velocities = {name: np.zeros_like(value) for name, value in START.items()}
    for step, (weight_rate, bias_rate) in enumerate(RATES):
        for name, gradient in gradients_of(step).items():
            rate = bias_rate if name.endswith("bias") else weight_rate
            decay = recipe.weight_decay
            if name.endswith("bias") and not recipe.decay_biases:
                decay = 0.0
            w, v = weights[name], velocities[name]
            for i in np.ndindex(w.shape):
                v[i] = recipe.momentum * v[i] - decay * rate * w[i] - rate * gradient[i]
                w[i] = w[i] + v[i]
    return weights


def by_optimizer(recipe: Recipe, *, compiled: bool = True) -> dict[str, np.ndarray]:
    variables = {name: tf.Variable(value, dtype=tf.float32) for name, value in START.items()}
    optimizer = PaperMomentum(variables, recipe)
    apply = tf.function(optimizer.apply) if compiled else optimizer.apply
    for step, rates in enumerate(RATES):
        gradients = {n: tf.constant(g, tf.float32) for n, g in gradients_of(step).items()}
        apply(gradients, *(tf.constant(rate) for rate in rates))
    return {name: variable.numpy() for name, variable in variables.items()}


# The decays are large, so that float32 shows them well: 0.05 * 0.01 * 4 = 2e-3.
RECIPES = {
    "paper": PAPER,
    "2012-code": PROGRAM,
    "decay on all": replace(PAPER, weight_decay=0.05),
    "decay on weights": replace(PROGRAM, weight_decay=0.05),
    "no decay": replace(PAPER, weight_decay=0.0),
    "other momentum": replace(PAPER, weight_decay=0.05, momentum=0.5),
}


class TestPaperMomentum:
    @pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
    @pytest.mark.parametrize("compiled", [True, False], ids=["graph", "eager"])
    def test_three_steps_are_those_computed_by_hand(self, recipe: Recipe, compiled: bool) -> None:
        found, expected = by_optimizer(recipe, compiled=compiled), by_hand(recipe)
        for name in START:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)

    def test_biases_are_decayed_only_in_the_paper(self) -> None:
        strong = {"weight_decay": 0.05}
        decayed = by_optimizer(replace(PROGRAM, decay_biases=True, **strong))
        plain = by_optimizer(replace(PROGRAM, **strong))
        assert np.abs(decayed["conv1_a/bias"] - plain["conv1_a/bias"]).max() > 1e-3
        np.testing.assert_array_equal(decayed["conv1_a/kernel"], plain["conv1_a/kernel"])

    def test_keras_weight_decay_is_another_rule(self) -> None:
        """Keras shrinks the weights beside the momentum; without decay the rules are one."""
        for decay in (0.0, 0.05):
            variable = tf.Variable(START["conv1_a/kernel"], dtype=tf.float32)
            sgd = keras.optimizers.SGD(momentum=0.9, weight_decay=decay or None)
            for step, (rate, _) in enumerate(RATES):
                sgd.learning_rate = rate
                gradient = tf.constant(gradients_of(step)["conv1_a/kernel"], tf.float32)
                sgd.apply_gradients([(gradient, variable)])
            ours = by_optimizer(replace(PAPER, weight_decay=decay))["conv1_a/kernel"]
            apart = np.abs(variable.numpy() - ours).max()
            assert apart > 1e-4 if decay else apart < 1e-6

    def test_rate_of_zero_from_the_start_changes_nothing(self) -> None:
        variables = {name: tf.Variable(value, dtype=tf.float32) for name, value in START.items()}
        gradients = {n: tf.constant(g, tf.float32) for n, g in gradients_of(0).items()}
        PaperMomentum(variables, PAPER).apply(gradients, tf.constant(0.0), tf.constant(0.0))
        for name, variable in variables.items():
            np.testing.assert_array_equal(variable.numpy(), START[name].astype(np.float32))

    def test_update_stays_on_each_variables_device(self) -> None:
        variables = {}
        for number, tower in enumerate("ab"):
            with tf.device(f"/device:CPU:{number}"):
                variables[f"fc6_{tower}/kernel"] = tf.Variable(tf.ones((2, 2)))
        optimizer = PaperMomentum(variables, PAPER)
        for name, variable in variables.items():
            assert optimizer.velocities[name].device == variable.device
            np.testing.assert_array_equal(optimizer.velocities[name], np.zeros((2, 2)))

        @tf.function
        def step() -> None:
            gradients = {name: tf.ones((2, 2)) for name in variables}
            optimizer.apply(gradients, tf.constant(0.01), tf.constant(0.01))

        operations = step.get_concrete_function().graph.get_operations()
        updates = [op for op in operations if op.type.startswith("ResourceApply")]
        assert len(updates) == 4  # decay and momentum of two variables
        for op in updates:
            number = {"fc6_a": 0, "fc6_b": 1}[op.name.split("/")[1]]
            assert op.device.endswith(f"CPU:{number}"), op.name


class TestSchedules:
    @pytest.mark.parametrize(
        ("epoch", "drops"),
        [(1, 0), (24, 0), (25, 1), (50, 1), (51, 2), (78, 2), (79, 3), (91, 3)],
    )
    def test_drops_of_the_2012_program(self, epoch: int, drops: int) -> None:
        assert count_drops(epoch, PROGRAM.drop_epochs) == drops

    def test_no_listed_epochs_no_drops(self) -> None:
        assert count_drops(90, ()) == 0

    def test_paper_lowers_all_rates_by_ten(self) -> None:
        for drops, rate in enumerate((1e-2, 1e-3, 1e-4, 1e-5)):
            assert learning_rates(PAPER, drops) == pytest.approx((rate, rate), rel=1e-12)
        assert PAPER.max_drops == 3

    def test_2012_program_keeps_the_biases_rate(self) -> None:
        for drops, rate in enumerate((1e-2, 1e-3, 1e-4, 1e-5)):
            assert learning_rates(PROGRAM, drops) == pytest.approx((rate, 0.02), rel=1e-12)

    def test_factor_and_biases_by_config(self) -> None:
        recipe = replace(PAPER, learning_rate=0.4, drop_factor=0.5, bias_rate_factor=3.0)
        assert learning_rates(recipe, 2) == pytest.approx((0.1, 0.3))
        assert learning_rates(replace(recipe, drop_bias_rate=False), 2)[1] == pytest.approx(1.2)
