"""The update rules against hand-computed steps, and the schedules."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.networks.network import NetworkVariable
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Recipe
from alexnet_tf.training.optimizers import OPTIMIZERS, learning_rates

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
    """Three steps, number by number, with the decay inside the momentum (paper) or beside it (sgdw)."""
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
                shrink = decay * rate * w[i]
                v[i] = recipe.momentum * v[i] - rate * gradient[i] - (shrink if recipe.optimizer == "paper" else 0)
                w[i] = w[i] + v[i] - (shrink if recipe.optimizer == "sgdw" else 0)
    return weights


def by_optimizer(recipe: Recipe, *, compiled: bool = True) -> dict[str, np.ndarray]:
    variables = {name: tf.Variable(value, dtype=tf.float32) for name, value in START.items()}
    optimizer = OPTIMIZERS[recipe.optimizer](variables, recipe)
    apply = tf.function(optimizer.apply) if compiled else optimizer.apply
    for step, rates in enumerate(RATES):
        gradients = {n: tf.constant(g, tf.float32) for n, g in gradients_of(step).items()}
        apply(gradients, tf.constant(rates))
    return {name: variable.numpy() for name, variable in variables.items()}


# The decays are large, so that float32 shows them well: 0.05 * 0.01 * 4 = 2e-3.
RECIPES = {
    "paper": PAPER,
    "2012-code": PROGRAM,
    "decay on all": replace(PAPER, weight_decay=0.05),
    "decay on weights": replace(PROGRAM, weight_decay=0.05),
    "no decay": replace(PAPER, weight_decay=0.0),
    "other momentum": replace(PAPER, weight_decay=0.05, momentum=0.5),
    "sgdw": replace(PAPER, weight_decay=0.05, optimizer="sgdw"),
    "sgdw, decay on weights": replace(PROGRAM, weight_decay=0.05, optimizer="sgdw"),
    "sgdw, no decay": replace(PAPER, weight_decay=0.0, optimizer="sgdw"),
}
BOTH = pytest.mark.parametrize("kind", OPTIMIZERS)


class TestRules:
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

    def test_decoupled_decay_is_another_rule(self) -> None:
        """Without decay the rules are one; with it they part in the second step, where momentum repeats the first's."""
        for decay in (0.0, 0.05):
            paper = by_optimizer(replace(PAPER, weight_decay=decay))
            decoupled = by_optimizer(replace(PAPER, weight_decay=decay, optimizer="sgdw"))
            apart = max(np.abs(paper[name] - decoupled[name]).max() for name in START)
            assert apart > 1e-4 if decay else apart < 1e-6

    def test_papers_decay_pulls_ten_times_as_strongly(self) -> None:
        """Without gradients a step takes decay * rate of a weight, the paper's rule that over (1 - momentum)."""
        shrunk = {}
        for kind in OPTIMIZERS:
            variables = {"conv1_a/kernel": tf.Variable([1.0])}
            optimizer = OPTIMIZERS[kind](variables, replace(PAPER, weight_decay=0.01, optimizer=kind))
            for _ in range(200):
                optimizer.apply({"conv1_a/kernel": tf.constant([0.0])}, tf.constant([0.01]))
            shrunk[kind] = -np.log(variables["conv1_a/kernel"].numpy()[0])
        assert shrunk["sgdw"] == pytest.approx(200 * 0.01 * 0.01, rel=1e-3)
        assert shrunk["paper"] / shrunk["sgdw"] == pytest.approx(1 / (1 - 0.9), rel=0.06)  # 9 steps to gather speed

    @BOTH
    def test_variables_not_named_stand_still(self, kind: str) -> None:
        variables = {name: tf.Variable(value, dtype=tf.float32) for name, value in START.items()}
        optimizer = OPTIMIZERS[kind](variables, PAPER)
        for _ in range(2):
            optimizer.apply({"conv1_a/kernel": tf.ones((2, 2))}, tf.constant([0.01]))
        np.testing.assert_array_equal(variables["conv1_a/bias"], START["conv1_a/bias"].astype(np.float32))
        assert not optimizer.slots["velocities"]["conv1_a/bias"].numpy().any()
        assert optimizer.slots["velocities"]["conv1_a/kernel"].numpy().all()

    @BOTH
    def test_update_stays_on_each_variables_device(self, kind: str) -> None:
        variables = {}
        for number, tower in enumerate("ab"):
            with tf.device(f"/device:CPU:{number}"):
                variables[f"fc6_{tower}/kernel"] = tf.Variable(tf.ones((2, 2)))
        optimizer = OPTIMIZERS[kind](variables, replace(PAPER, optimizer=kind))
        for name, variable in variables.items():
            assert optimizer.slots["velocities"][name].device == variable.device
            np.testing.assert_array_equal(optimizer.slots["velocities"][name], np.zeros((2, 2)))

        @tf.function
        def step() -> None:
            gradients = {name: tf.ones((2, 2)) for name in variables}
            optimizer.apply(gradients, tf.constant([0.01, 0.01]))

        operations = step.get_concrete_function().graph.get_operations()
        changes = ("ResourceApply", "AssignVariable", "AssignSub", "AssignAdd")
        updates = [op for op in operations if op.type.startswith(changes)]
        assert len(updates) >= 4  # decay and momentum of two variables
        for op in updates:
            number = {"fc6_a": 0, "fc6_b": 1}[op.name.split("/")[1]]
            assert op.device.endswith(f"CPU:{number}"), op.name


NAMES = ("conv1_a/kernel", "conv1_b/bias", "conv2_b/kernel", "fc8_a/kernel", "fc8_a/bias")
KNOWN = {name: NetworkVariable(None, name.partition("_")[0], "a", trained=True) for name in NAMES}


class TestSchedules:
    @pytest.mark.parametrize(
        ("epoch", "expected"),  # the log's epochs; conv1's weights and biases, then the others'
        [
            (1, (1e-2, 2e-2, 1e-2, 2e-2)), (24, (1e-2, 2e-2, 1e-2, 2e-2)),
            (25, (1e-3, 2e-2, 1e-3, 2e-2)), (50, (1e-3, 2e-2, 1e-3, 2e-2)),
            (51, (1e-4, 2e-2, 1e-4, 2e-2)), (66, (1e-4, 2e-2, 1e-4, 2e-2)),
            (67, (1e-5, 2e-2, 1e-4, 2e-2)), (71, (1e-5, 2e-2, 1e-4, 2e-2)),
            (72, (0, 0, 1e-4, 2e-2)), (78, (0, 0, 1e-4, 2e-2)),
            (79, (0, 0, 1e-5, 2e-2)), (90, (0, 0, 1e-5, 2e-2)),
        ],
    )  # fmt: skip
    def test_log_of_the_2012_program(self, epoch: int, expected: tuple[float, ...]) -> None:
        found = learning_rates(PROGRAM, KNOWN, epoch, plateau_drops=0)
        conv1, conv1_bias, weights, biases = expected
        assert list(found.values()) == pytest.approx([conv1, conv1_bias, weights, weights, biases], rel=1e-12)

    def test_paper_lowers_all_rates_by_ten(self) -> None:
        for drops, rate in enumerate((1e-2, 1e-3, 1e-4, 1e-5)):
            found = learning_rates(PAPER, KNOWN, epoch=90, plateau_drops=drops)
            assert found == pytest.approx(dict.fromkeys(NAMES, rate), rel=1e-12)
        assert PAPER.max_drops == 3

    def test_listed_epochs_and_plateau_do_not_mix(self) -> None:
        recipe = replace(PAPER, schedule="epochs", drop_epochs=(2, 4))
        rates = [learning_rates(recipe, KNOWN, epoch, 3)["fc8_a/kernel"] for epoch in (1, 2, 3, 4, 9)]
        assert rates == pytest.approx([1e-2, 1e-3, 1e-3, 1e-4, 1e-4])

    def test_factor_and_biases_by_config(self) -> None:
        recipe = replace(PAPER, learning_rate=0.4, drop_factor=0.5, bias_rate_factor=3.0)
        found = learning_rates(recipe, KNOWN, 1, 2)
        assert (found["fc8_a/kernel"], found["fc8_a/bias"]) == pytest.approx((0.1, 0.3))
        kept = learning_rates(replace(recipe, drop_bias_rate=False), KNOWN, 1, 2)
        assert kept["fc8_a/bias"] == pytest.approx(1.2)

    def test_single_layers_by_config(self) -> None:
        recipe = replace(PAPER, rate_multipliers={"fc8": 10.0}, freeze=("conv1",))
        found = learning_rates(recipe, KNOWN, 1, 1)
        assert list(found.values()) == pytest.approx([0, 0, 1e-3, 1e-2, 1e-2])
