"""Moving averages of several workers: one value for all, that of all their pictures."""

from pathlib import Path

import numpy as np
import pytest

import train
from tests.alexnet_tf.networks.trial_network import register
from tests.alexnet_tf.training.run_files import tensors
from tests.alexnet_tf.workers.cluster_runs import four_pictures
from tests.closeness import ONE_LAYER, assert_close


@pytest.mark.slow
def test_are_averaged_over_workers_without_rounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    cluster = four_pictures(tmp_path, "--size=16")
    chosen = ("model.preset=trial", "train.steps=1")
    cluster.train(2, "two", *chosen, "distribute.gradient_dtype=bfloat16")
    first, second = cluster.weights("two")
    assert first.keys() == second.keys() and "norm1_a/moving_mean" in first
    for name, value in first.items():
        assert value.tobytes() == second[name].tobytes(), name
    train.main(cluster.arguments("alone", *chosen))
    alone = {name: v for name, v in tensors(tmp_path / "alone", 1).items() if name.startswith("weights/")}
    for tower in "ab":
        # The mean of the workers' means is that of all pictures; the variances' is not, for it lacks what is between.
        (expected,) = (v for name, v in alone.items() if f"norm1_{tower}" in name and "moving_mean" in name)
        assert np.abs(expected).max() > 0
        assert_close(first[f"norm1_{tower}/moving_mean"], expected, ONE_LAYER)
