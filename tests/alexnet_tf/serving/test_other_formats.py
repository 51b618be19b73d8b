"""Exports as ONNX and LiteRT, each in its own run-time, on real pictures, by the very code of their README."""

import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import alexnet_tf
from alexnet_tf import export
from alexnet_tf.from_python.net import Net
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.run import open_run
from alexnet_tf.serving import other_formats
from alexnet_tf.serving.other_formats import export_other_format
from tests.alexnet_tf.serving.exported_models import Exported
from tests.alexnet_tf.training.made_runs import write_opinionated_run
from tests.conftest import convert_folder
from tfrecords.manifest import load_manifest

FORMATS = ("onnx", "litert")
MOST_OFF = 1e-4
"""Of a probability, between two engines on the same prepared pictures."""


@pytest.fixture(scope="module")
def gray_run(tiny_data: Path, two_cpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gray")
    for split in ("train", "val"):
        (root / split).symlink_to(tiny_data.parent / split)
    data = convert_folder(root, "--size=28", "--channels=1")
    write_opinionated_run(root / "run", data, load_manifest(data), "lenet5", two_cpus, seed=3)
    return root / "run"


@pytest.fixture(scope="module")
def pictures(real_data: Path) -> list[bytes]:
    """Twelve photographs, in color and of several sizes."""
    with tarfile.open(real_data / "imagenet_samples500.tar") as archive:
        members = [member for member in archive if member.name.endswith((".JPEG", ".jpg"))][::40][:12]
        files = [archive.extractfile(member) for member in members]
        return [file.read() for file in files if file is not None]


def needed(model_format: str) -> None:
    if model_format == "onnx":
        for package in ("tf2onnx", "onnxruntime"):
            pytest.importorskip(package, reason=f"NO ONNX: {package} is not installed")


def run_read_me(folder: Path, picture: bytes) -> dict[str, Any]:
    """Runs the Python code of a version's README.md in its folder, and returns its names."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    try:
        import ai_edge_litert  # noqa: F401
    except ImportError:  # TensorFlow still brings the same interpreter under its older name
        code = code.replace("from ai_edge_litert.interpreter import", "from tensorflow.lite.python.interpreter import")
    (folder / "cat.jpg").write_bytes(picture)
    names: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        exec(compile(code, "README.md", "exec"), names)
    finally:
        os.chdir(before)
        (folder / "cat.jpg").unlink()
    return names


def answers(folder: Path, model_format: str, views: np.ndarray) -> np.ndarray:
    """Of the format's own run-time."""
    if model_format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        return session.run(["probabilities"], {"views": views})[0]
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    return Interpreter(str(folder / "model.tflite")).get_signature_runner()(views=views)["probabilities"]


def check(net: Net, folder: Path, model_format: str, pictures: list[bytes], capsys: Any) -> None:
    images = net.prepare(pictures)
    expected = tf.nn.softmax(net.keras_model(images)).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01  # the pictures are told apart
    found = answers(folder, model_format, images)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= MOST_OFF
    names = run_read_me(folder, pictures[0])
    prepared, ours = names["prepare"](io.BytesIO(pictures[0])), images[0]
    gray_levels = np.abs(prepared - ours) * np.array(net._prepared().augment.color_divisors)
    assert prepared.shape == ours.shape and prepared.dtype == np.float32
    # Pillow's resizer rounds, and cuts what overshoots, between its two passes; another decoder would be 2 off in 8 %.
    assert gray_levels.mean() <= 0.5 and (gray_levels > 2.5).mean() <= 0.005
    assert np.abs(names["probabilities"][0] - expected[0]).max() <= 0.02
    assert names["names"] == net.classes.names
    assert capsys.readouterr().out.splitlines()[0].endswith(net.classes.names[expected[0].argmax()])


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize("model_format", FORMATS)
def test_a_gray_network_answers_the_same(
    gray_run: Path, model_format: str, pictures: list[bytes], tmp_path: Path, capsys
) -> None:
    needed(model_format)
    command = ["--run", str(gray_run), "--out", str(tmp_path / "digits"), "--format", model_format, "--license", "none"]
    assert export.main(command) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'digits/1'}\n"
    assert told.err == f"weights of run {gray_run}: step 1, epoch unknown, not validated\n"
    check(alexnet_tf.load(gray_run), tmp_path / "digits/1", model_format, pictures, capsys)
    assert json.loads((tmp_path / "digits/1/assets.extra/model.json").read_text())["license"] == "none"
    # A server would stumble over a version in another format; and `--keep` counts these as it does others.
    with pytest.raises(UserError, match=rf"digits holds a model of format {model_format} \(version 1\); give each"):
        export.main(command[:4])
    export_other_format(open_run(gray_run), tmp_path / "digits", model_format, keep=0)  # type: ignore[arg-type]
    assert [path.name for path in sorted((tmp_path / "digits").iterdir()) if path.name.isdecimal()] == ["2"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize("preset", ["2012-code", "caffenet", "owt"])
@pytest.mark.parametrize("model_format", FORMATS)
def test_every_other_kind_answers_the_same(
    export_of: Callable[[str], Exported], preset: str, model_format: str, pictures: list[bytes], tmp_path: Path, capsys
) -> None:
    needed(model_format)
    exported = export_of(preset)
    with pytest.MonkeyPatch.context() as patch:
        from tests.narrow_nets import shrink_net

        shrink_net(patch)
        folder = export_other_format(exported.run, tmp_path / "net", model_format)  # type: ignore[arg-type]
        check(alexnet_tf.load(exported.run.path), folder, model_format, pictures, capsys)


def test_what_is_missing_is_named(gray_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--format onnx is for one net; give a single --run"):
        export.main(["--run", str(gray_run), "--run", str(gray_run), "--out", str(tmp_path / "x"), "--format", "onnx"])
    found = other_formats.importlib.util.find_spec
    hidden = ("tf2onnx",)
    monkeypatch.setattr(
        other_formats.importlib.util, "find_spec", lambda name, *rest: None if name in hidden else found(name, *rest)
    )
    with pytest.raises(UserError, match=r"needs tf2onnx, which is not installed: pip install 'alexnet-tf\[onnx\]'"):
        export.main(["--run", str(gray_run), "--out", str(tmp_path / "x"), "--format", "onnx"])
    assert not (tmp_path / "x").exists()
    (tmp_path / "tf2onnx.py").write_text("raise TypeError('Descriptors cannot be created directly.')")  # as it happens
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "tf2onnx", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="--format onnx: tf2onnx could not convert the network"):
        export.main(["--run", str(gray_run), "--out", str(tmp_path / "x"), "--format", "onnx"])
    assert [path for path in (tmp_path / "x").iterdir() if not path.name.startswith(".")] == []
