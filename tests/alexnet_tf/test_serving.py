"""The exported model against evaluation, against the converter, and in a process that knows nothing of this project."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

import export
import train
from alexnet_tf import predict
from alexnet_tf.devices import Towers
from alexnet_tf.errors import UserError
from alexnet_tf.evaluate import class_probabilities, prediction_function
from alexnet_tf.input_pipeline import evaluation_batches, picture_from_file
from alexnet_tf.workdir import open_run
from tfrecords.manifest import load_manifest, shard_paths
from tfrecords.pictures import load_picture
from tfrecords.schema import parse_example


@pytest.fixture(scope="module", params=["paper", "2012-code"])
def run(request: pytest.FixtureRequest, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory):
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("served")
    config = folder / "config.yaml"
    config.write_text(
        f"model: {{preset: {request.param}}}\ndata: {{dir: {tiny_data}, batch_size: 4}}\n"
        "train: {steps: 2, epochs: 1}\ndevices: {towers: two-cpus}\n"
    )
    assert train.main(["--config", str(config), "--run", str(folder / "run")]) == 0
    yield open_run(folder / "run")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def models(run) -> Path:
    """An exported model with one version."""
    out = run.path.parent / "models" / "alexnet"
    assert export.main(["--run", str(run.path), "--out", str(out)]) == 0
    return out


def stored_pictures(data: Path) -> list[bytes]:
    records = tf.data.TFRecordDataset([str(path) for path in shard_paths(data, load_manifest(data), "val")])
    return [parse_example(record)["image"].numpy() for record in records]


def test_stored_pictures_get_the_probabilities_of_evaluation(run, models: Path, tiny_data: Path) -> None:
    model, _ = run.load_model(Towers.unplaced())
    batches = evaluation_batches(
        tiny_data,
        load_manifest(tiny_data),
        run.statistics,
        run.config.preset.augment,
        split="val",
        views=1,
        batch_size=5,
    )
    expected, _ = class_probabilities(prediction_function(model), batches)
    served = tf.saved_model.load(str(models / "1")).signatures["probabilities"]
    found = served(image_bytes=tf.constant(stored_pictures(tiny_data)))["probabilities"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-4  # pictures are told apart at all


def test_loads_where_only_tensorflow_is_known(run, models: Path, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(stored_pictures(tiny_data)[0])
    program = """
import sys, json, tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
answer = served(image_bytes=tf.constant([open(sys.argv[2], "rb").read()] * 3))
assert not any(name.split(".")[0] in ("alexnet_tf", "tfrecords") for name in sys.modules)
print(json.dumps({key: value.numpy()[2].tolist() if value.dtype != tf.string else
                  [text.decode() for text in value.numpy()[2]] for key, value in answer.items()}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(models / "1"), str(tmp_path / "picture.jpg")],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout.splitlines()[-1])
    assert sorted(answer["labels"]) == ["ant", "bee", "cat"] == sorted(answer["classes"])
    assert answer["scores"] == sorted(answer["scores"], reverse=True)
    assert sum(answer["scores"]) == pytest.approx(1.0, abs=1e-5)


def test_no_node_has_a_device(models: Path) -> None:
    proto = saved_model_pb2.SavedModel.FromString((models / "1" / "saved_model.pb").read_bytes())
    graphs = [meta.graph_def for meta in proto.meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    assert len(nodes) > 100 and not [node.name for node in nodes if node.device]


def test_versions_count_up_and_are_never_overwritten(run, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in (models / "1").rglob("*")}
    with pytest.raises(UserError, match=r"/1 exists and stays"):
        export.main(["--run", str(run.path), "--out", str(models), "--version", "1"])

    def disk_full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tf.saved_model, "save", disk_full)
        with pytest.raises(OSError):
            export.main(["--run", str(run.path), "--out", str(models)])
    assert [path.name for path in models.iterdir()] == ["1"]
    assert before == {path: path.stat().st_mtime_ns for path in (models / "1").rglob("*")}


@pytest.mark.parametrize(("width", "height"), [(256, 256), (500, 375), (333, 500), (64, 64), (257, 256), (90, 700)])
@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA")])
def test_files_are_prepared_as_the_converter_does(width: int, height: int, kind: str, mode: str) -> None:
    draw = np.random.default_rng(width * height)
    coarse = draw.integers(0, 256, (max(2, height // 9), max(2, width // 9), 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    served = picture_from_file(tf.constant(buffer.getvalue())).numpy()
    difference = np.abs(served - load_picture(buffer.getvalue(), 256).astype(np.float32))
    # Pillow rounds between its two passes; decoders of chroma may differ by a level as well.
    assert difference.max() <= 4 and difference.mean() < 0.6


def test_predict_names_pictures(models: Path, tiny_data: Path, tmp_path: Path, capsys) -> None:
    picture = tmp_path / "some picture.jpg"
    picture.write_bytes(stored_pictures(tiny_data)[0])
    assert predict.main(["--model", str(models), "--json", "--top", "2", str(picture)]) == 0
    (top,) = json.loads(capsys.readouterr().out).values()
    assert len(top) == 2 and set(top[0]) == {"label", "name", "probability"}
    assert top[0]["probability"] >= top[1]["probability"]
    assert predict.main(["--model", str(models), str(picture)]) == 0
    assert top[0]["name"] in capsys.readouterr().out.splitlines()[1]


def test_predict_names_what_is_wrong(models: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    with pytest.raises(UserError, match=r"notes\.jpg is no readable"):
        predict.main(["--model", str(models), str(text)])
    with pytest.raises(UserError, match=r"missing\.jpg cannot be read"):
        predict.main(["--model", str(models), str(tmp_path / "missing.jpg")])
    with pytest.raises(UserError, match="holds no exported model"):
        predict.main(["--model", str(tmp_path), str(text)])
