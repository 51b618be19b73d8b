"""The network: parameters, shapes, initial weights, and its logits and gradients against PyTorch."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import torch

from alexnet_tf.networks.network import Network, named_variables
from alexnet_tf.networks.registry import build_network
from alexnet_tf.settings.presets import PRESETS, AlexNetSettings
from alexnet_tf.towers import Towers
from alexnet_tf.weights.layouts import TORCHVISION, from_published
from alexnet_tf.weights.published_files import TORCHVISION_NAMES
from tests.alexnet_tf.networks import torch_alexnet
from tests.alexnet_tf.networks.torch_alexnet import CAFFE, CAFFENET, PAPER, PROGRAM, Variant, weights_from
from tests.alexnet_tf.weights.published_files import torchvision_net
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.slow_cases import slow

CLASSES = 1000
FEW_UNITS = 64
"""Of fc6 and fc7 in a tower, where it is arithmetic that is compared: the convolutions are whole, and nearly all of the
weights are left out."""
VARIANTS = {"paper": PAPER, "2012-code": PROGRAM, "caffe": CAFFE, "caffenet": CAFFENET}


def with_few_units(preset: str) -> AlexNetSettings:
    network = PRESETS[preset].network
    return replace(network, widths=replace(network.widths, fc6=FEW_UNITS, fc7=FEW_UNITS))


@pytest.fixture(scope="module", params=["paper", "2012-code"])
def model(request: pytest.FixtureRequest, two_cpus: Towers) -> Network:
    """One preset's network with its initial weights; not to be changed."""
    made = build_network(PRESETS[request.param].network, CLASSES, two_cpus, seed=3)
    made.preset_name = request.param
    return made


@pytest.fixture(scope="module")
def livelier(two_cpus: Towers) -> dict[str, np.ndarray]:
    """Weights under which every layer matters: activations keep their size, biases are random."""
    draw = np.random.default_rng(5)
    shapes = named_variables(build_network(with_few_units("paper"), 10, two_cpus))
    values = {}
    for name, variable in shapes.items():
        shape = tuple(variable.shape)
        stddev = np.sqrt(2.0 / np.prod(shape[:-1])) if name.endswith("kernel") else 1.0
        values[name] = draw.standard_normal(shape, dtype=np.float32) * np.float32(stddev)
    return values


@pytest.fixture(scope="module", params=list(VARIANTS))
def lively(request: pytest.FixtureRequest, two_cpus: Towers, livelier: dict[str, np.ndarray]) -> Network:
    made = build_network(with_few_units(request.param), 10, two_cpus)
    for name, variable in named_variables(made).items():
        variable.assign(livelier[name])
    made.preset_name = request.param
    return made


def images(count: int = 2, size: int = 224) -> np.ndarray:
    draw = np.random.default_rng(1)
    return draw.normal(0, 60, (count, size, size, 3)).astype(np.float32)


class TestParameters:
    def test_number_at_1000_classes(self, model: Network) -> None:
        variables = named_variables(model)
        assert sum(int(tf.size(variable)) for variable in variables.values()) == 60_965_224
        assert model.count_params() == 60_965_224

    def test_shapes(self, model: Network) -> None:
        kernels = {
            "conv1": (11, 11, 3, 48), "conv2": (5, 5, 48, 128), "conv3": (3, 3, 256, 192),
            "conv4": (3, 3, 192, 192), "conv5": (3, 3, 192, 128), "fc6": (9216, 2048),
            "fc7": (4096, 2048),
        }  # fmt: skip
        expected = {f"{name}_{tower}": shape for name, shape in kernels.items() for tower in "ab"}
        expected["fc8_a"] = (4096, 1000)
        variables = {name: tuple(v.shape) for name, v in named_variables(model).items()}
        assert variables == {
            **{f"{name}/kernel": shape for name, shape in expected.items()},
            **{f"{name}/bias": shape[-1:] for name, shape in expected.items()},
        }

    def test_each_is_on_its_towers_device(self, model: Network) -> None:
        for name, variable in named_variables(model).items():
            tower = name.split("/")[0][-1]
            assert variable.device.endswith({"a": "CPU:0", "b": "CPU:1"}[tower]), name

    def test_initial_weights(self, model: Network) -> None:
        conv345 = 0.03 if model.preset_name == "2012-code" else 0.01
        for name, variable in named_variables(model).items():
            layer, part = name.split("_")[0], name.split("/")[1]
            values = variable.numpy().astype(np.float64).ravel()
            if part == "bias":
                ones = layer in ("conv2", "conv4", "conv5", "fc6", "fc7")
                assert (values == (1.0 if ones else 0.0)).all(), name
                continue
            stddev = conv345 if layer in ("conv3", "conv4", "conv5") else 0.01
            # Five standard deviations of a sample's standard deviation and mean.
            assert abs(values.std() / stddev - 1) < 5 / np.sqrt(2 * values.size), name
            assert abs(values.mean()) < 5 * stddev / np.sqrt(values.size), name
            # A normal distribution, not one cut at two standard deviations.
            beyond = (np.abs(values) > 2 * stddev).mean()
            assert abs(beyond - 0.0455) < 5 * np.sqrt(0.0455 / values.size), name

    def test_no_two_layers_start_alike(self, model: Network) -> None:
        starts = [v.numpy().ravel()[:5].tobytes() for v in kernels_of(model)]
        assert len(set(starts)) == len(starts)

    @pytest.mark.usefixtures("small_net")
    def test_seed_decides_initial_weights(self, two_cpus: Towers) -> None:
        network = PRESETS["paper"].network
        first, again, other = (
            [v.numpy() for v in kernels_of(build_network(network, 2, two_cpus, seed=seed))] for seed in (1, 1, 2)
        )
        assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
        assert not any(np.array_equal(*pair) for pair in zip(first, other, strict=True))


def kernels_of(model: Network) -> list[tf.Variable]:
    return [v for name, v in named_variables(model).items() if name.endswith("kernel")]


def test_outputs_have_the_shapes_of_figure_2(model: Network) -> None:
    shapes = {}

    def recorded(layer: tf.Module, call: object) -> object:
        def recording_call(*arguments: object, **options: object) -> tf.Tensor:
            y = call(*arguments, **options)
            shapes[layer.name] = tuple(y.shape)
            return y

        return recording_call

    layers = [layer for tower in (model.a, model.b) for layer in tower._flatten_layers()]
    layers = [layer for layer in layers if layer not in (model.a, model.b)]
    patches = [mock.patch.object(layer, "call", recorded(layer, layer.call)) for layer in [*layers, model.fc8]]
    for patch in patches:
        patch.start()
    try:
        model(tf.constant(images()))
    finally:
        for patch in patches:
            patch.stop()
    per_tower = {
        "pad1": (227, 227, 3), "conv1": (55, 55, 48), "pool1": (27, 27, 48),
        "conv2": (27, 27, 128), "norm2": (27, 27, 128), "pool2": (13, 13, 128),
        "join_conv3": (13, 13, 256), "conv3": (13, 13, 192), "conv4": (13, 13, 192),
        "conv5": (13, 13, 128), "pool5": (6, 6, 128), "join_fc6": (9216,), "fc6": (2048,),
        "join_fc7": (4096,), "fc7": (2048,),
    }  # fmt: skip
    for name, shape in per_tower.items():
        for tower in "ab":
            assert shapes[f"{name}_{tower}"] == (2, *shape)
    assert shapes["fc8_a"] == (2, CLASSES)
    assert shapes["norm1_a"] == (2, 55, 55, 48)
    # In the paper's order ReLU comes before the normalization, which does it; in the program's after the pooling.
    in_norm = model.preset_name == "paper"
    assert model.a.norm1.relu == in_norm and model.a.norm2.relu
    assert shapes.get("relu1_a") == (None if in_norm else (2, 27, 27, 48))
    assert ("spatial_norm2_a" in shapes) == (not in_norm)


class TestAgainstPyTorch:
    def test_logits_at_test(self, lively: Network, livelier: dict[str, np.ndarray]) -> None:
        batch = images(2, lively.picture_shape[0])
        found = lively(tf.constant(batch)).numpy()
        assert found.std() > 0.1  # else a wrong net would agree, too
        assert difference(found, livelier, VARIANTS[lively.preset_name], batch) < 1e-5

    BENT = (
        {"order": "norm pool relu"}, {"order": "relu pool norm"}, {"alpha": 2e-5}, {"spatial_norm": True}, {"k": 1},
        {"norm_across_towers": True}, {"padding": (1, 2, 1, 2)}, {"towers_joined_at": ("fc6", "fc7", "fc8")},
        {"test_factor": 1.0},
    )  # fmt: skip

    @pytest.mark.parametrize("changes", BENT, ids=lambda changes: next(iter(changes)))
    def test_another_network_would_show(self, changes: dict, two_cpus: Towers, livelier: dict[str, np.ndarray]) -> None:
        with torch.no_grad():
            weights = weights_from(livelier)
            right = torch_alexnet.logits(images(1), weights, PAPER).numpy()
        assert difference(right, livelier, PAPER.but(**changes), images(1)) > 1e-3

    @pytest.mark.usefixtures("float64")
    @pytest.mark.parametrize("preset", ["paper", *slow("2012-code", "caffe", "caffenet")])
    def test_logits_loss_and_all_gradients_in_training(
        self, preset: str, two_cpus: Towers, livelier: dict[str, np.ndarray]
    ) -> None:
        model = build_network(with_few_units(preset), 10, two_cpus)
        variables = named_variables(model)
        for name, variable in variables.items():
            variable.assign(livelier[name].astype(np.float64))
        batch, labels = images(2, model.picture_shape[0]).astype(np.float64), np.array([3, 8])
        seed = tf.constant([0, 4], tf.int32)
        with tf.GradientTape() as tape:
            logits = model(tf.constant(batch), dropout_seed=seed)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        found = tape.gradient(loss, variables)

        weights = weights_from({name: value.astype(np.float64) for name, value in livelier.items()})
        expected = torch_alexnet.logits(batch, weights, VARIANTS[preset], masks_of(model, seed, 2))
        expected_loss = torch.nn.functional.cross_entropy(expected, torch.tensor(labels))
        expected_loss.backward()
        assert_close(logits, expected.detach(), WHOLE_NETWORK, np.float64)
        assert loss.numpy() == pytest.approx(expected_loss.item(), rel=1e-9)
        for name, gradient in found.items():
            theirs = weights[name].grad.numpy()
            assert np.linalg.norm(gradient.numpy() - theirs) < 1e-9 * np.linalg.norm(theirs), name


def difference(found: np.ndarray, values: dict[str, np.ndarray], variant: Variant, batch: np.ndarray) -> float:
    """Largest difference from PyTorch's logits, relative to the largest logit."""
    with torch.no_grad():
        expected = torch_alexnet.logits(batch, weights_from(values), variant).numpy()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def masks_of(model: Network, seed: tf.Tensor, count: int) -> dict[str, np.ndarray]:
    layers = [model.a.dropout6, model.b.dropout6, model.a.dropout7, model.b.dropout7]
    return {layer.name: layer(tf.ones((count, model.a.fc6.units)), seed=seed).numpy() for layer in layers}


class TestOneTower:
    """torchvision's net."""

    def test_parameters_and_their_start(self, two_cpus: Towers) -> None:
        variables = named_variables(build_network(PRESETS["owt"].network, CLASSES, two_cpus, seed=3))
        assert sum(int(tf.size(variable)) for variable in variables.values()) == 61_100_840
        for name, variable in variables.items():
            assert variable.device.endswith("CPU:0"), name
            limit = np.prod(variables[name.replace("bias", "kernel")].shape[:-1]) ** -0.5  # as PyTorch draws
            values = variable.numpy().ravel()
            assert np.abs(values).max() <= limit * (1 + 1e-6), name
            # Five standard deviations of a uniform sample's mean square.
            assert abs((values**2).mean() / (limit**2 / 3) - 1) < 5 * np.sqrt(0.8 / values.size), name

    @pytest.mark.usefixtures("float64")
    def test_logits_and_all_gradients_in_training(self, two_cpus: Towers) -> None:
        net, seed = torchvision_net(10, units=FEW_UNITS).double(), tf.constant([0, 4], tf.int32)
        model = build_network(with_few_units("owt"), 10, two_cpus)
        state = {name: tensor.detach().numpy() for name, tensor in net.named_parameters()}
        variables = named_variables(model)
        for name, value in from_published(torchvision_layers(state), TORCHVISION).items():
            variables[name].assign(value)
        batch, labels = images(2).astype(np.float64) / 60, np.array([3, 8])
        with tf.GradientTape() as tape:
            logits = model(tf.constant(batch), dropout_seed=seed)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        found = tape.gradient(loss, variables)

        mask6 = model.dropout6(tf.ones((2, 9216)), seed=seed).numpy().reshape(2, 6, 6, 256)
        mask7 = model.dropout7(tf.ones((2, FEW_UNITS)), seed=seed).numpy()
        assert set(np.unique(mask7)) == {0.0, 2.0}  # scaled in training
        planes = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
        mask6 = torch.from_numpy(mask6.transpose(0, 3, 1, 2).reshape(2, 9216))
        expected = net(planes, mask6, torch.from_numpy(mask7))
        torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()
        assert_close(logits, expected.detach(), WHOLE_NETWORK, np.float64)
        gradients = {name: parameter.grad.numpy() for name, parameter in net.named_parameters()}
        for name, gradient in from_published(torchvision_layers(gradients), TORCHVISION).items():
            assert np.linalg.norm(found[name].numpy() - gradient) < 1e-9 * np.linalg.norm(gradient), name

    def test_of_128_pixels_fc6_takes_pool5_as_it_is(self, two_cpus: Towers) -> None:
        """3x3, where torchvision would stretch it to 6x6."""
        net = torchvision_net(10, units=FEW_UNITS)
        model = build_network(replace(with_few_units("owt"), image_size=128, stored_size=144), 10, two_cpus, seed=3)
        fc6 = named_variables(model)["fc6_a/kernel"]
        assert fc6.shape == (3 * 3 * 256, FEW_UNITS)
        assert np.abs(fc6.numpy()).max() == pytest.approx((3 * 3 * 256) ** -0.5, rel=1e-3)  # as PyTorch draws
        layers = torchvision_layers({name: tensor.detach().numpy() for name, tensor in net.named_parameters()})
        for name, variable in named_variables(model).items():
            if name.startswith("conv"):
                kernel, bias = layers[name.partition("_")[0]]
                variable.assign(bias if name.endswith("bias") else kernel.transpose(2, 3, 1, 0))
        batch = images(2, size=128) / 60
        (found,) = model.convolutions([tf.constant(batch)], None)
        with torch.no_grad():
            expected = net.features(torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())).permute(0, 2, 3, 1)
        assert_close(found, expected.reshape(2, -1), WHOLE_NETWORK)


def torchvision_layers(values: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {layer: (values[f"{name}.weight"], values[f"{name}.bias"]) for layer, name in TORCHVISION_NAMES.items()}
