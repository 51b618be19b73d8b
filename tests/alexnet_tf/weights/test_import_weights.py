"""Published weights in and out: against OpenCV and PyTorch, from the picture's file to the probabilities."""

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
import torch
from PIL import Image

import export
import train
from alexnet_tf import evaluate, export_weights, import_weights
from alexnet_tf.evaluation.probabilities import prediction_function
from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.pictures.decoding import decode_picture
from alexnet_tf.pictures.resizing import picture_from_file
from alexnet_tf.program.errors import UserError
from alexnet_tf.runs.run import open_run
from alexnet_tf.towers import Towers
from alexnet_tf.weights.caffemodel import read_caffemodel
from tests.alexnet_tf.training.run_files import metrics, steps_of, tensors
from tests.alexnet_tf.weights.published_files import (
    ORDER,
    REST,
    Weights,
    caffe_weights,
    caffemodel,
    deploy_prototxt,
    field,
    torchvision_net,
    write_mean,
)
from tests.closeness import WHOLE_NETWORK, assert_close
from tests.slow_cases import slow
from tfrecords.manifest import load_manifest, shard_paths
from tfrecords.record_parsing import parse_example

CLASSES = 3  # those of tiny_data
SETTINGS = ["devices.towers=two-cpus", "data.batch_size=4", "data.eval_batch_size=6", "train.learning_rate=1e-7"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("published")
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return caffe_weights(CLASSES)


@pytest.fixture(scope="module")
def mean_bgr() -> np.ndarray:
    """A mean image with a color and a place for everything to be mixed up by: (3, 256, 256)."""
    rows, columns = np.mgrid[:256, :256] / 256
    return np.stack([60 + 40 * rows, 110 + 30 * columns, 140 - 50 * rows * columns]).astype(np.float32)


@pytest.fixture(scope="module")
def caffe_run(folder: Path, weights: Weights, mean_bgr: np.ndarray, tiny_data: Path) -> Path:
    """Of a file of the published form, with a mean image and a data set's classes."""
    (folder / "old.caffemodel").write_bytes(caffemodel(f"{ORDER['caffe']} {REST}", weights, old_form=True))
    write_mean(folder / "mean.binaryproto", mean_bgr)
    files = ["--caffemodel", str(folder / "old.caffemodel"), "--mean", str(folder / "mean.binaryproto")]
    assert import_weights.main([*files, "--run", str(folder / "caffe"), "--data", str(tiny_data), *SETTINGS]) == 0
    return folder / "caffe"


@pytest.fixture(scope="module")
def caffe_expected(caffe_run: Path, mean_bgr: np.ndarray) -> np.ndarray:
    """What OpenCV makes of the pictures with that file."""
    prototxt = deploy_prototxt(f"{ORDER['caffe']} {REST}", CLASSES)
    return opencv(caffe_run.with_name("old.caffemodel"), prototxt, pictures(), mean_bgr)


@pytest.fixture(scope="module")
def caffenet_run(folder: Path, weights: Weights) -> Path:
    """Of a file of today's form, without a mean image, its classes named by a list."""
    (folder / "new.caffemodel").write_bytes(caffemodel(f"{ORDER['caffenet']} {REST}", weights, old_form=False))
    (folder / "synset_words.txt").write_text("n01 tench, Tinca tinca\nn02 goldfish\n\nn03 shark\n")
    names = ["--classes", str(folder / "synset_words.txt")]
    run = ["--run", str(folder / "caffenet")]
    assert import_weights.main(["--caffemodel", str(folder / "new.caffemodel"), *run, *names, *SETTINGS]) == 0
    return folder / "caffenet"


@pytest.fixture(scope="module")
def owt_run(folder: Path, tiny_data: Path) -> Path:
    torch.save(torchvision_net(CLASSES).state_dict(), folder / "alexnet.pth")
    run = ["--run", str(folder / "owt"), "--data", str(tiny_data)]
    assert import_weights.main(["--torch", str(folder / "alexnet.pth"), *run, *SETTINGS]) == 0
    return folder / "owt"


def pictures() -> list[bytes]:
    """Three PNG files, colorful and of the stored size, so that no resizing blurs the comparison."""
    draw = np.random.default_rng(4)
    found = []
    for _ in range(3):
        coarse = Image.fromarray(draw.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def served(run: Path, files: list[bytes]) -> np.ndarray:
    """Probabilities from the exported model."""
    models = run.with_name(f"{run.name}-models")
    assert export.main(["--run", str(run), "--out", str(models)]) == 0
    signature = tf.saved_model.load(str(models / "1")).signatures["probabilities"]
    found = signature(image_bytes=tf.constant(files))["probabilities"].numpy()
    shutil.rmtree(models)
    return found


def predicted(run_path: Path, files: list[bytes]) -> np.ndarray:
    """The same by the run itself."""
    run = open_run(run_path)
    model, _ = trained_network(run, Towers.unplaced())
    pictures = tf.cast(tf.stack([picture_from_file(content, (256, 256, 3)) for content in files]), tf.uint8)
    return prediction_function(model, run.config.preset.augment, run.statistics)(pictures).numpy()


def opencv(caffemodel_file: Path, prototxt: str, files: list[bytes], mean: np.ndarray) -> np.ndarray:
    """Probabilities by OpenCV, from its own reading of both files; `mean` is BGR, (3, 256, 256) or (3, 1, 1)."""
    path = caffemodel_file.with_suffix(".prototxt")
    path.write_text(prototxt)
    net = cv2.dnn.readNetFromCaffe(str(path), str(caffemodel_file))
    found = []
    for content in files:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)  # (256, 256, 3), BGR
        planes = picture.transpose(2, 0, 1).astype(np.float32) - mean
        net.setInput(np.ascontiguousarray(planes[None, :, 14:241, 14:241]))
        found.append(net.forward()[0].copy())
    return np.array(found)


class TestCaffe:
    def test_published_form_agrees_with_opencv(self, caffe_run: Path, caffe_expected: np.ndarray) -> None:
        assert np.ptp(caffe_expected, axis=0).max() > 0.01  # the pictures are told apart
        assert_close(predicted(caffe_run, pictures()), caffe_expected, WHOLE_NETWORK)

    @pytest.mark.slow
    def test_the_exported_model_agrees_with_opencv(self, caffe_run: Path, caffe_expected: np.ndarray) -> None:
        assert_close(served(caffe_run, pictures()), caffe_expected, WHOLE_NETWORK)

    @pytest.mark.slow
    def test_caffenet_in_todays_form_agrees_with_opencv(self, caffenet_run: Path) -> None:
        color = np.array([104, 117, 123], np.float32).reshape(3, 1, 1)
        expected, other_order = (
            opencv(
                caffenet_run.with_name("new.caffemodel"),
                deploy_prototxt(f"{ORDER[preset]} {REST}", CLASSES),
                pictures(),
                color,
            )
            for preset in ("caffenet", "caffe")
        )
        assert_close(predicted(caffenet_run, pictures()), expected, WHOLE_NETWORK)
        assert np.abs(other_order - expected).max() > 1e-3  # else this could not tell the two nets apart
        classes = open_run(caffenet_run).classes
        assert classes.keys == ["n01", "n02", "n03"] and classes.names[0] == "tench, Tinca tinca"

    def test_evaluates(self, caffe_run: Path, mean_bgr: np.ndarray, tiny_data: Path) -> None:
        records = tf.data.TFRecordDataset([str(p) for p in shard_paths(tiny_data, load_manifest(tiny_data), "val")])
        examples = [parse_example(record) for record in records]
        decoded = [decode_picture(example["image"], "jpeg", (256, 256, 3)).numpy()[..., ::-1] for example in examples]
        files = [cv2.imencode(".png", picture)[1].tobytes() for picture in decoded]
        prototxt = deploy_prototxt(f"{ORDER['caffe']} {REST}", CLASSES)
        expected = opencv(caffe_run.with_name("old.caffemodel"), prototxt, files, mean_bgr)
        labels = [int(example["label"]) for example in examples]
        report = caffe_run.with_name("report.json")
        assert evaluate.main(["--run", str(caffe_run), "--json", str(report)]) == 0
        found = json.loads(report.read_text())
        assert found["images"] == len(labels) == 12
        assert found["loss"] == pytest.approx(-np.log(expected[range(12), labels]).mean(), rel=1e-4)

    def test_exported_files_are_equal_to_the_bit(
        self, caffe_run: Path, caffe_expected: np.ndarray, weights: Weights, mean_bgr: np.ndarray, tmp_path: Path
    ) -> None:
        """So importing them again makes the same run, and OpenCV runs the same net by the text that comes with it."""
        files = {name: tmp_path / name for name in ("net.caffemodel", "net.prototxt", "mean.binaryproto")}
        options = zip(("--caffemodel", "--prototxt", "--mean"), map(str, files.values()), strict=True)
        assert export_weights.main(["--run", str(caffe_run), *(part for pair in options for part in pair)]) == 0
        again = {layer.name: layer.blobs for layer in read_caffemodel(files["net.caffemodel"]) if layer.blobs}
        assert again.keys() == weights.keys()
        for name, blobs in weights.items():
            assert all(np.array_equal(*pair) for pair in zip(again[name], blobs, strict=True)), name
        assert files["mean.binaryproto"].read_bytes() == caffe_run.with_name("mean.binaryproto").read_bytes()
        found = opencv(files["net.caffemodel"], files["net.prototxt"].read_text(), pictures(), mean_bgr)
        np.testing.assert_array_equal(found, caffe_expected)
        files["net.caffemodel"].unlink()


class TestTorchvision:
    def test_agrees_with_pytorch(self, owt_run: Path) -> None:
        net = torchvision_net(CLASSES).eval()
        found = predicted(owt_run, pictures())
        planes = [np.asarray(Image.open(io.BytesIO(content)), np.float32) / 255 for content in pictures()]
        scaled = (np.array(planes) - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        cropped = torch.from_numpy(scaled[:, 16:240, 16:240].transpose(0, 3, 1, 2).astype(np.float32))
        with torch.no_grad():
            expected = torch.softmax(net(cropped), 1).numpy()
        assert np.ptp(expected, axis=0).max() > 0.01
        assert_close(found, expected, WHOLE_NETWORK)


@pytest.mark.parametrize("name", ["caffe_run", *slow("owt_run")])
def test_trains_on_from_the_imported_weights(name: str, request: pytest.FixtureRequest, folder: Path) -> None:
    run = folder / "trained"
    shutil.copytree(request.getfixturevalue(name), run, copy_function=os.link)
    assert train.main(["--config", str(run / "config.yaml"), "--run", str(run), "train.steps=2"]) == 0
    assert steps_of(run) == [0, 2]
    before, after = tensors(run, 0), tensors(run, 2)
    for tensor in (name for name in before if name.startswith("weights/") and "kernel" in name):
        change = np.linalg.norm(after[tensor] - before[tensor]) / np.linalg.norm(before[tensor])
        assert 0 < change < 0.5, tensor  # other weights would differ by 1.4
    assert metrics(run, "checkpoint")[-1]["step"] == 2
    shutil.rmtree(run)


def small(shapes: dict[str, tuple[int, ...]] | None = None, classes: int = 2) -> Weights:
    """Weights with all names but other shapes."""
    names = [*(f"conv{n}" for n in range(1, 6)), "fc6", "fc7", "fc8"]
    found = {name: (np.ones((2, 2, 1, 1), np.float32), np.ones(2, np.float32)) for name in names}
    return found | {name: (np.ones(shape, np.float32), np.ones(shape[0], np.float32)) for name, shape in
                    (shapes or {}).items()}  # fmt: skip


class TestFaults:
    """Each is told in one line, and nothing is left behind."""

    @pytest.fixture
    def refusal(self, tmp_path: Path) -> Callable[..., str]:
        def of(*arguments: str, run: Path = tmp_path / "run") -> str:
            with pytest.raises(UserError) as fault:
                import_weights.main([*arguments, "--run", str(run)])
            assert "\n" not in str(fault.value)
            assert not list(tmp_path.glob("*run*"))
            return str(fault.value)

        return of

    @pytest.fixture
    def file(self, tmp_path: Path) -> Callable[[bytes], str]:
        def of(content: bytes) -> str:
            (tmp_path / "net").write_bytes(content)
            return str(tmp_path / "net")

        return of

    def test_caffe_files(self, refusal: Callable, file: Callable, tmp_path: Path) -> None:
        whole = caffemodel(f"{ORDER['caffe']} {REST}", small(), old_form=False)
        assert "cannot be read" in refusal("--caffemodel", str(tmp_path / "none"))
        assert "ends early" in refusal("--caffemodel", file(whole[:-5]))
        assert "no protocol buffer" in refusal("--caffemodel", file(b"this is a text"))
        assert "holds no layers" in refusal("--caffemodel", file(b""))
        assert "conv1 has weights and bias of shape (2, 2, 1, 1)" in refusal("--caffemodel", file(whole))
        short = field(100, field(1, b"conv1") + field(7, field(5, b"1234") + field(7, field(1, b"\x02"))))
        assert "layer conv1 of" in (line := refusal("--caffemodel", file(short))) and "1 numbers for" in line
        no_fc7 = caffemodel("conv1 conv2 conv3 conv4 conv5 fc6 fc8", small(), old_form=True)
        assert "no weights fc7" in refusal("--caffemodel", file(no_fc7))
        extra = caffemodel(f"{REST} conv1 conv2 conv8", small() | {"conv8": small()["conv1"]}, old_form=True)
        assert "weights conv8, which" in refusal("--caffemodel", file(extra))
        silent = caffemodel("conv1 conv2 conv3 conv4 conv5 fc6 fc7 fc8", small(), old_form=True)
        assert "give --preset" in refusal("--caffemodel", file(silent))
        assert "which is caffe" in refusal("--caffemodel", file(whole), "--preset", "caffenet")

    def test_mean_files(self, refusal: Callable, file: Callable, tmp_path: Path) -> None:
        net = file(caffemodel(f"{ORDER['caffe']} {REST}", small(), old_form=True))
        mean = tmp_path / "mean"
        for content, message in (
            (np.zeros((3, 8, 8)), "a mean of 8x8 pixels"),
            (np.full((3, 256, 256), 300.0), "outside 0 to 255"),
            (np.full((3, 256, 256), np.nan), "outside 0 to 255"),
            (np.zeros((1, 256, 256)), "numbers of shape (1, 1, 256, 256)"),
        ):
            write_mean(mean, content)
            assert message in refusal("--caffemodel", net, "--mean", str(mean))

    def test_torch_files(self, refusal: Callable, file: Callable, tmp_path: Path) -> None:
        path = str(tmp_path / "net")
        layer = torch.nn.Conv2d(3, 4, 5)
        assert "cannot be read" in refusal("--torch", str(tmp_path / "none"))
        torch.save(layer.state_dict(), path)
        assert "no weights features.0.weight; it has weight, bias" in refusal("--torch", path)
        content = (tmp_path / "net").read_bytes()
        assert "damaged" in refusal("--torch", file(content[:-100]))
        assert "damaged" in refusal("--torch", file(b"text"))
        torch.save(layer, path)
        assert "holds torch.nn.modules.conv.Conv2d" in refusal("--torch", path)
        torch.save({"epoch": 3, "state_dict": layer.state_dict()}, path)
        assert "save model.state_dict() alone" in refusal("--torch", path)

    def test_another_number_of_classes(
        self, caffe_run: Path, refusal: Callable, tmp_path: Path, two_cpus: object
    ) -> None:
        net = str(caffe_run.with_name("old.caffemodel"))
        names = tmp_path / "names.txt"
        names.write_text("a one\nb two\n")
        assert "tells 3 classes apart" in (line := refusal("--caffemodel", net, "--classes", str(names)))
        assert "names.txt has 2" in line
        names.write_text("a one\nb two\na three\n")
        assert "key a twice" in refusal("--caffemodel", net, "--classes", str(names))
        assert "model.preset is caffe for these" in refusal("--caffemodel", net, "model.preset=paper")
        assert "unknown key train.lr" in refusal("--caffemodel", net, "train.lr=1")

    def test_existing_run_stays(self, caffe_run: Path) -> None:
        with pytest.raises(UserError, match="exists and stays"):
            import_weights.main(["--torch", "any", "--run", str(caffe_run)])

    def test_presets_without_caffes_layers_are_not_exported(self, owt_run: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="has preset owt; Caffe's layers can"):
            export_weights.main(["--run", str(owt_run), "--caffemodel", str(tmp_path / "F")])
