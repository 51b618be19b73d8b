"""The layers against plain loops, TensorFlow's own operations and numeric differences."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf.networks import layers
from alexnet_tf.networks.dropout import Dropout2012, InvertedDropout
from alexnet_tf.networks.keras_versions import tensorflow_variable
from alexnet_tf.networks.response_normalization import LocalResponseNormalization, SpatialResponseNormalization
from tests.bfloat16 import skip_without_bfloat16
from tests.closeness import ELEMENTWISE, ONE_LAYER, assert_close

# Inputs of this size make the sums matter: 1e-4 * 5 * 60^2 = 1.8 beside a bias of 2.
STDDEV = 60.0
CONSTANTS = {"paper": (2, 2.0, 1e-4, 0.75), "2012-code": (2, 2.0, 2e-5, 0.75)}
OTHER = {"beta 0.5": (2, 2.0, 1e-4, 0.5), "radius 1": (1, 1.0, 1e-3, 0.6)}
ALL = pytest.mark.parametrize("constants", [*CONSTANTS.values(), *OTHER.values()], ids=[*CONSTANTS, *OTHER])


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, STDDEV, shape)


def lrn(x: np.ndarray, depth_radius: int, bias: float, alpha: float, beta: float) -> np.ndarray:
    """The formula of the paper's section 3.3, channel by channel."""
    y = np.empty_like(x)
    channels = x.shape[-1]
    for c in range(channels):
        total = np.zeros(x.shape[:-1])
        for j in range(max(0, c - depth_radius), min(channels - 1, c + depth_radius) + 1):
            total += x[..., j] ** 2
        y[..., c] = x[..., c] / (bias + alpha * total) ** beta
    return y


def in_training(layer: keras.layers.Layer) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda x: layer(x, training=True)


def gradient_of(layer: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    inputs = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs) * tf.constant(dy, tf.float32))
    return tape.gradient(loss, inputs).numpy()


class TestLocalResponseNormalization:
    @ALL
    @pytest.mark.parametrize("channels", [48, 128])
    @pytest.mark.parametrize("training", [False, True])
    def test_output_is_the_formula(self, constants: tuple, channels: int, training: bool) -> None:
        x = normal(2, 3, 4, channels)
        found = LocalResponseNormalization(*constants)(tf.constant(x, tf.float32), training=training)
        assert_close(found, lrn(x, *constants), ONE_LAYER)

    @ALL
    def test_gradient_is_tensorflows_own(self, constants: tuple) -> None:
        x, dy = normal(2, 5, 3, 48), normal(2, 5, 3, 48, seed=1)
        inputs = tf.constant(x, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = tf.nn.local_response_normalization(inputs, *constants)
            loss = tf.reduce_sum(y * tf.constant(dy, tf.float32))
        expected = tape.gradient(loss, inputs).numpy()
        found = gradient_of(in_training(LocalResponseNormalization(*constants)), x, dy)
        assert_close(found, expected, ONE_LAYER)

    @ALL
    @pytest.mark.parametrize("training", [False, True])
    def test_relu_within_is_relu_before(self, constants: tuple, training: bool) -> None:
        x, dy = normal(2, 5, 3, 48), normal(2, 5, 3, 48, seed=1)
        x[0, 0] = 0.0
        plain, with_relu = (LocalResponseNormalization(*constants, relu) for relu in (False, True))
        expected = lrn(np.maximum(x, 0), *constants)
        assert_close(with_relu(tf.constant(x, tf.float32), training=training), expected, ONE_LAYER)
        expected = gradient_of(lambda x: plain(tf.nn.relu(x), training=training), x, dy)
        found = gradient_of(lambda x: with_relu(x, training=training), x, dy)
        assert_close(found, expected, ONE_LAYER)

    @ALL
    def test_gradient_is_that_of_numeric_differences(self, constants: tuple) -> None:
        x, dy = normal(1, 1, 2, 12), normal(1, 1, 2, 12, seed=1)
        expected = np.empty_like(x)
        for index in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[index] = 1e-3
            ahead, behind = lrn(x + step, *constants), lrn(x - step, *constants)
            expected[index] = (dy * (ahead - behind)).sum() / 2e-3
        found = gradient_of(in_training(LocalResponseNormalization(*constants)), x, dy)
        assert_close(found, expected, ONE_LAYER)

    def test_config_round_trip(self) -> None:
        layer = LocalResponseNormalization(2, 2.0, 1e-4, 0.75, device="/device:CPU:1", name="n")
        again = LocalResponseNormalization.from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        assert (again.depth_radius, again.bias, again.alpha, again.beta) == CONSTANTS["paper"]
        assert again.device == "/device:CPU:1"


class TestSpatialResponseNormalization:
    @pytest.mark.parametrize("beta", [0.75, 0.5])
    def test_output_is_the_formula_up_to_the_edges(self, beta: float) -> None:
        x = normal(2, 7, 6, 3)
        expected = np.empty_like(x)
        for n, row, column, c in np.ndindex(x.shape):
            window = x[n, max(0, row - 2) : row + 3, max(0, column - 2) : column + 3, c]
            scale = 1 + 0.001 / 25 * (window**2).sum()  # divided by 25 at the edges, too
            expected[n, row, column, c] = x[n, row, column, c] / scale**beta
        found = SpatialResponseNormalization(beta=beta)(tf.constant(x, tf.float32))
        assert_close(found, expected, ONE_LAYER)

    @pytest.mark.parametrize("beta", [0.75, 0.5])
    def test_gradient_is_that_of_the_formula_differentiated(self, beta: float) -> None:
        x, dy = normal(2, 7, 6, 3), normal(2, 7, 6, 3, seed=1)
        inputs = tf.constant(x)  # float64
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            kernel = tf.ones((5, 5, 3, 1), tf.float64)
            sums = tf.nn.depthwise_conv2d(inputs**2, kernel, [1, 1, 1, 1], "SAME")
            loss = tf.reduce_sum(dy * inputs / (1 + 0.001 / 25 * sums) ** beta)
        expected = tape.gradient(loss, inputs).numpy()
        found = gradient_of(SpatialResponseNormalization(beta=beta), x, dy)
        assert_close(found, expected, ONE_LAYER)

    def test_even_window_is_refused(self) -> None:
        with pytest.raises(ValueError, match="odd"):
            SpatialResponseNormalization(size=4)


class TestDropout2012:
    INPUTS = np.full((200, 500), 3.0, np.float32)
    SEED = tf.constant([7, 11], tf.int32)

    @pytest.mark.parametrize("rate", [0.5, 0.3])
    def test_in_training_a_share_is_dropped_and_nothing_is_scaled(self, rate: float) -> None:
        y = Dropout2012(rate, name="d")(self.INPUTS, seed=self.SEED).numpy()
        assert set(np.unique(y)) == {0.0, 3.0}
        tolerance = 5 * np.sqrt(rate * (1 - rate) / y.size)  # five standard deviations
        assert abs((y == 0).mean() - rate) < tolerance

    @pytest.mark.parametrize("rate", [0.5, 0.3])
    def test_at_test_outputs_are_scaled(self, rate: float) -> None:
        y = Dropout2012(rate)(self.INPUTS).numpy()
        assert_close(y, self.INPUTS * (1 - rate), ELEMENTWISE)

    def test_same_seed_and_name_same_mask(self) -> None:
        first = Dropout2012(0.5, name="dropout6_a")(self.INPUTS, seed=self.SEED)
        again = Dropout2012(0.5, name="dropout6_a")(self.INPUTS, seed=self.SEED)
        np.testing.assert_array_equal(first, again)

    @pytest.mark.parametrize("name", ["dropout6_b", "dropout7_a", "dropout7_b"])
    def test_another_tower_or_layer_has_an_unrelated_mask(self, name: str) -> None:
        first = Dropout2012(0.5, name="dropout6_a")(self.INPUTS, seed=self.SEED).numpy()
        other = Dropout2012(0.5, name=name)(self.INPUTS, seed=self.SEED).numpy()
        self._assert_unrelated(first, other)

    @pytest.mark.parametrize("seed", [[7, 12], [8, 11], [11, 7]])
    def test_another_step_or_run_has_an_unrelated_mask(self, seed: list[int]) -> None:
        layer = Dropout2012(0.5, name="dropout6_a")
        first = layer(self.INPUTS, seed=self.SEED).numpy()
        self._assert_unrelated(first, layer(self.INPUTS, seed=tf.constant(seed)).numpy())

    def _assert_unrelated(self, first: np.ndarray, other: np.ndarray) -> None:
        agreeing = (first == other).mean()
        assert abs(agreeing - 0.5) < 5 * np.sqrt(0.25 / first.size)

    def test_gradient_passes_only_where_the_mask_does(self) -> None:
        inputs = tf.constant(self.INPUTS)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = Dropout2012(0.5, name="d")(inputs, seed=self.SEED)
        np.testing.assert_array_equal(tape.gradient(y, inputs), y.numpy() / 3.0)


class TestInvertedDropout:
    def test_mask_is_that_of_2012_scaled_in_training_alone(self) -> None:
        inputs, seed = np.full((3, 4), 3.0, np.float32), tf.constant([7, 11])
        plain, inverted = (kind(0.25, name="d") for kind in (Dropout2012, InvertedDropout))
        assert_close(inverted(inputs, seed=seed), plain(inputs, seed=seed) / 0.75, ELEMENTWISE)
        np.testing.assert_array_equal(inverted(inputs), inputs)


class TestPlaced:
    """Variables, operations and their gradients land on the device that the layer was given."""

    CASES = (
        (layers.Conv2D, {"filters": 2, "kernel_size": 3}),
        (layers.MaxPooling2D, {"pool_size": 3, "strides": 2}),
        (layers.ReLU, {}),
        (layers.Activation, {"activation": "tanh"}),
        (layers.ZeroPadding2D, {"padding": ((0, 3), (0, 3))}),
        (layers.Flatten, {}),
        (layers.Dense, {"units": 4}),
        (LocalResponseNormalization, {"depth_radius": 2, "bias": 2, "alpha": 1e-4, "beta": 0.75}),
        (SpatialResponseNormalization, {}),
        (Dropout2012, {"rate": 0.5}),
        (layers.Channels, {"start": -2, "stop": None}),
    )

    @pytest.mark.parametrize("number", [0, 1])
    @pytest.mark.parametrize(("kind", "arguments"), CASES, ids=[kind.__name__ for kind, _ in CASES])
    def test_eagerly(self, kind: type, arguments: dict, number: int) -> None:
        layer = kind(**arguments, device=f"/device:CPU:{number}")
        y = layer(tf.ones((1, 8, 8, 6)))
        placed = [y, *(tensorflow_variable(weight) for weight in layer.weights)]
        assert {on.device[-5:] for on in placed} == {f"CPU:{number}"}

    def test_joined_towers(self) -> None:
        layer = layers.BothTowers(device="/device:CPU:1")
        y = layer([tf.zeros((1, 2, 2, 3)), tf.ones((1, 2, 2, 4))])
        assert y.device.endswith("CPU:1")
        np.testing.assert_array_equal(y[0, 0, 0], [0, 0, 0, 1, 1, 1, 1])  # tower a comes first

    @pytest.mark.parametrize(
        "layer",
        [
            LocalResponseNormalization(2, 2.0, 1e-4, 0.75, device="/device:CPU:1"),
            SpatialResponseNormalization(device="/device:CPU:1"),
            layers.Conv2D(2, 3, device="/device:CPU:1"),
        ],
        ids=lambda layer: layer.name,
    )
    def test_gradients_in_a_graph(self, layer: keras.layers.Layer) -> None:
        layer(tf.ones((1, 8, 8, 6)))  # makes the variables

        @tf.function
        def gradient(x: tf.Tensor) -> tf.Tensor:
            normalizes = isinstance(layer, LocalResponseNormalization)
            return tf.gradients(layer(x, training=True) if normalizes else layer(x), x)

        graph = gradient.get_concrete_function(tf.TensorSpec((1, 8, 8, 6))).graph
        # These compute nothing; a read goes where its variable is.
        passive = {"Placeholder", "Const", "Identity", "IdentityN", "NoOp", "Shape", "Fill"}
        passive.add("ReadVariableOp")
        operations = [op for op in graph.get_operations() if op.type not in passive]
        assert any("gradients" in op.name for op in operations)
        strayed = [op.name for op in operations if not op.device.endswith("CPU:1")]
        assert strayed == []


@pytest.mark.parametrize("settings", [{"activation": "tanh"}, {"use_bias": False}], ids=["tanh", "no bias"])
def test_a_kernel_as_large_as_the_picture_is_trained_as_a_product(settings: dict) -> None:
    layer = layers.Conv2D(7, (3, 2), name="c5", bias_initializer="random_normal", **settings)
    images = tf.random.stateless_normal((4, 3, 2, 5), (1, 2))
    layer.build(images.shape)
    weights = [tensorflow_variable(variable) for variable in layer.trainable_variables]

    @tf.function
    def outputs_and_gradients(training: bool) -> list[tf.Tensor]:
        y = layer(images, training=training)
        return [y, *tf.gradients(tf.reduce_sum(y * tf.sin(y)), [images, *weights])]

    plain, product = (outputs_and_gradients.get_concrete_function(training) for training in (False, True))
    kinds = [{operation.type for operation in one.graph.get_operations()} for one in (plain, product)]
    assert ["Conv2D" in kind for kind in kinds] == [True, False]
    for found, expected in zip(product(), plain(), strict=True):
        assert_close(found, expected, ONE_LAYER)


class TestBatchNormalization:
    @pytest.mark.parametrize("frozen", [False, True])
    def test_in_training_it_is_the_formula(self, frozen: bool) -> None:
        """Ioffe and Szegedy, 2015, algorithms 1 and 2; frozen it is that of test."""
        x, dy = normal(3, 5, 4, 6), normal(3, 5, 4, 6, seed=1)
        layer = layers.BatchNormalization(momentum=0.75, epsilon=0.001, name="bn")
        layer.build(x.shape)
        layer.set_weights([np.linspace(1, 2, 6), np.linspace(-1, 1, 6), np.full(6, 3.0), np.full(6, 50.0**2)])
        layer.trainable = not frozen
        mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        used = (3.0, 50.0**2) if frozen else (mean, variance)
        deviation = np.sqrt(used[1] + 0.001)
        found = layer(tf.constant(x, tf.float32), training=True)
        gamma = np.linspace(1, 2, 6)
        assert_close(found, (x - used[0]) / deviation * gamma + np.linspace(-1, 1, 6), ONE_LAYER)
        moving = [np.full(6, 3.0), np.full(6, 50.0**2)]
        if not frozen:
            moving = [0.75 * 3 + 0.25 * mean, 0.75 * 50.0**2 + 0.25 * variance * 60 / 59]
        for after, expected in zip((layer.moving_mean, layer.moving_variance), moving, strict=True):
            assert_close(tensorflow_variable(after), expected, ONE_LAYER)
        normalized = (x - used[0]) / deviation
        projected = (dy.mean(axis=(0, 1, 2)) + normalized * (dy * normalized).mean(axis=(0, 1, 2))) * (not frozen)
        gradient = gradient_of(in_training(layer), x, dy)
        assert_close(gradient, gamma / deviation * (dy - projected), ONE_LAYER)

    def test_in_bfloat16_it_averages_in_float32(self) -> None:
        skip_without_bfloat16()
        x = normal(2, 4, 4, 3) + 500
        layer = layers.BatchNormalization(momentum=0.5, name="bn", dtype="mixed_bfloat16")
        found = layer(tf.cast(x, tf.bfloat16), training=True)
        assert found.dtype == tf.bfloat16
        rounded = tf.cast(tf.cast(x, tf.bfloat16), tf.float32).numpy()
        assert_close(tensorflow_variable(layer.moving_mean), 0.5 * rounded.mean(axis=(0, 1, 2)), ONE_LAYER)
