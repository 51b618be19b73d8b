"""What holds for every network that is registered: a new one is tested by its entry in `presets.PRESETS`.

The trial network of this folder goes the same way, for what no registered one has: batch normalization and an auxiliary
output. Networks with widths are narrow.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import alexnet_tf
from alexnet_tf import evaluate
from alexnet_tf.evaluation.activations import convolution_outputs, grad_cam, look_inside
from alexnet_tf.evaluation.probabilities import prediction_function
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.local_server.screening import run_screened
from alexnet_tf.local_server.served_model import LoadedVersion
from alexnet_tf.networks.dropout import Dropout2012
from alexnet_tf.networks.keras_network import KerasNetwork
from alexnet_tf.networks.network import network_variables
from alexnet_tf.pictures.input_pipeline import training_batches
from alexnet_tf.pictures.preparation import evaluation_views, number_of_views
from alexnet_tf.pictures.resizing import picture_from_file
from alexnet_tf.runs.classes import Classes
from alexnet_tf.runs.folder import TrainingFolder
from alexnet_tf.runs.records import TrainingState
from alexnet_tf.runs.run import open_run
from alexnet_tf.serving.export import export_run
from alexnet_tf.settings.config import Config, parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Preset
from alexnet_tf.towers import Towers
from alexnet_tf.training.optimizers import learning_rates
from alexnet_tf.training.placement_report import Placement, measure_placement
from alexnet_tf.training.step import TrainingStep
from tests.alexnet_tf.networks.pictures_for import PicturesFor
from tests.alexnet_tf.networks.trial_network import register
from tests.alexnet_tf.serving.exported_models import keep_one_warm_up
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.narrow_nets import ONE_OF_EACH_CLASS, shrink_net
from tests.slow_cases import slow
from tfrecords.manifest import Manifest, load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

ALIKE = ("2012-code", "caffenet", "resnet34")
"""Presets whose networks are built by the class of another preset's."""
SWITCHED = {
    "2012-code apart": ("towers=apart", "pooling=plain", "normalization=none", "activation=tanh", "dropout_rate=0"),
    "paper one": ("towers=one", "pooling=plain", "activation=tanh"),
}
"""Presets and what a config chooses of their networks, together."""
TRAINED_ONLY = ("inception-v1", "cifar")
"""Networks of which `make test` only sees that they train."""
DEEP = ("resnet50", "vgg16", "nin-cifar", "2012-code apart")
"""Those of which it sees no more than their own tests: some are deep, some much like another one."""
ALL_CLASSES = [*(name for name in PRESETS if name not in (*ALIKE, *DEEP)), "trial", *slow(*ALIKE, *DEEP, "paper one")]
EVERY = [*(name for name in PRESETS if name not in (*ALIKE, *DEEP, *TRAINED_ONLY)), "trial",
         *slow(*ALIKE, *DEEP, *TRAINED_ONLY, "paper one")]  # fmt: skip
CLASSES = (*ONE_OF_EACH_CLASS, "trial")
"""A preset of every network class: an export knows no more of it."""
EXPORTED_ALWAYS = ("lenet5",)
"""Those that `make test` exports here; AlexNet's are exported by tests/alexnet_tf/serving."""
BATCH, STEPS, SEED = 4, 3, 5
LOADING = """
import json, sys
import tensorflow as tf
files = tf.constant([bytes.fromhex(line) for line in json.load(sys.stdin)])
for folder in sys.argv[1:]:
    signatures = tf.saved_model.load(folder).signatures
    answer = [signatures["probabilities"](image_bytes=files)["probabilities"],
              signatures["grad_cam"](image_bytes=files)["heat"]]
    print(json.dumps([numbers.numpy().tolist() for numbers in answer]))
"""
"""A process that knows nothing of the program: of every model's folder probabilities and Grad-CAM, a line each."""


@pytest.fixture(scope="module", autouse=True)
def networks() -> Iterator[None]:
    """Narrow ones, and the trial network among them."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_net(patch)
        register(patch)
        yield


@dataclass
class Trial:
    """A preset's network on its way: trained for three steps, saved after each."""

    name: str
    towers: Towers
    data: Path
    folder: Path

    @cached_property
    def config(self) -> Config:
        chosen = [f"data.dir={self.data}", "devices.towers=two-cpus", "train.seed=5", "data.eval_batch_size=20"]
        return parse_config("", "test", [*self.model, *chosen])

    @property
    def model(self) -> list[str]:
        """Of the config."""
        switches = SWITCHED.get(self.name, ())
        return [f"model.preset={self.name.partition(' ')[0]}", *(f"model.{switch}" for switch in switches)]

    @property
    def preset(self) -> Preset:
        return self.config.preset

    @cached_property
    def manifest(self) -> Manifest:
        return load_manifest(self.data)

    @cached_property
    def statistics(self) -> Statistics:
        return Statistics.load(self.data / STATISTICS_FILE)

    def new_step(self) -> TrainingStep:
        return TrainingStep(self.preset, self.manifest.num_classes, self.towers, SEED)

    def do(self, step: TrainingStep, number: int) -> dict[str, float]:
        """Step `number`, by the real pipeline; what it says."""
        batches = training_batches(
            self.data, self.manifest, self.statistics, self.preset.augment,
            batch_size=BATCH, seed=SEED, shuffle_buffer=100, first_step=number,
        )  # fmt: skip
        pictures, labels = next(iter(batches))
        rates = learning_rates(replace(self.preset.train, learning_rate=0.01), step.known, 1, 0)
        return step.workers.read_figures(step(pictures, labels, number, rates), None)

    @cached_property
    def trained(self) -> "Trained":
        step = self.new_step()
        before = values_of(step)
        placement = measure_placement(step, BATCH)  # its first run; rates of 1e-9
        figures = [self.do(step, number) for number in range(STEPS - 1)]
        classes = Classes.of(self.manifest)
        with TrainingFolder(self.folder / "run", self.config, classes, self.statistics, self.manifest) as folder:
            folder.save(step.checkpoint, TrainingState(step=STEPS - 1))
        figures.append(self.do(step, STEPS - 1))
        return Trained(step, placement, figures, before, values_of(step))

    @cached_property
    def exported(self) -> Path:
        """The folder of a version."""
        assert self.trained
        return export_run([open_run(self.folder / "run")], self.folder / "model", None, examples=2)


@dataclass
class Trained:
    step: TrainingStep
    placement: Placement
    figures: list[dict[str, float]]
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]


def values_of(step: TrainingStep) -> dict[str, np.ndarray]:
    """Of every variable and slot."""
    slots = {f"{slot}/{name}": v for slot, values in step.optimizer.slots.items() for name, v in values.items()}
    return {name: variable.numpy() for name, variable in {**step.variables, **slots}.items()}


@pytest.fixture(scope="module")
def trial_of(tiny_data: Path, two_cpus: Towers, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trial]:
    trials: dict[str, Trial] = {}
    pictures_for = PicturesFor(tiny_data, tmp_path_factory)

    def trial(name: str) -> Trial:
        if name not in trials:
            data = pictures_for(name.partition(" ")[0])
            trials[name] = Trial(name, two_cpus, data, tmp_path_factory.mktemp(name))
        return trials[name]

    return trial


@pytest.fixture(params=EVERY)
def trial(request: pytest.FixtureRequest, trial_of: Callable[[str], Trial]) -> Trial:
    return trial_of(request.param)


def test_settings_and_network_say_the_same(trial: Trial) -> None:
    settings, augment, model = trial.preset.network, trial.preset.augment, trial.trained.step.model
    assert f"{type(model).__module__}:{type(model).__name__}" == settings.network_class
    assert model.picture_shape == (augment.crop_size, augment.crop_size, settings.channels)
    assert len(augment.color_divisors) == settings.channels
    assert augment.max_offset <= settings.stored_size + 2 * augment.padding - augment.crop_size
    known = network_variables(model).values()
    assert {variable.layer for variable in known} <= set(settings.layers)
    assert settings.layers[-1] in {variable.layer for variable in known}
    assert {*settings.feature_layers, *settings.auxiliary_layers} <= set(settings.layers)
    assert tuple(model.stages()) == settings.feature_layers
    assert {output.after for output in model.auxiliary_outputs().values()} <= set(settings.feature_layers)


@pytest.mark.parametrize("trial", ALL_CLASSES, indirect=True)
def test_trains(trial: Trial) -> None:
    trained = trial.trained
    assert set(trained.before) == set(trained.after)
    still = [name for name, value in trained.before.items() if np.array_equal(value, trained.after[name])]
    assert still == []  # every weight, moving average and slot has moved
    for figures in trained.figures:
        assert np.isfinite(list(figures.values())).all()
        assert 0 <= figures["top5_error"] <= figures["top1_error"] <= 1


def test_resumes_to_the_last_bit(trial: Trial) -> None:
    trained = trial.trained
    other = trial.new_step()
    classes = Classes.of(trial.manifest)
    with TrainingFolder(trial.folder / "run", trial.config, classes, trial.statistics, trial.manifest) as folder:
        assert folder.restore(other.checkpoint).step == STEPS - 1
    assert trial.do(other, STEPS - 1) == trained.figures[-1]
    for name, value in values_of(other).items():
        assert value.tobytes() == trained.after[name].tobytes(), name


def test_is_placed(trial: Trial) -> None:
    placement, step = trial.trained.placement, trial.trained.step
    assert placement.strayed == []
    home = {"a": trial.towers.a, "b": trial.towers.b}
    for name, known in step.known.items():
        assert known.variable.device.endswith(home[known.tower]), name
    towers = {known.tower for known in step.known.values()}
    assert {op.tower for op in placement.operations} == towers
    updated = {op.name.split("/")[1] for op in placement.operations if op.phase == "update"}
    assert updated == {name.partition("/")[0] for name in step.optimizer.variables}


def test_split_at_every_feature_layer_it_is_the_same_network(trial: Trial) -> None:
    model = trial.trained.step.model
    images = tf.random.stateless_normal((2, *model.picture_shape), (1, 2)) * 60 / trial.preset.augment.color_divisors
    whole = model(images)
    for layer in model.settings.feature_layers:
        features = model.concatenate_features(model.features(images, layer))
        assert features.shape == (2, features.shape[1]) and features.shape[1] > 0
        assert_close(model.head(model.split_features(features, layer), layer), whole, WHOLE_NETWORK, name=layer)


def test_what_is_inside_can_be_looked_at(trial: Trial) -> None:
    model = trial.trained.step.model
    images = tf.random.stateless_normal((2, *model.picture_shape), (3, 4)) * 60 / trial.preset.augment.color_divisors
    outputs, logits = convolution_outputs(model, images)
    assert_close(logits, model(images), WHOLE_NETWORK)
    first = model.settings.layers[0]
    assert len(outputs[first]) == model.number_of_towers and all(maps.shape.rank == 4 for maps in outputs[first])
    layer, maps = [(name, maps) for name, maps in outputs.items() if min(maps[0].shape[1:3]) > 1][-1]
    heat, labels = grad_cam(model, images)
    assert heat.shape == (2, *maps[0].shape[1:3]) and (heat >= 0).all()
    np.testing.assert_array_equal(labels, tf.argmax(logits, axis=1))
    assert grad_cam(model, images, np.array([0, 1]))[1].tolist() == [0, 1]
    assert layer in model.settings.layers and not any("call" in vars(one) for one in model._flatten_layers())


def test_what_is_frozen_stands_still(trial: Trial) -> None:
    settings = trial.preset.network
    for layer in settings.feature_layers:
        frozen = settings.layers[: settings.layers.index(layer) + 1]
        chosen = [*trial.model, f"train.freeze=[{', '.join(frozen)}]"]
        preset, known = parse_config("", "test", chosen).preset, trial.trained.step.known
        assert preset.frozen_part == layer
        rates = learning_rates(preset.train, known, 1, 0)
        moving = {known[name].layer for name, rate in rates.items() if rate}
        assert moving == {known[name].layer for name in rates} - set(frozen)


def test_evaluates(trial: Trial, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert trial.trained
    json_file = tmp_path / "figures.json"
    for views in (1, 10):
        options = ["--run", str(trial.folder / "run"), "--views", str(views), "--json", str(json_file)]
        assert evaluate.main(options) == 0
        found = json.loads(json_file.read_text())
        assert found["images"] == trial.manifest.splits["val"].records
        assert found["views"] == number_of_views(views, trial.preset.augment, trial.preset.network.stored_size)
        assert f"{found['views']} view" in capsys.readouterr().out


@pytest.mark.slow
def test_from_python_it_answers_as_evaluation_does(trial: Trial) -> None:
    assert trial.trained
    net = alexnet_tf.load(str(trial.folder / "run"))
    files = sorted((trial.data.parent / "val").rglob("*.png"))[::6]
    run = open_run(trial.folder / "run")
    model, _ = trained_network(run, trial.towers)
    pictures = [picture_from_file(file.read_bytes(), model.settings.stored_shape) for file in files]
    expected = prediction_function(model, run.config.preset.augment, run.statistics)(tf.cast(pictures, tf.uint8))
    assert_close(net.predict(files).probabilities, expected, WHOLE_NETWORK)
    images, layer = net.prepare(files), model.settings.feature_layers[-1]
    assert_close(net.features(files), model.concatenate_features(model.features(images, layer)), WHOLE_NETWORK)
    assert_close(tf.nn.softmax(net.keras_model(images)), expected, WHOLE_NETWORK)


def test_as_a_keras_model_it_has_dropout_and_is_saved(trial: Trial, tmp_path: Path) -> None:
    network = trial.trained.step.model
    divisors = trial.preset.augment.color_divisors
    images = tf.random.stateless_normal((2, *network.picture_shape), (1, 2)) * 60 / divisors
    model = KerasNetwork(network, divided=set(divisors) != {1.0})
    logits = model(images)
    assert_close(logits, network(images), WHOLE_NETWORK)
    rests = any(isinstance(layer, Dropout2012) for layer in model.layers) and network.settings.dropout_rate > 0
    for trained in (model, network):  # two draws differ, and from what holds at test
        once, again = trained(images, training=True), trained(images, training=True)
        if rests:
            assert np.abs(once - again).max() > 0 and np.abs(once - logits).max() > 0
    assert {id(variable) for variable in model.trainable_variables} <= {id(one) for one in network.trainable_variables}
    model.save(tmp_path / "net.keras")
    assert_close(keras.models.load_model(tmp_path / "net.keras")(images), model(images), WHOLE_NETWORK)


@pytest.mark.parametrize("names", [EXPORTED_ALWAYS, *slow((*CLASSES, *SWITCHED))], ids=["one", "every class"])
def test_exports_load_in_a_process_of_their_own(trial_of: Callable[[str], Trial], names: tuple[str, ...]) -> None:
    folders, expected = [], []
    files = [path.read_bytes() for path in sorted((trial_of("paper").data.parent / "val").rglob("*.png"))[::5]]
    for name in names:
        trial = trial_of(name)
        folders.append(str(trial.exported))
        run = open_run(trial.folder / "run")
        model, _ = trained_network(run, trial.towers)
        pictures = tf.stack([picture_from_file(file, model.settings.stored_shape) for file in files])
        views = evaluation_views(tf.cast(pictures, tf.uint8), 1, run.config.preset.augment, run.statistics)[:, 0]
        seen = look_inside(model, views)
        expected.append([tf.nn.softmax(seen.logits), seen.heat])
    given = json.dumps([file.hex() for file in files])
    loading = subprocess.run([sys.executable, "-c", LOADING, *folders], input=given, capture_output=True, text=True)
    assert loading.returncode == 0, loading.stderr
    found = [json.loads(line) for line in loading.stdout.splitlines()]
    for name, ours, theirs in zip(names, expected, found, strict=True):
        for own, other in zip(ours, theirs, strict=True):
            assert_close(other, own, WHOLE_NETWORK, name=name)


def test_exported_gray_network_takes_gray_pixels(trial_of: Callable[[str], Trial]) -> None:
    """As files of the same pixels, in both ways to answer, and beside pictures that are refused."""
    folder = trial_of("lenet5").exported
    keep_one_warm_up(folder)
    [net] = json.loads((folder / "assets.extra/model.json").read_text())["nets"]
    assert net["picture_shape"] == [26, 26, 1]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 35, 1), dtype=np.uint8)
    files = tf.constant([tf.io.encode_png(picture).numpy() for picture in pixels])
    model = tf.saved_model.load(str(folder))
    expected = model.signatures["probabilities"](image_bytes=files)["probabilities"]
    version = LoadedVersion(folder)
    broken = np.full((1, 40, 35, 1), np.nan, np.float32)
    for name, dtype in (("images", np.uint8), ("float_images", np.float32)):
        own = pixels.astype(dtype)
        answer = model.signatures[name](images=tf.constant(own))
        assert_close(answer["probabilities"], expected, WHOLE_NETWORK)
        served = run_screened(version, name, {"images": np.concatenate([own, broken[: dtype is np.float32]])})
        assert_close(served["probabilities"][:2], expected, WHOLE_NETWORK)
        assert served["status"][:2].tolist() == [b"ok", b"ok"]
    assert served["status"][2] == b"damaged: a pixel is no finite number" and not served["probabilities"][2].any()
    for example, label in zip(version.examples, (0, 2), strict=True):  # the first of two classes of three
        shown = version.run("view", {"image_bytes": np.array([example.file], object)})
        assert example.label == label and shown["status"][0] == b"ok"
    seen = version.run("feature_maps", {"image_bytes": files.numpy()})
    assert seen["layers"].tolist() == 2 * [[b"c1", b"c3", b"c5"]]
    assert seen["shapes"][0].tolist() == [[28, 28, 6], [10, 10, 16], [1, 1, 120]]
    assert tf.io.decode_png(seen["png_bytes"][0, 2]).shape == (1, 120, 2)  # points stand in one row
    version.session.close()
