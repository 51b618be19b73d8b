"""alexnet_tf.load: what it takes, what it gives, and what it says of what it cannot use."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import alexnet_tf
from alexnet_tf import predict
from alexnet_tf.evaluation.probabilities import class_probabilities, prediction_function
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.from_python.net import Net
from alexnet_tf.pictures.input_pipeline import evaluation_batches, training_batches
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.classes import load_classes
from alexnet_tf.runs.metrics import read_metrics
from alexnet_tf.runs.run import open_run
from alexnet_tf.serving.export import export_run
from alexnet_tf.serving.exported_model import ExportedModel
from alexnet_tf.serving.versions import MODEL_FILE, newest_version
from alexnet_tf.settings.config import load_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from tests.alexnet_tf.serving.made_exports import write_export
from tests.alexnet_tf.serving.pictures import encoded, smooth
from tests.alexnet_tf.training.made_runs import write_opinionated_run
from tests.closeness import ONE_LAYER, WHOLE_NETWORK, assert_close
from tests.conftest import convert_folder
from tfrecords.manifest import check_shards, load_manifest, shard_paths
from tfrecords.record_parsing import parse_example
from tfrecords.statistics import Statistics
from tfrecords.whole_check import find_faults

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(tiny_data: Path, two_cpus: Towers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of gray pictures, `run`, and their records, `data`."""
    root = tmp_path_factory.mktemp("gray")
    for split in ("train", "val"):
        (root / split).symlink_to(tiny_data.parent / split)
    data = convert_folder(root, "--size=28", "--channels=1")
    # Paths are text here, as a notebook has them.
    write_opinionated_run(f"{root}/run", data, load_manifest(str(data)), "lenet5", two_cpus, seed=3)
    return root


@pytest.fixture(scope="module")
def models(folder: Path) -> Path:
    """The run's export."""
    export_run([open_run(f"{folder}/run")], f"{folder}/models", None)
    return folder / "models"


@pytest.fixture(scope="module")
def files(tiny_data: Path) -> list[Path]:
    return sorted((tiny_data.parent / "val").rglob("*.png"))[::3]


@pytest.fixture(scope="module")
def net(folder: Path) -> Iterator[Net]:
    yield alexnet_tf.load(str(folder / "run"))


@pytest.fixture(scope="module")
def exported(models: Path) -> Iterator[Net]:
    yield alexnet_tf.load(models)


def test_importing_loads_no_tensorflow() -> None:
    code = "import sys, alexnet_tf; print(callable(alexnet_tf.load), {'tensorflow', 'keras', 'numpy'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True set()\n"


def test_a_run_answers_as_evaluation_does(net: Net, folder: Path) -> None:
    """Of the very files that the records hold."""
    data, run = folder / "data", open_run(folder / "run")
    manifest = load_manifest(data)
    records = tf.data.TFRecordDataset([str(path) for path in shard_paths(data, manifest, "val")])
    files = [parse_example(record)["image"].numpy() for record in records]
    for views in (1, 10):
        network, _ = trained_network(run, Towers.unplaced())
        forward = prediction_function(network, run.config.preset.augment, run.statistics, views)
        batches = evaluation_batches(data, manifest, split="val", batch_size=12)
        expected, _ = class_probabilities(forward, batches)
        found = net.predict(files, views).probabilities
        assert_close(found, expected, WHOLE_NETWORK)
        assert np.ptp(found, axis=0).max() > 0.01  # the pictures are told apart
    for layer in net.feature_layers:
        expected = network.concatenate_features(network.features(net.prepare(files), layer))
        assert_close(net.features(files, layer), expected, WHOLE_NETWORK, name=layer)


@pytest.mark.slow
def test_a_run_answers_as_the_command_predict_does(net: Net, models: Path, files: list[Path], capsys) -> None:
    assert predict.main(["--model", str(models), "--json", *map(str, files)]) == 0
    expected = json.loads(capsys.readouterr().out)
    found = net.predict(files)
    labels, names, probabilities = found
    assert probabilities.shape == (4, 3)
    assert_close(probabilities.sum(axis=1), np.ones(4), ONE_LAYER)
    for path, top, label, name in zip(files, found.top(), labels, names, strict=True):
        of_command = expected[str(path)]
        assert (label, name) == (of_command[0]["label"], of_command[0]["name"])
        assert [answer["label"] for answer in top] == [answer["label"] for answer in of_command]
        shares = [[answer["probability"] for answer in answers] for answers in (top, of_command)]
        np.testing.assert_allclose(*shares, atol=2e-6)  # printed with six digits
    assert net.classes.keys == ["ant", "bee", "cat"]


@pytest.mark.slow
def test_an_exported_model_is_the_run(net: Net, exported: Net, files: list[Path]) -> None:
    assert "exported model" in repr(exported) and "step 1" in repr(net)
    for views in (1, 10):
        expected = net.predict(files, views).probabilities
        assert_close(exported.predict(files, views).probabilities, expected, WHOLE_NETWORK)
    assert exported.number_of_views() == net.number_of_views() == 5
    for layer in net.feature_layers:
        assert_close(exported.features(files, layer), net.features(files, layer), WHOLE_NETWORK, name=layer)
    assert np.array_equal(exported.prepare(files), net.prepare(files))


def test_the_readme_runs(folder: Path, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From Python")[2]
    (code, *_) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for name in ("cat.jpg", "dog.png"):
        shutil.copy(files[0], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code.replace("runs/paper", str(folder / "run")).replace("fc7", "f6"), names)  # another network's layer
    assert len(names["labels"]) == len(names["names"]) == len(names["probabilities"]) == 2  # type: ignore[arg-type]
    images = alexnet_tf.load(folder / "run").prepare("cat.jpg")
    assert_close(keras.models.load_model("net.keras")(images), names["model"](images), WHOLE_NETWORK)  # type: ignore[operator]


def test_pictures_come_in_every_form(net: Net, files: list[Path], tmp_path: Path) -> None:
    path = files[0]
    expected = net.predict(path).probabilities
    assert expected.shape == (1, 3)
    with Image.open(path) as picture:
        color, pixels = picture.copy(), np.asarray(picture)
    for form in (
        str(path),
        [str(path)],
        np.array([str(path)]),
        path.read_bytes(),
        pixels,
        [pixels],
        pixels[None],
        color,
    ):
        assert np.array_equal(net.predict(form).probabilities, expected)
    palette = color.convert("P")
    assert np.array_equal(
        net.predict(palette).probabilities, net.predict(np.asarray(palette.convert("RGB"))).probabilities
    )
    gray = np.asarray(color.convert("L"))
    expected = net.predict(np.stack([gray] * 3, axis=-1)).probabilities
    for form in (gray, gray[..., None], gray[None], (gray for _ in range(1))):
        assert np.array_equal(net.predict(form).probabilities, expected)
    sizes = [path, pixels[:100], gray[:40, :30], *([path] * 40)]  # more than one call of the network
    assert net.predict(sizes).probabilities.shape == (43, 3)
    assert net.predict([]).probabilities.shape == (0, 3) and net.features([], "f6").shape == (0, 84)
    assert net.prepare([]).shape == (0, 26, 26, 1)


@pytest.mark.slow
def test_pictures_are_turned_where_the_training_pictures_were(net: Net, tmp_path: Path) -> None:
    upright = smooth("RGB")
    lying, exif = upright.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # a quarter to the right brings it upright
    lying.save(tmp_path / "phone.jpg", quality=100, subsampling=0, exif=exif)
    lying.save(tmp_path / "phone.webp", lossless=True, exif=exif)
    prepared = replace(net._prepared(), exif="apply")
    turning = Net("", net.classes, prepared.answer, lambda: prepared, "apply")
    paths = [tmp_path / "phone.jpg", tmp_path / "phone.webp"]
    for path, (gray_levels, divisor) in zip(paths, ((4, 78.6), (0.1, 78.6)), strict=True):
        upright_images, lying_images = (net.prepare(np.asarray(one)) for one in (upright, lying))
        assert np.abs(turning.prepare(path) - upright_images).max() * divisor <= gray_levels
        assert np.abs(net.prepare(path) - lying_images).max() * divisor <= gray_levels


def test_bad_pictures_are_named(net: Net, files: list[Path], tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    thin = encoded(smooth("RGB", (2, 300)), "PNG")
    for pictures, message in (
        (text, f"picture {text}: no JPEG, PNG or GIF file"),
        ([files[0], "missing.jpg"], "picture missing.jpg cannot be read: No such file"),
        (tmp_path, f"picture {tmp_path}: is a folder; give its files"),
        ([files[0], thin], "picture 1: too thin: 300x2 pixels"),
        (np.zeros((9, 9, 3), np.float32), "picture 0: its pixels are float32; give them as uint8"),
        (np.zeros((9, 9, 4), np.uint8), r"picture 0: it has shape \(9, 9, 4\); give"),
        (np.zeros((0, 9, 3), np.uint8), r"picture 0: it has shape \(0, 9, 3\); give"),
        (7, "pictures: give paths of files or uint8 arrays, not int"),
        ([files[0], None], "picture 1: give a file's path or a uint8 array, not NoneType"),
    ):
        with pytest.raises(UserError, match=message):
            net.predict(pictures)
    with pytest.raises(UserError, match="views is 5: give 1 or 10"):
        net.predict(files, views=5)
    with pytest.raises(UserError, match="features of 'fc7': this network gives those of s2, s4, c5, f6; for other"):
        net.features(files, "fc7")


def test_a_preset_has_fresh_weights() -> None:
    first, second = (alexnet_tf.load("lenet5", classes=["zero", "one"], seed=seed) for seed in (1, 2))
    picture = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    assert first.classes.names == ["zero", "one"] and "fresh weights" in repr(first)
    assert np.ptp([first.predict(picture).probabilities, second.predict(picture).probabilities], axis=0).max() > 0
    assert len(alexnet_tf.load("lenet5").classes.keys) == 10


def test_other_things_are_named(folder: Path, tmp_path: Path) -> None:
    for source, message in (
        ("runs/none", "runs/none does not exist, and no preset is called so; give .* or one of paper, "),
        (folder / "data", "holds converted data; train a run on it"),
        (tmp_path, "is neither a run's folder nor an exported model's"),
        ("x.keras", "does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            alexnet_tf.load(source)
    (tmp_path / "onnx/1").mkdir(parents=True)
    (tmp_path / "onnx/1/model.onnx").touch()
    with pytest.raises(UserError, match=r"is a model of format onnx: its README\.md says how to run it"):
        alexnet_tf.load(tmp_path / "onnx")
    (tmp_path / "x.keras").touch()
    with pytest.raises(UserError, match=r"is a Keras model: keras\.models\.load_model reads it"):
        alexnet_tf.load(tmp_path / "x.keras")
    with pytest.raises(UserError, match="classes and seed are for a preset's fresh weights"):
        alexnet_tf.load(folder / "run", classes=4)
    with pytest.raises(UserError, match='checkpoint is \'newest\': give "best" or "latest"'):
        alexnet_tf.load(folder / "run", "newest")  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_export_of_an_earlier_version_only_predicts(
    models: Path, files: list[Path], net: Net, tmp_path: Path
) -> None:
    version = tmp_path / "1"
    version.symlink_to(models / "1")
    older = tmp_path / "older"
    shutil.copytree(models / "1", older)
    told = json.loads((older / MODEL_FILE).read_text())
    del told["nets"][0]["config"]
    (older / MODEL_FILE).write_text(json.dumps(told))
    found = alexnet_tf.load(older)
    assert_close(found.predict(files).probabilities, net.predict(files).probabilities, WHOLE_NETWORK)
    with pytest.raises(
        UserError, match="was exported by an earlier version and only predicts; load its run, or export"
    ):
        found.keras_model  # noqa: B018
    (older / MODEL_FILE).write_text(json.dumps({"nets": [{}, {}]}))
    with pytest.raises(
        UserError, match="is an ensemble of 2 nets, it only predicts; load one of its runs for the rest"
    ):
        alexnet_tf.load(older).prepare(files)
    assert ExportedModel(str(models)).classes == net.classes
    assert alexnet_tf.load(version).keras_model.picture_shape == (26, 26, 1)


def test_paths_are_text_elsewhere_too(folder: Path, tmp_path: Path) -> None:
    data = str(folder / "data")
    manifest, statistics = load_manifest(data), Statistics.load(f"{data}/statistics.npz")
    assert next(iter(evaluation_batches(data, manifest, split="val", batch_size=2)))[0].shape == (2, 28, 28, 1)
    augment = PRESETS["lenet5"].augment
    batches = training_batches(data, manifest, statistics, augment, batch_size=2, seed=0, shuffle_buffer=9)
    assert next(iter(batches))[0].images.shape == (2, 26, 26, 1)
    check_shards(data, manifest, "train")
    assert [*find_faults(data, manifest)] == []
    statistics.save(f"{tmp_path}/copy.npz")
    assert Statistics.load(f"{tmp_path}/copy.npz").digest() == statistics.digest()
    assert load_config(f"{folder}/run/config.yaml").model.preset == "lenet5"
    assert load_classes(f"{folder}/run/classes.json", "").keys == manifest.class_keys
    write_export(tmp_path / "models/3")
    assert newest_version(f"{tmp_path}/models").name == "3"
    (tmp_path / "metrics.jsonl").touch()
    assert read_metrics(f"{tmp_path}/metrics.jsonl") == ([], [])


def test_training_the_keras_model_changes_the_answers(folder: Path, files: list[Path]) -> None:
    net = alexnet_tf.load(folder / "run")
    before = net.predict(files).probabilities
    model = net.keras_model
    model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(net.prepare(files), np.arange(4) % 3, verbose=0)
    assert np.abs(net.predict(files).probabilities - before).max() > 1e-4
