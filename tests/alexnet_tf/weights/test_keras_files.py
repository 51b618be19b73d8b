"""Weights that Keras wrote: VGG16 and ResNet50 of keras.applications, as runs of ours, and files that are none."""

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from alexnet_tf import import_weights
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.networks.keras_versions import KERAS_3
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.run import open_run
from alexnet_tf.towers import Towers
from alexnet_tf.weights.keras_files import read_keras
from tests.closeness import WHOLE_NETWORK, assert_close

CLASSES = 3
FORMS = ("net.h5", "net.weights.h5", "net.keras")


def written(net: keras.Model, path: Path) -> Path:
    """By Keras, in the form that the name says."""
    if path.name.endswith(".weights.h5") or (path.suffix == ".h5" and not KERAS_3):
        net.save_weights(path)
    else:
        net.save(path)
    return path


def lively(net: keras.Model) -> keras.Model:
    """Biases, scales and moving averages are random: none of them may be mixed up, or lost."""
    draw = np.random.default_rng(2)
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights([*(draw.uniform(0.5, 1, shape), draw.normal(0, 0.3, shape)),
                               *(draw.normal(0, 0.3, shape), draw.uniform(0.5, 1.5, shape))])  # fmt: skip
        elif layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, draw.normal(0, 0.3, bias.shape)])
    return net


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "preset", "form"),
    [
        (keras.applications.VGG16, "vgg16", "net.h5"),
        *((keras.applications.ResNet50, "resnet50", form) for form in FORMS),
    ],
)
def test_imported_it_answers_as_in_keras(
    build: Callable[..., keras.Model], preset: str, form: str, tmp_path: Path
) -> None:
    net = lively(build(weights=None, classes=CLASSES, classifier_activation=None))
    file = written(net, tmp_path / form)
    assert import_weights.main(["--keras", str(file), "--run", str(tmp_path / "run")]) == 0
    run = open_run(tmp_path / "run")
    assert run.config.model.preset == preset
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    expected = net(keras.applications.resnet50.preprocess_input(pixels.copy())).numpy()
    mean = run.statistics.mean_image[:224, :224].astype(np.float32)
    model, _ = trained_network(run, Towers.unplaced())
    assert_close(model(tf.constant(pixels - mean)), expected, WHOLE_NETWORK)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net with the name of VGG's first layer in each form, and what is broken."""
    folder = tmp_path_factory.mktemp("small")
    images = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, name="block1_conv1")(images))
    with_classifier = keras.Model(images, keras.layers.Dense(CLASSES, name="predictions")(x))
    for form in FORMS:
        written(with_classifier, folder / form)
    written(keras.Model(images, x), folder / "headless.h5")
    written(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="one")]), folder / "other.h5")
    content = (folder / "net.h5").read_bytes()
    (folder / "cut.h5").write_bytes(content[: len(content) // 2])
    (folder / "text.h5").write_text("no weights")
    with h5py.File(folder / "empty.h5", "w"):
        pass
    return folder


@pytest.mark.parametrize(
    ("name", "line"),
    [
        *((form, "is another net: ") for form in FORMS),
        ("net.h5", "is another net: block1_conv1 has weights of shape"),
        ("headless.h5", "has no classifier"),
        ("other.h5", "is another net: VGG16 and ResNet50 of keras.applications are known here"),
        ("empty.h5", "it has no layers"),
        ("cut.h5", "is damaged or no file of Keras' weights; fetch it again"),
        ("text.h5", "is damaged or no file of Keras' weights"),
        ("missing.h5", "cannot be read: No such file"),
    ],
)
def test_what_is_no_file_of_these_nets_is_told(small: Path, name: str, line: str) -> None:
    with pytest.raises(UserError) as fault:
        read_keras(small / name)
    assert str(fault.value).startswith(str(small / name)) and line in str(fault.value)
    assert "\n" not in str(fault.value)
