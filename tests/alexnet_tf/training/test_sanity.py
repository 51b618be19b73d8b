"""What goes wrong in first runs: each mistake is made for real and told in one line; sound data passes."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf.evaluation.error_rates import shifted_labels
from alexnet_tf.pictures import input_pipeline
from alexnet_tf.pictures.record_files import label_fault
from alexnet_tf.program.errors import UserError
from alexnet_tf.training import step as step_module
from alexnet_tf.training.sanity import JUDGED, PixelCheck, not_finite_advice, stuck_advice

Train = Callable[..., None]
MEAN = np.array([122.0, 116.0, 104.0], np.float32)
"""Of ImageNet, near enough."""


MEAN_IMAGE = np.broadcast_to(MEAN, (256, 256, 3)).astype(np.float64)


def photographs(real_data: Path, count: int = JUDGED) -> np.ndarray:
    """uint8 (count, 256, 256, 3), dark and bright ones as they come."""
    with tarfile.open(real_data / "imagenet_samples500.tar") as tar:
        members = [member for member in tar if member.name.endswith(".JPEG")][:count]
        return np.stack([np.asarray(Image.open(tar.extractfile(m)).convert("RGB").resize((256, 256))) for m in members])


def seen(pixels: np.ndarray, mean_image: np.ndarray = MEAN_IMAGE) -> np.ndarray:
    """What the network sees of them where all is right, with color noise."""
    noise = np.random.default_rng(0).normal(0, 12, (len(pixels), 1, 1, 3))
    return ((pixels - mean_image)[:, 16:240, 16:240] + noise).astype(np.float32)


def made(kind: str) -> np.ndarray:
    """Pictures that are sound, however odd they look: uint8 (JUDGED, 256, 256, 3)."""
    draw = np.random.default_rng(1)
    if kind == "single-colored":
        return np.broadcast_to(draw.integers(0, 256, (JUDGED, 1, 1, 3)), (JUDGED, 256, 256, 3)).astype(np.uint8)
    if kind == "one scene":
        scene = draw.integers(0, 256, (256, 256, 3))
        return np.clip(scene + draw.normal(0, 0.5, (JUDGED, 256, 256, 3)), 0, 255).astype(np.uint8)
    if kind == "line drawings":  # white, with a few black lines
        pictures = np.full((JUDGED, 256, 256, 3), 255, np.uint8)
        pictures[:, 100:103] = 0
        return pictures
    level = {"night": 3, "snow": 252}[kind]
    return np.clip(draw.normal(level, 1.5, (JUDGED, 256, 256, 3)), 0, 255).astype(np.uint8)


class TestPixels:
    def judge(self, pixels: np.ndarray, images: np.ndarray, mean_image: np.ndarray = MEAN_IMAGE) -> str | None:
        check = PixelCheck(mean_image)
        for first in range(0, JUDGED - 1):  # one by one, and nothing is said before the last
            assert check.add(pixels[first : first + 1], images[first : first + 1]) is None and not check.done()
        told = check.add(pixels[JUDGED - 1 : JUDGED], images[JUDGED - 1 : JUDGED])
        assert check.done()
        return told

    def test_photographs_pass(self, real_data: Path) -> None:
        pixels = photographs(real_data)
        assert self.judge(pixels, seen(pixels)) is None

    @pytest.mark.parametrize("own_mean", [True, False], ids=["own mean image", "another's"])
    @pytest.mark.parametrize("kind", ["night", "snow", "single-colored", "one scene", "line drawings"])
    def test_sound_pictures_are_never_refused(self, kind: str, own_mean: bool) -> None:
        pixels = made(kind)
        mean_image = pixels.mean(axis=0) if own_mean else MEAN_IMAGE
        told = self.judge(pixels, seen(pixels, mean_image), mean_image)
        assert told is None or told.startswith("warning: ")
        if kind in ("night", "snow"):
            assert told

    def test_scaled_pictures_are(self, real_data: Path) -> None:
        pixels = photographs(real_data)
        for scaled in (seen(pixels) / 255, seen(pixels, MEAN_IMAGE * 0) / 255 - MEAN / 255):
            with pytest.raises(UserError, match=r"over 0\.\d+ as the network sees them.* never divided by 255"):
                self.judge(pixels, scaled)

    def test_mean_image_on_another_scale(self, real_data: Path) -> None:
        pixels, scaled = photographs(real_data), MEAN_IMAGE / 255
        with pytest.raises(UserError, match=r"mean image has values up to 0\.48, the pictures average 1\d\d"):
            self.judge(pixels, seen(pixels, scaled), scaled)

    def test_pictures_that_were_scaled_before_they_were_stored(self, real_data: Path) -> None:
        pixels = np.round(photographs(real_data) / 255).astype(np.uint8)
        with pytest.raises(UserError, match="were scaled to 0-1 before they were stored"):
            self.judge(pixels, seen(pixels))

    @pytest.mark.parametrize(("augment_on", "module"), [("pipeline", input_pipeline), ("device", step_module)])
    @pytest.mark.usefixtures("small_net")
    def test_a_pipeline_that_divides_is_stopped_at_its_first_step(
        self, runs: Path, run_training: Train, monkeypatch: pytest.MonkeyPatch, augment_on: str, module: ModuleType
    ) -> None:
        plain = module.prepare_training

        def dividing(*arguments: object) -> tf.Tensor:
            return plain(*arguments) / 255.0

        monkeypatch.setattr(module, "prepare_training", dividing)
        with pytest.raises(UserError, match="scaled to 0-1"):
            run_training(runs / "run", "data.batch_size=64", f"data.augment_on={augment_on}", "train.steps=2")
        assert not list((runs / "run/checkpoints").iterdir())


class TestLabels:
    def test_counted_from_one(self) -> None:
        assert label_fault(np.array([0, 4, 9]), 10) is None
        assert label_fault(np.array([], np.int64), 10) is None
        assert label_fault(np.array([1, 4, 10]), 10) == (
            "holds label 10, labels go from 0 to 9; they seem to count from 1"
        )
        assert label_fault(np.array([0, 12]), 10) == "holds label 12, labels go from 0 to 9"
        assert label_fault(np.array([-1, 3]), 10) == "holds label -1, labels go from 0 to 9"

    @pytest.mark.parametrize("shift", [-1, 1])
    def test_answers_that_fit_the_next_label(self, shift: int) -> None:
        draw = np.random.default_rng(0)
        labels = draw.integers(1, 9, 200)
        answers = np.where(draw.random(200) < 0.6, labels + shift, draw.integers(0, 10, 200))
        warning = shifted_labels(np.eye(10)[answers], labels)
        assert f"are the label {shift:+d}" in warning and "off by one" in warning

    def test_right_wrong_and_few_answers_are_no_shift(self) -> None:
        draw = np.random.default_rng(0)
        labels = draw.integers(0, 10, 200)
        for answers in (labels, draw.integers(0, 10, 200), np.where(draw.random(200) < 0.4, labels, 3)):
            assert shifted_labels(np.eye(10)[answers], labels) is None
        assert shifted_labels(np.eye(10)[(labels[:10] + 1) % 10], labels[:10]) is None


class TestAdvice:
    def test_stuck(self) -> None:
        assert "guessing among 1000 classes gives 6.908" in stuck_advice(1000, 6.9071, 1000, "paper")
        assert stuck_advice(1000, 6.5, 1000, "paper") is None

    def test_not_finite_early_and_late(self) -> None:
        assert "a tenth of train.learning_rate" in not_finite_advice(3)
        assert "a lower train.learning_rate" in not_finite_advice(5000)

    @pytest.mark.usefixtures("small_net")
    def test_rate_too_high_from_the_start(self, runs: Path, run_training: Train) -> None:
        with pytest.raises(
            UserError, match=r"^the loss of step \d is (nan|inf); so early, .*tenth of train.learning_rate"
        ):
            run_training(runs / "run", "train.learning_rate=1e9", "train.steps=6")
