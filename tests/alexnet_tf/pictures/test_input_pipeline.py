"""From records to batches: pixels against NumPy, chance against its statistics, order by counting."""

import importlib.util
import io
import itertools
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf.pictures import preparation
from alexnet_tf.pictures.augmentation import Draws, draw_augmentation, noise_axes
from alexnet_tf.pictures.decoding import decode_picture, decode_pictures
from alexnet_tf.pictures.input_pipeline import (
    SHUFFLE_MEMORY,
    evaluation_batches,
    ordered_records,
    records_within,
    training_batches,
)
from alexnet_tf.pictures.preparation import StoredPictures, evaluation_views, prepare_training
from alexnet_tf.pictures.record_files import RecordFiles
from alexnet_tf.pictures.share import Share
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Augmentation
from tests.closeness import ELEMENTWISE, assert_close
from tests.conftest import TINY_CLASSES, TINY_VAL, convert_folder
from tfrecords.manifest import load_manifest, shard_paths
from tfrecords.statistics import STATISTICS_FILE, Statistics, principal_axes

PAPER, PROGRAM = PRESETS["paper"].augment, PRESETS["2012-code"].augment
BOTH = pytest.mark.parametrize("augment", [PAPER, PROGRAM], ids=["paper", "2012-code"])
NUMBERED = 9
"""Training pictures of each class in `numbered`."""
DRAWS = 10_000
SHAPE = (256, 256, 3)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw records in 3 shards; every pixel of picture i is 2 * i, training pictures come first."""
    root = tmp_path_factory.mktemp("numbered")
    value = itertools.count(0, 2)
    for split, count in (("train", NUMBERED), ("val", TINY_VAL)):
        for key in TINY_CLASSES:
            (root / split / key).mkdir(parents=True)
            for number in range(count):
                picture = Image.new("RGB", (256, 256), (next(value),) * 3)
                picture.save(root / split / key / f"{number}.png")
    return convert_folder(root, "--encoding=raw", "--shards=3")


@pytest.fixture(scope="module")
def statistics() -> Statistics:
    """Of no data in particular, with the covariance of ImageNet's order of size."""
    draw = np.random.default_rng(0)
    covariance = np.cov(draw.normal(0, 40, (3, 5)) + draw.normal(0, 60, (1, 5)))
    mean_image = draw.uniform(90, 140, (256, 256, 3))
    return Statistics(mean_image, covariance, *principal_axes(covariance), np.int64(1))


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (256, 256, 3), dtype=np.uint8)


def assert_prepared_alike(gpus_way: tf.Tensor, compiled: tf.Tensor, augment: Augmentation) -> None:
    """Bit for bit, but for a division: XLA multiplies by the divisor's reciprocal, which rounds once more."""
    if set(augment.color_divisors) == {1.0}:
        np.testing.assert_array_equal(gpus_way, compiled)
    assert_close(gpus_way, compiled, 2)


class TestTrainingImages:
    SHIFT = np.array([3.5, -20.0, 0.25], np.float32)

    def image(
        self, augment: Augmentation, statistics: Statistics, offset: tuple[int, int],
        mirrored: bool, noisy: bool = True,
    ) -> np.ndarray:  # fmt: skip
        """One picture's image, from a batch in which its neighbor has all else."""
        shifts = np.stack([self.SHIFT if noisy else np.zeros(3, np.float32), np.full(3, 99, np.float32)])
        draws = Draws(np.array([offset, (1, 2)], np.int32), np.array([mirrored, not mirrored]), shifts,
                      np.array([noisy, not noisy]))  # fmt: skip
        pictures = StoredPictures(np.stack([picture(), picture(1)]), draws)
        compiled = prepare_training(pictures, augment, statistics, "/device:CPU:0")
        plain = prepare_training(pictures, augment, statistics, "/device:GPU:0")  # with this name, on any device
        assert compiled.dtype == plain.dtype == tf.float32
        assert_prepared_alike(plain, compiled, augment)
        return compiled[0].numpy()

    @pytest.mark.parametrize("mirrored", [False, True])
    @pytest.mark.parametrize("offset", [(0, 0), (31, 5), (3, 31), (16, 16)])
    def test_paper(self, statistics: Statistics, offset: tuple[int, int], mirrored: bool) -> None:
        found = self.image(PAPER, statistics, offset, mirrored)
        top, left = offset
        expected = (picture() - statistics.mean_image)[top : top + 224, left : left + 224]
        expected = expected[:, ::-1] if mirrored else expected  # the mean is mirrored along
        assert_close(found, expected + self.SHIFT, ELEMENTWISE)

    @pytest.mark.parametrize("noisy", [True, False])
    @pytest.mark.parametrize("mirrored", [False, True])
    @pytest.mark.parametrize("offset", [(0, 32), (32, 0), (7, 21)])
    def test_2012_code(self, statistics: Statistics, offset: tuple[int, int], mirrored: bool, noisy: bool) -> None:
        found = self.image(PROGRAM, statistics, offset, mirrored, noisy)
        top, left = offset
        crop = picture()[top : top + 224, left : left + 224].astype(np.float64)
        crop = crop[:, ::-1] if mirrored else crop
        expected = crop - statistics.mean_image[16:240, 16:240]  # never mirrored, never moved
        expected = (expected + self.SHIFT) / 1.1 if noisy else expected
        assert_close(found, expected, ELEMENTWISE)

    @pytest.mark.parametrize("mirrored", [False, True])
    @pytest.mark.parametrize("offset", [(0, 29), (29, 3), (14, 14)])
    def test_caffe(self, statistics: Statistics, offset: tuple[int, int], mirrored: bool) -> None:
        found = self.image(PRESETS["caffe"].augment, statistics, offset, mirrored)
        top, left = offset
        expected = (picture() - statistics.mean_image)[top : top + 227, left : left + 227]
        assert_close(found, expected[:, ::-1] if mirrored else expected, ELEMENTWISE)

    @pytest.mark.parametrize("mirrored", [False, True])
    def test_torchvision(self, statistics: Statistics, mirrored: bool) -> None:
        found = self.image(PRESETS["owt"].augment, statistics, (32, 5), mirrored)
        crop = picture()[32:, 5:229] / 255
        expected = (crop - statistics.mean_image.mean(axis=(0, 1)) / 255) / (0.229, 0.224, 0.225)
        assert_close(found, expected[:, ::-1] if mirrored else expected, ELEMENTWISE)

    @pytest.mark.parametrize("mirrored", [False, True])
    @pytest.mark.parametrize("offset", [(0, 40), (37, 3), (20, 20)])
    def test_padding_is_zeros_around_the_picture_less_its_mean(
        self, statistics: Statistics, offset: tuple[int, int], mirrored: bool
    ) -> None:
        found = self.image(replace(PAPER, noise="none", padding=4, max_offset=40), statistics, offset, mirrored)
        top, left = offset
        expected = np.pad(picture() - statistics.mean_image, ((4, 4), (4, 4), (0, 0)))
        expected = expected[top : top + 224, left : left + 224]
        assert_close(found, expected[:, ::-1] if mirrored else expected, ELEMENTWISE)

    @BOTH
    def test_without_noise_pixels_are_not_scaled(self, augment: Augmentation, statistics: Statistics) -> None:
        plain = self.image(replace(augment, noise="none"), statistics, (16, 16), False)
        expected = (picture() - statistics.mean_image)[16:240, 16:240]
        assert_close(plain, expected, ELEMENTWISE)
        assert plain.std() > 50  # the 0-255 scale

    def test_without_xlas_operations_the_result_is_the_same(
        self, statistics: Statistics, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are no part of TensorFlow's public interface, so a later version may lack them."""
        monkeypatch.setitem(sys.modules, "tensorflow.compiler.tf2xla.python.xla", None)
        spec = importlib.util.spec_from_file_location("without_xla", preparation.__file__)
        without = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(without)
        assert without.xla_gather is None and preparation.xla_gather is not None
        draws = Draws(
            np.array([(31, 5), (0, 7)], np.int32), np.array([True, False]), np.stack([self.SHIFT] * 2),
            np.array([True, False]),
        )  # fmt: skip
        pictures = StoredPictures(np.stack([picture(), picture(1)]), draws)
        found, expected = (way.prepare_training(pictures, PROGRAM, statistics, "/device:CPU:0")
                           for way in (without, preparation))  # fmt: skip
        np.testing.assert_array_equal(found, expected)


class TestDecoding:
    def test_jpeg_is_decoded_as_tensorflow_does(self, tiny_data: Path) -> None:
        self._compare(tiny_data)

    def test_on_real_pictures(self, real_data: Path, tmp_path: Path) -> None:
        with tarfile.open(real_data / "imagenet_samples500.tar") as tar:
            members = [member for member in tar if member.name.endswith(".JPEG")][:8]
            for number, member in enumerate(members):
                split, key = ("train", "val")[number % 2], f"class{number // 4}"
                (tmp_path / split / key).mkdir(parents=True, exist_ok=True)
                encoded = tar.extractfile(member).read()
                (tmp_path / split / key / f"{number}.JPEG").write_bytes(encoded)
        self._compare(convert_folder(tmp_path))

    def _compare(self, data: Path) -> None:
        encoded = first_records(data, 4)
        by_tensorflow = [decode_picture(tf.constant(image), "jpeg", SHAPE) for image in encoded]
        np.testing.assert_array_equal(decode_pictures(tf.constant(encoded), "jpeg", SHAPE), by_tensorflow)

    def test_raw(self) -> None:
        pictures = np.stack([picture(seed) for seed in range(3)])
        encoded = [image.tobytes() for image in pictures]
        np.testing.assert_array_equal(decode_picture(tf.constant(encoded[0]), "raw", SHAPE), pictures[0])
        np.testing.assert_array_equal(decode_pictures(tf.constant(encoded), "raw", SHAPE), pictures)

    def test_picture_of_another_size_is_refused(self) -> None:
        file = io.BytesIO()
        Image.new("RGB", (128, 256)).save(file, "JPEG")
        with pytest.raises(ValueError, match="256, 128"):
            decode_pictures(tf.constant([file.getvalue()]), "jpeg", SHAPE)


def first_records(data: Path, count: int) -> list[bytes]:
    paths = [str(path) for path in shard_paths(data, load_manifest(data), "train")]
    return [image for image, _ in plain_records(paths)][:count]


def plain_records(paths: list[str]) -> list[tuple[bytes, int]]:
    """(image, label) of every record in stored order, without our own reader."""
    found = []
    for serialized in tf.data.TFRecordDataset(paths).as_numpy_iterator():
        fields = tf.train.Example.FromString(serialized).features.feature
        found.append((fields["image"].bytes_list.value[0], fields["label"].int64_list.value[0]))
    return found


def draw_many(
    augment: Augmentation, statistics: Statistics, *, epoch: int = 0, seed: int = 0,
    count: int = DRAWS,
) -> dict[str, np.ndarray]:  # fmt: skip
    return draw_augmentation(
        augment, noise_axes(augment, statistics), seed, np.full(count, epoch), np.arange(count), 256
    )._asdict()


class TestDraws:
    @BOTH
    def test_noise_has_the_covariance_of_the_recipe(self, augment: Augmentation, statistics: Statistics) -> None:
        """Sum of p p^T times a squared length, written with the covariance C itself.

        With lengths 0.1 sqrt(l) that is 0.01 C; with 0.1 l / 255 it is 0.01 C C / 255^2.
        """
        c = statistics.covariance
        expected = 0.01 * (c if augment is PROGRAM else c @ c / 255**2)
        shifts = draw_many(augment, statistics)["color_shift"].astype(np.float64)
        variances = np.diag(expected)
        # Standard deviation of a sample's covariance under a normal distribution, five of them.
        tolerance = 5 * np.sqrt((np.outer(variances, variances) + expected**2) / DRAWS)
        assert (np.abs(np.cov(shifts.T) - expected) < tolerance).all()
        assert (np.abs(shifts.mean(axis=0)) < 5 * np.sqrt(variances / DRAWS)).all()
        # The tolerance is no blank check: the recipes' covariances are far apart.
        other = 0.01 * (c @ c / 255**2 if augment is PROGRAM else c)
        assert (np.abs(other - expected) > tolerance).any()

    def test_noise_without_measured_colors_is_refused(self, statistics: Statistics) -> None:
        imported = replace(statistics, pixels=np.int64(0))
        with pytest.raises(UserError, match=r"augment\.noise: imported statistics hold no color"):
            noise_axes(PAPER, imported)
        assert not noise_axes(PRESETS["caffe"].augment, imported).any()

    @BOTH
    def test_every_offset_comes_up_equally_often(self, augment: Augmentation, statistics: Statistics) -> None:
        positions = {PAPER: 32, PROGRAM: 33}[augment]
        draws = draw_many(replace(augment, images_per_draw=1), statistics)
        expected = DRAWS / positions
        for axis in (0, 1):
            values, counts = np.unique(draws["offset"][:, axis], return_counts=True)
            np.testing.assert_array_equal(values, np.arange(positions))
            assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
        assert abs(draws["mirrored"].mean() - 0.5) < 5 * np.sqrt(0.25 / DRAWS)
        rows, columns = draws["offset"].T
        chances = [rows, columns, draws["mirrored"], draws["color_shift"][:, 0]]
        unrelated = np.abs(np.corrcoef(chances) - np.eye(4))
        assert unrelated.max() < 5 / np.sqrt(DRAWS)

    def test_32_images_share_crop_and_mirroring_in_the_2012_program(self, statistics: Statistics) -> None:
        draws = draw_many(PROGRAM, statistics, count=10 * 32)
        geometry = np.column_stack([draws["offset"], draws["mirrored"]]).reshape(10, 32, 3)
        assert (geometry == geometry[:, :1]).all()
        assert len({tuple(block[0]) for block in geometry}) >= 9
        assert len(np.unique(draws["color_shift"], axis=0)) == 10 * 32  # each image its own color

    def test_paper_draws_for_every_image(self, statistics: Statistics) -> None:
        draws = draw_many(PAPER, statistics, count=64)
        pairs = np.column_stack([draws["offset"], draws["mirrored"]])
        assert (pairs[1:] != pairs[:-1]).any(axis=1).mean() > 0.95

    @BOTH
    def test_seed_and_epoch_decide(self, augment: Augmentation, statistics: Statistics) -> None:
        def draws(**which: int) -> tuple[np.ndarray, np.ndarray]:
            found = draw_many(augment, statistics, count=3 * 32, **which)
            return found["offset"], found["color_shift"]

        first, again = draws(seed=1, epoch=2), draws(seed=1, epoch=2)
        for one, same in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, same)
        for other in (draws(seed=2, epoch=2), draws(seed=1, epoch=3), draws(seed=2, epoch=1)):
            for one, another in zip(first, other, strict=True):
                assert (one == another).all(axis=1).mean() < 0.5

    def test_noise_ends_with_epoch_66_in_the_2012_program(self, statistics: Statistics) -> None:
        last = draw_many(PROGRAM, statistics, epoch=65, count=4)  # epoch 66, counting from 1
        after = draw_many(PROGRAM, statistics, epoch=66, count=4)
        assert last["noisy"].all() and (last["color_shift"] != 0).all()
        assert not after["noisy"].any() and (after["color_shift"] == 0).all()
        assert draw_many(PAPER, statistics, epoch=89, count=4)["noisy"].all()


class TestTrainingBatches:
    def stream(self, data: Path, augment: Augmentation, first_step: int = 0, seed: int = 0, **more):
        manifest, statistics = load_manifest(data), Statistics.load(data / STATISTICS_FILE)
        options = {"batch_size": 5, "shuffle_buffer": 4, **more}
        return training_batches(data, manifest, statistics, augment, seed=seed, first_step=first_step, **options)

    def numbers(self, numbered: Path, batches: int, **options: int) -> np.ndarray:
        """Which picture is where, from the values of its pixels; checks the labels in passing."""
        found = []
        for pictures, labels in self.stream(numbered, PAPER, augment_on="device", **options).take(batches):
            pixels = pictures.pixels.numpy()
            assert pixels.shape == (5, 256, 256, 3) and pixels.dtype == np.uint8
            np.testing.assert_array_equal(pixels, np.broadcast_to(pixels[:, :1, :1, :1], pixels.shape))
            found.append(pixels[:, 0, 0, 0].astype(int) // 2)
            np.testing.assert_array_equal(labels, found[-1] // NUMBERED)
        return np.concatenate(found)

    def test_every_image_once_an_epoch_in_another_order(self, numbered: Path) -> None:
        count = 3 * NUMBERED  # 27: batches of 5 cross the borders of epochs
        epochs = self.numbers(numbered, 17)[: 3 * count].reshape(3, count)
        for epoch in epochs:
            np.testing.assert_array_equal(np.sort(epoch), np.arange(count))
        for one, other in itertools.combinations(epochs, 2):
            assert (one != other).any()
        assert len({tuple(epoch[:5]) for epoch in epochs}) == 3

    def test_seed_decides_the_order(self, numbered: Path) -> None:
        first, again, other = (self.numbers(numbered, 5, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    @pytest.mark.parametrize("augment_on", ["pipeline", "device"])
    @BOTH
    def test_beginning_at_a_step_is_skipping_those_before(
        self, tiny_data: Path, augment: Augmentation, augment_on: str
    ) -> None:
        """Bit for bit, within the first epoch (24 images), right behind it and in the third."""
        whole = list(self.stream(tiny_data, augment, augment_on=augment_on).take(12))
        for first_step in (2, 4, 5, 10):
            resumed = self.stream(tiny_data, augment, first_step, augment_on=augment_on).take(2)
            for expected, found in zip(whole[first_step:], resumed, strict=False):
                tf.nest.map_structure(np.testing.assert_array_equal, found, expected)

    @pytest.mark.parametrize("preset", ["paper", "2012-code", "caffe", "owt"])
    def test_both_ways_prepare_the_same_pictures(self, tiny_data: Path, preset: str) -> None:
        """Bit for bit on a processor, in the third epoch, too."""
        augment, statistics = PRESETS[preset].augment, Statistics.load(tiny_data / STATISTICS_FILE)
        for first_step in (0, 11):
            ready = self.stream(tiny_data, augment, first_step, keep_pixels=6).take(3)
            stored = self.stream(tiny_data, augment, first_step, augment_on="device").take(3)
            for number, ((here, labels), (there, same_labels)) in enumerate(zip(ready, stored, strict=True)):
                size = augment.crop_size
                assert here.images.dtype == tf.float32 and here.images.shape == (5, size, size, 3)
                there_images = prepare_training(there, augment, statistics, "/device:CPU:0")
                np.testing.assert_array_equal(here.images, there_images)
                # With this name in the way that GPUs do it, on any device.
                assert_prepared_alike(
                    prepare_training(there, augment, statistics, "/device:GPU:0"), there_images, augment
                )
                np.testing.assert_array_equal(labels, same_labels)
                # Of the first 6 pictures the pixels are kept, so those of two batches.
                np.testing.assert_array_equal(here.pixels, there.pixels[: 5 if number < 2 else 0])

    def test_beginning_exactly_at_an_epoch(self, numbered: Path) -> None:
        whole = self.numbers(numbered, 28)
        np.testing.assert_array_equal(self.numbers(numbered, 1, first_step=27), whole[135:])

    @pytest.mark.parametrize("workers", [2, pytest.param(7, marks=pytest.mark.slow)])
    def test_workers_read_every_record_once_an_epoch(self, numbered: Path, workers: int) -> None:
        manifest, epochs = load_manifest(numbered), 5
        files = RecordFiles.of_split(numbered, manifest, "train")
        per_epoch = sum(files.records)  # 27, which 2 and 4 do not divide, in shards of 9
        found: dict[int, list[tuple[int, bytes]]] = {epoch: [] for epoch in range(epochs)}
        for index in range(workers):
            share = Share(index, workers)
            count = share.read_before(epochs, per_epoch)
            assert abs(count - epochs * per_epoch / workers) < 1
            own = [
                (int(epoch), int(position), record.numpy())
                for epoch, position, record in ordered_records(files, 3, 4, 0, share).take(count)
            ]
            for epoch, position, record in own:
                found[epoch].append((position, record))
            for read in (1, count // 2):  # as a resumed run begins
                later = ordered_records(files, 3, 4, read, share).take(2)
                again = [(int(epoch), int(position), record.numpy()) for epoch, position, record in later]
                assert count < 4 or again == own[read : read + 2]
        stored = sorted(record.numpy() for record in tf.data.TFRecordDataset([str(path) for path in files.paths]))
        for images in found.values():
            assert sorted(position for position, _ in images) == list(range(per_epoch))
            assert sorted(record for _, record in images) == stored

    def test_workers_open_only_the_shards_that_they_need(self, numbered: Path, tmp_path: Path) -> None:
        data = Path(shutil.copytree(numbered, tmp_path / "data"))
        manifest = load_manifest(data)
        shard_paths(data, manifest, "train")[0].unlink()
        fates = []
        for index in range(3):  # of three workers each needs one of the three shards
            files = RecordFiles.of_split(data, manifest, "train")
            try:
                fates.append(len(list(ordered_records(files, 3, 4, 0, Share(index, 3)).take(NUMBERED))))
            except tf.errors.NotFoundError:
                fates.append(0)
        assert sorted(fates) == [0, NUMBERED, NUMBERED]

    def test_another_epoch_draws_other_crops(self, tiny_data: Path) -> None:
        def drawn(step: int) -> dict[int, tuple[int, ...]]:
            batch = next(iter(self.stream(tiny_data, PAPER, step, batch_size=24, augment_on="device")))[0]
            which = batch.pixels.numpy().sum(axis=(1, 2, 3)).tolist()
            return dict(zip(which, map(tuple, batch.draws.offset.numpy()), strict=True))

        first, second = drawn(0), drawn(1)
        assert first.keys() == second.keys() and len(first) == 24
        assert sum(first[which] != second[which] for which in first) > 20

    @pytest.mark.parametrize(
        ("bytes_each", "most", "expected"),
        [(31_000, 10_000, 10_000), (196_700, 10_000, 2729), (10**9, 10, 1), (196_700, 50, 50)],
    )
    def test_shuffle_buffer_is_bounded_in_bytes(
        self, numbered: Path, bytes_each: int, most: int, expected: int
    ) -> None:
        manifest = load_manifest(numbered)
        train = manifest.splits["train"]
        shards = [shard.model_copy(update={"bytes": bytes_each * shard.records}) for shard in train.shards]
        manifest.splits["train"] = train.model_copy(update={"shards": shards})
        assert records_within(SHUFFLE_MEMORY, most, manifest) == expected


class TestEvaluation:
    @BOTH
    def test_ten_views(self, augment: Augmentation, statistics: Statistics) -> None:
        found = evaluation_views(np.stack([picture(1), picture()]), 10, augment, statistics).numpy()[1]
        expected = []
        for mirrored in (False, True):
            for top, left in ((0, 0), (0, 32), (32, 0), (32, 32), (16, 16)):
                rows, columns = slice(top, top + 224), slice(left, left + 224)
                view = picture()[rows, columns].astype(np.float64)
                mean = statistics.mean_image
                if augment is PROGRAM:
                    view = view[:, ::-1] if mirrored else view
                    expected.append(view - mean[16:240, 16:240])
                else:
                    view = view - mean[rows, columns]
                    expected.append(view[:, ::-1] if mirrored else view)
        assert_close(found, expected, ELEMENTWISE)

    @BOTH
    def test_one_view_is_the_center(self, augment: Augmentation, statistics: Statistics) -> None:
        found = evaluation_views(tf.constant(picture()), 1, augment, statistics).numpy()
        expected = (picture() - statistics.mean_image)[16:240, 16:240]
        assert_close(found, expected[None], ELEMENTWISE)

    def test_caffes_views_are_larger(self, statistics: Statistics) -> None:
        found = evaluation_views(tf.constant(picture()), 10, PRESETS["caffe"].augment, statistics).numpy()
        whole = picture() - statistics.mean_image
        assert found.shape == (10, 227, 227, 3)
        assert_close(found[3], whole[29:, 29:], ELEMENTWISE)
        assert_close(found[9], whole[14:241, 14:241][:, ::-1], ELEMENTWISE)

    @pytest.mark.parametrize("workers", [5, 20])
    def test_workers_share_the_split_out(self, numbered: Path, workers: int) -> None:
        def values(share: Share) -> list[int]:
            batches = evaluation_batches(numbered, load_manifest(numbered), split="val", batch_size=5, share=share)
            return [value for pictures, _ in batches for value in pictures.numpy()[:, 0, 0, 0].tolist()]

        parts = [values(Share(index, workers)) for index in range(workers)]
        assert [value for part in parts for value in part] == values(Share())
        assert {len(part) for part in parts} <= {12 // workers, 12 // workers + 1}

    def test_every_image_once_in_stored_order(self, numbered: Path) -> None:
        manifest = load_manifest(numbered)
        batches = list(evaluation_batches(numbered, manifest, split="val", batch_size=5))
        assert [len(pictures) for pictures, _ in batches] == [5, 5, 2]  # the last batch counts
        pictures, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        assert pictures.shape == (12, 256, 256, 3) and pictures.dtype == np.uint8
        stored = plain_records([str(p) for p in shard_paths(numbered, manifest, "val")])
        np.testing.assert_array_equal(labels, [label for _, label in stored])
        np.testing.assert_array_equal(pictures.reshape(12, -1), [list(image) for image, _ in stored])
        assert sorted(pictures[:, 0, 0, 0]) == list(range(54, 78, 2))
