"""Every signature against evaluation, against NumPy and Pillow; bad pictures among good ones."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf.evaluation.activations import look_inside
from alexnet_tf.evaluation.error_rates import error_rates
from alexnet_tf.evaluation.probabilities import class_probabilities, prediction_function
from alexnet_tf.serving.exported_model import ExportedModel
from alexnet_tf.serving.picture_files import OK
from alexnet_tf.serving.signatures import TOP
from tests.alexnet_tf.serving.exported_models import CLASSES, Exported, center_views, validation_batches
from tests.alexnet_tf.serving.pictures import encoded, smooth
from tests.closeness import WHOLE_NETWORK, assert_close
from tfrecords.exif import EXIF, exif_with
from tfrecords.pictures import load_picture
from tfrecords.schema import encode_example

FILE_SIGNATURES = ["serving_default", "probabilities", "ten_view", "features", "view", "feature_maps", "grad_cam"]


def png(pixels: np.ndarray) -> bytes:
    return encoded(Image.fromarray(pixels), "PNG")


def texts(tensor: tf.Tensor) -> np.ndarray:
    return np.vectorize(bytes.decode, otypes=[object])(tensor.numpy())


def examples(files: list[bytes]) -> tf.Tensor:
    return tf.constant([encode_example(file, 0, "any name") for file in files])


def test_stored_pictures_are_answered_as_evaluation_does(
    exported: Exported, stored_pictures: list[bytes], tiny_data: Path
) -> None:
    assert_as_evaluation(exported, stored_pictures, tiny_data, "probabilities", 1)


def test_ten_views_are_answered_as_evaluation_does(
    program: Exported, stored_pictures: list[bytes], tiny_data: Path
) -> None:
    assert_as_evaluation(program, stored_pictures, tiny_data, "ten_view", 10)


def assert_as_evaluation(exported: Exported, pictures: list[bytes], data: Path, signature: str, views: int) -> None:
    forward = prediction_function(exported.net, exported.run.config.preset.augment, exported.run.statistics, views)
    expected, labels = class_probabilities(forward, validation_batches(data))
    served = exported.signature(signature)(image_bytes=tf.constant(pictures))
    found = served["probabilities"].numpy()
    assert_close(found, expected, WHOLE_NETWORK)
    assert set(served["status"].numpy()) == {OK.encode()}
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    assert error_rates(found, labels).top1_error == error_rates(expected, labels).top1_error
    assert np.ptp(expected, axis=0).max() > 0.05  # pictures are told apart


def test_the_five_most_probable_classes_are_named(program: Exported, stored_pictures: list[bytes]) -> None:
    files = tf.constant(stored_pictures)
    probabilities = program.signature("probabilities")(image_bytes=files)["probabilities"].numpy()
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
    named = program.signature("serving_default")(image_bytes=files)
    np.testing.assert_array_equal(texts(named["labels"]), np.array(program.run.classes.keys)[order])
    np.testing.assert_array_equal(texts(named["classes"]), np.array(program.run.classes.names)[order])
    assert_close(named["scores"], np.take_along_axis(probabilities, order, axis=1), WHOLE_NETWORK)
    classified = program.signature("classify")(inputs=examples(stored_pictures))
    assert set(classified) == {"classes", "scores"}  # TensorFlow Serving takes these two and no more
    np.testing.assert_array_equal(texts(classified["classes"]), texts(named["classes"]))
    assert_close(classified["scores"], named["scores"], WHOLE_NETWORK)


def test_fc8_makes_the_probabilities_of_the_features(exported: Exported, stored_pictures: list[bytes]) -> None:
    files = tf.constant(stored_pictures[:3])
    features = exported.signature("features")(image_bytes=files)["features"].numpy()
    assert features.shape[0] == 3 and (features >= 0).all() and (features > 0).any()
    weights = {variable.name: variable for variable in exported.net.fc8.variables}
    kernel, bias = (next(v for name, v in weights.items() if key in name) for key in ("kernel", "bias"))
    at_test = 0.5 if exported.run.config.model.preset in ("paper", "2012-code") else 1  # the others scale in training
    logits = at_test * features.astype(np.float64) @ np.asarray(kernel) + np.asarray(bias)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = exported.signature("probabilities")(image_bytes=files)["probabilities"]
    assert_close(found, softmax, WHOLE_NETWORK)


def test_pixels_are_answered_as_their_files(program: Exported) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 300, 270, 3), dtype=np.uint8)
    files = tf.constant([png(picture) for picture in pixels])
    expected = program.signature("probabilities")(image_bytes=files)["probabilities"]
    for name, dtype in (("images", np.uint8), ("float_images", np.float32)):
        found = program.signature(name)(images=tf.constant(pixels.astype(dtype)))
        assert_close(found["probabilities"], expected, WHOLE_NETWORK)
        assert set(found["status"].numpy()) == {b"ok"}


def test_the_view_is_what_the_network_sees(program: Exported) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    photograph = encoded(smooth("RGB", (300, 500)), "PNG")
    answer = program.signature("view")(image_bytes=tf.constant([png(pixels), b"?", photograph]))
    first, none, second = answer["png_bytes"].numpy()
    assert none == b"" and answer["status"].numpy()[1].startswith(b"no JPEG")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(first))), pixels[16:240, 16:240])
    expected = load_picture(photograph, 256)[16:240, 16:240].astype(float)
    assert np.abs(np.asarray(Image.open(io.BytesIO(second))) - expected).max() <= 2


def test_its_inside_is_what_a_report_shows(program: Exported, stored_pictures: list[bytes], tiny_data: Path) -> None:
    seen = look_inside(program.net, center_views(program, tiny_data)[:2])
    files = tf.constant(stored_pictures[:2])
    cam = program.signature("grad_cam")(image_bytes=files)
    assert_close(cam["heat"], seen.heat, WHOLE_NETWORK)
    assert seen.heat.numpy().max() > 0
    labels = seen.labels.numpy()
    assert texts(cam["class"]).tolist() == [program.run.classes.names[label] for label in labels]
    assert texts(cam["label"]).tolist() == [program.run.classes.keys[label] for label in labels]
    assert_close(cam["score"], tf.nn.softmax(seen.logits).numpy().max(axis=1), WHOLE_NETWORK)
    maps = program.signature("feature_maps")(image_bytes=files)
    names = [f"conv{number} {tower}" for number in range(1, 6) for tower in "ab"]
    assert texts(maps["layers"]).tolist() == [names, names]
    for place, name in enumerate(names):
        layer, tower = name.split()
        expected = seen.outputs[layer]["ab".index(tower)].numpy()
        assert maps["shapes"].numpy()[1, place].tolist() == list(expected.shape[1:])
        shown = np.asarray(Image.open(io.BytesIO(maps["png_bytes"].numpy()[1, place])))
        assert_tiles(shown, expected[1])


def assert_tiles(shown: np.ndarray, maps: np.ndarray) -> None:
    """A picture of gray and opacity, six maps in a row, those that vary most first; by NumPy."""
    height, width, _ = maps.shape
    gap = max(1, width // 14)
    order = np.argsort(-maps.var(axis=(0, 1)), kind="stable")[:12]
    assert shown.shape == ((2 * height + gap), 6 * width + 5 * gap, 2)
    for number, place in enumerate(order):
        top, left = number // 6 * (height + gap), number % 6 * (width + gap)
        tile = shown[top : top + height, left : left + width]
        low, high = maps[..., place].min(), maps[..., place].max()
        assert np.abs(tile[..., 0] - 255 * (maps[..., place] - low) / max(high - low, 1e-12)).max() <= 1
        assert (tile[..., 1] == 255).all()
    assert not shown[height : height + gap].any() and not shown[:, width : width + gap].any()
    assert shown[..., 1].sum() == 255 * len(order) * height * width


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pictures_are_turned_as_their_data_were(program: Exported, kind: str) -> None:
    """By the model's own metadata, and as the converter turns them."""
    before = EXIF if kind == "JPEG" else b""
    picture = smooth("RGB", (301, 500))
    files = [encoded(picture, kind, exif=before + exif_with(orientation)) for orientation in range(1, 9)]
    views = program.signature("view")(image_bytes=tf.constant(files))["png_bytes"].numpy()
    for file, view in zip(files, views, strict=True):
        expected = load_picture(file, 256, exif="apply")[16:240, 16:240].astype(float)
        assert np.abs(np.asarray(Image.open(io.BytesIO(view))) - expected).max() <= 2
    assert len({view for view in views}) == 8
    assert ExportedModel(program.models).exif == "apply"


def test_network_takes_prepared_views(program: Exported, stored_pictures: list[bytes], tiny_data: Path) -> None:
    found = program.signature("network")(views=center_views(program, tiny_data))["probabilities"]
    expected = program.signature("probabilities")(image_bytes=tf.constant(stored_pictures))["probabilities"]
    assert_close(found, expected, WHOLE_NETWORK)


@pytest.mark.parametrize("signature", FILE_SIGNATURES)
def test_bad_pictures_harm_no_neighbor(program: Exported, stored_pictures: list[bytes], signature: str) -> None:
    good = stored_pictures[:3]
    bad = [b"", b"hello", good[0][: len(good[0]) // 2]]
    alone = program.signature(signature)(image_bytes=tf.constant(good))
    mixed = program.signature(signature)(image_bytes=tf.constant([bad[0], good[0], bad[1], good[1], good[2], bad[2]]))
    places = [1, 3, 4]
    for key, value in mixed.items():
        among, by_itself = value.numpy()[places], alone[key].numpy()
        if value.dtype == tf.string:
            np.testing.assert_array_equal(among, by_itself)
        else:
            assert_close(among, by_itself, WHOLE_NETWORK)
        if key != "status":
            assert not np.delete(value.numpy(), places, axis=0).any()  # zeros and empty strings
    assert [text.split(b":")[0] for text in mixed["status"].numpy()] == [
        b"empty file", b"ok", b"no JPEG, PNG or GIF file", b"ok", b"ok", b"damaged"
    ]  # fmt: skip


def test_bad_examples_harm_no_neighbor(program: Exported, stored_pictures: list[bytes]) -> None:
    wrong_type = tf.train.Example()
    wrong_type.features.feature["image"].int64_list.value.append(1)
    bad = [wrong_type.SerializeToString(), b"no Example", tf.train.Example().SerializeToString()]
    good = examples(stored_pictures[:1]).numpy().tolist()
    mixed = program.signature("classify")(inputs=tf.constant([*bad, *good]))
    alone = program.signature("classify")(inputs=tf.constant(good))
    assert_close(mixed["scores"][3], alone["scores"][0], WHOLE_NETWORK)
    np.testing.assert_array_equal(mixed["classes"][3], alone["classes"][0])
    assert not mixed["scores"][:3].numpy().any()
    assert [name.split(b":")[0] for name in mixed["classes"][:3, 0].numpy()] == [b"damaged", b"damaged", b"empty file"]
    assert set(mixed["classes"][:3, 1:].numpy().ravel()) == {b""}


def test_bad_pixels_harm_no_neighbor(program: Exported) -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 256, 256, 3)).astype(np.float32)
    alone = program.signature("float_images")(images=tf.constant(pixels[1:]))
    pixels[0, 100, 100, 1] = np.nan
    mixed = program.signature("float_images")(images=tf.constant(pixels))
    assert_close(mixed["probabilities"][1], alone["probabilities"][0], WHOLE_NETWORK)
    assert not mixed["probabilities"][0].numpy().any()
    assert mixed["status"].numpy().tolist() == [b"damaged: a pixel is no finite number", b"ok"]


@pytest.mark.parametrize(("height", "width", "reason"), [(2000, 3, b"too thin: 3x2000"), (0, 10, b"no picture: 10x0")])
def test_pixels_of_impossible_size_are_told(program: Exported, height: int, width: int, reason: bytes) -> None:
    answer = program.signature("images")(images=tf.zeros((2, height, width, 3), tf.uint8))
    assert [status.startswith(reason) for status in answer["status"].numpy()] == [True, True]
    assert not answer["probabilities"].numpy().any()


@pytest.mark.parametrize("count", [0, 1, 9])
def test_batches_of_any_size(program: Exported, stored_pictures: list[bytes], count: int) -> None:
    files = stored_pictures[:count]
    for name in FILE_SIGNATURES:
        answer = program.signature(name)(image_bytes=tf.constant(files, tf.string, (count,)))
        assert {len(value) for value in answer.values()} == {count}
    assert program.signature("images")(images=tf.zeros((count, 9, 9, 3), tf.uint8))["probabilities"].shape == (
        count,
        CLASSES,
    )
    assert program.signature("classify")(inputs=tf.constant(files, tf.string, (count,)))["scores"].shape[0] == count
