"""Gray pictures, stored with one channel: from files to what the reader, TFDS and serving make of them."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from alexnet_tf.pictures.input_pipeline import evaluation_batches
from alexnet_tf.pictures.resizing import picture_from_file
from alexnet_tf.program.errors import UserError
from tests.tfrecords.odd_pictures import file_bytes
from tfrecords import convert, verify
from tfrecords.manifest import load_manifest
from tfrecords.output_folder import IDENTITY_FILE, WORK_FOLDER, unfinished_output
from tfrecords.pictures import load_picture, load_square
from tfrecords.statistics import STATISTICS_FILE, Statistics

SIZE = 28


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of gray digits' size, and a colored picture among them."""
    root = tmp_path_factory.mktemp("gray")
    draw = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for key in ("0", "1"):
            (root / split / key).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(smooth(draw)).save(root / split / key / f"{number}.png")
    Image.fromarray(smooth(draw)).convert("RGB").save(root / "train" / "0" / "colored.png")
    out, folders = root / "data", [f"--{split}={root / split}" for split in ("train", "val")]
    options = [f"--out={out}", f"--size={SIZE}", "--channels=1", f"--encoding={request.param}", "--workers=1"]
    assert convert.main(["folder", *folders, *options]) == 0
    return out


def smooth(draw: np.random.Generator) -> np.ndarray:
    return np.asarray(Image.fromarray(draw.integers(0, 256, (5, 5), dtype=np.uint8)).resize((SIZE, SIZE)))


def test_reader_gives_what_was_there(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_manifest(data).picture_shape == (SIZE, SIZE, 1)
    ((pictures, labels),) = evaluation_batches(data, load_manifest(data), split="val", batch_size=10)
    files = sorted((data.parent / "val").rglob("*.png"))
    originals = np.stack([np.asarray(Image.open(file)) for file in files])[..., None]
    off = np.abs(pictures.numpy().astype(int) - originals).max()
    assert off == 0 if load_manifest(data).encoding == "raw" else off <= 6
    assert labels.numpy().tolist() == [int(file.parent.name) for file in files]
    assert verify.main([str(data)]) == 0 and "all sound" in capsys.readouterr().out
    assert verify.main([str(data), "--sample", "4"]) == 0


def test_statistics_are_those_of_gray(data: Path) -> None:
    statistics = Statistics.load(data / STATISTICS_FILE)
    files = sorted((data.parent / "train").rglob("*.png"))
    pictures = np.stack([load_picture(file.read_bytes(), SIZE, 1) for file in files]).astype(np.float64)
    np.testing.assert_allclose(statistics.mean_image, pictures.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.covariance, [[pictures.var()]], rtol=1e-12)
    assert statistics.eigenvectors.tolist() == [[1.0]]


def test_tfds_opens_them(data: Path) -> None:
    builder = tfds.builder_from_directory(data)
    first = next(iter(builder.as_dataset(split="val", shuffle_files=False)))
    assert first["image"].shape == (SIZE, SIZE, 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_serving_makes_the_same_gray_of_colors(kind: str) -> None:
    colored = np.random.default_rng(3).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    picture = Image.fromarray(colored).resize((50, 40), Image.Resampling.BICUBIC)
    file = file_bytes(picture, kind)
    stored = load_picture(file, SIZE, 1).astype(int)
    assert np.abs(picture_from_file(tf.constant(file), (SIZE, SIZE, 1)).numpy() - stored).max() <= 1
    repairs: list[str] = []
    load_square(file, SIZE, repairs, channels=1)
    assert repairs == ["color to gray"]


def test_gray_stays_as_it_is() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    file, repairs = file_bytes(Image.fromarray(gray)), []
    assert np.array_equal(np.asarray(load_square(file, 16, repairs, channels=1)), gray) and repairs == []
    assert np.array_equal(picture_from_file(tf.constant(file), (16, 16, 1)).numpy()[..., 0], gray)


def test_conversion_begun_in_color_is_not_gone_on_with_in_gray(tmp_path: Path) -> None:
    """Nor turned pictures with others; nor one of a version that knew neither, which did not tell."""
    begun: dict = {"options": {"size": 28}, "pictures": {}, "libraries": {}}
    out = tmp_path / "data"
    (out / WORK_FOLDER).mkdir(parents=True)
    (out / WORK_FOLDER / "lock").touch()
    (out / WORK_FOLDER / IDENTITY_FILE).write_text('{"options": {"size": 28}, "pictures": {}, "libraries": {}}')
    (out / WORK_FOLDER / "train-00000-of-00001.finished.npz").touch()
    with unfinished_output(out, {**begun, "options": {"size": 28, "channels": 3, "exif": "ignore"}}):
        pass
    with (
        pytest.raises(UserError, match="other options, channels 3 instead of 1"),
        unfinished_output(out, {**begun, "options": {"size": 28, "channels": 1}}),
    ):
        pass
    with (
        pytest.raises(
            UserError, match=r"other options, exif ignore instead of apply: .*\(perhaps with --exif ignore\)"
        ),
        unfinished_output(out, {**begun, "options": {"size": 28, "channels": 3, "exif": "apply"}}),
    ):
        pass
