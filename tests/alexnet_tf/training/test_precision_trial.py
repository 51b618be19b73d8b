"""What bfloat16 costs is measured, and oneDNN is on wherever this project runs."""

import os
import platform
import subprocess
import sys

import pytest
from tensorflow.python.framework import test_util

from alexnet_tf.settings.sections import DevicesConfig
from alexnet_tf.towers import set_up_towers
from alexnet_tf.training import precision_trial
from alexnet_tf.training.precision_trial import precision_advice
from tests.bfloat16 import skip_without_bfloat16

ADVICE = (
    "from alexnet_tf.settings.sections import DevicesConfig\n"
    "from alexnet_tf.towers import set_up_towers\n"
    "from alexnet_tf.training.precision_trial import precision_advice\n"
    "print(precision_advice('bfloat16', set_up_towers(DevicesConfig())))"
)


def test_float32_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(precision_trial, "_seconds")
    assert precision_advice("float32", set_up_towers(DevicesConfig())) is None


def test_the_factor_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_bfloat16()
    monkeypatch.setattr(precision_trial, "WORTH_A_WORD", 0.0)
    advice = precision_advice("bfloat16", set_up_towers(DevicesConfig()))
    assert advice is not None
    factor = float(advice.split("bfloat16 takes ")[1].split()[0])
    assert 0 < factor < 1000


@pytest.mark.slow
def test_without_instructions_a_warning_names_the_factor() -> None:
    """TensorFlow's own convolutions imitate bfloat16 on every processor."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    ended = subprocess.run([sys.executable, "-c", ADVICE], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("warning: train.precision=bfloat16 takes ")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="TensorFlow decides for itself elsewhere")
def test_onednn_is_on_on_any_processor() -> None:
    """By itself, TensorFlow has it only where there is AVX512-VNNI or better."""
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0" or test_util.IsMklEnabled()
