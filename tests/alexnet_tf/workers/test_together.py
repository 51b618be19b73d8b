"""Several workers as real processes of two logical processors each: the same weights everywhere, and those of one.

Four pictures are an epoch and a step, so that every number of workers sees the same ones in each step, whatever their
order: what then differs from one process is how they are shared out and summed up.
"""

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import train
from alexnet_tf.program.errors import STOPPED_AFTER_SAVING
from alexnet_tf.workers.together import ManyWorkers
from tests.alexnet_tf.training.run_files import metrics, steps_of, tensors
from tests.alexnet_tf.workers.cluster_runs import Cluster, alive, four_pictures, popen, told, wait_for_step
from tests.alexnet_tf.workers.worker_changes import CHANGES, made_gradients
from tests.narrow_nets import shrink_net

ROOT = Path(__file__).resolve().parents[3]
STEPS = 30
METRICS = {"train": ["loss"], "validation": ["top1_error", "loss", "images"]}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    yield four_pictures(folder)
    shutil.rmtree(folder)


def train_alone(cluster: Cluster, changes: str, steps: int = STEPS) -> dict[str, np.ndarray]:
    """What one process comes to that takes all four pictures in every step."""
    run = f"alone {steps} {changes}"
    if not (cluster.folder / run).exists():
        policy = keras.mixed_precision.global_policy()
        with pytest.MonkeyPatch.context() as patch:
            shrink_net(patch)
            for change in changes.split(","):
                CHANGES[change](patch)
            train.main(cluster.arguments(run, f"train.steps={steps}"))
        keras.mixed_precision.set_global_policy(policy)
    return tensors(cluster.folder / run, steps)


def assert_same_bits(weights: list[dict[str, np.ndarray]]) -> None:
    for others in weights[1:]:
        assert others.keys() == weights[0].keys()
        for name, value in weights[0].items():
            assert value.tobytes() == others[name].tobytes(), name


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], within: float) -> None:
    """Of every weight and velocity: the norm of the difference in proportion."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.linalg.norm(found[name] - value) <= within * np.linalg.norm(value), name


def assert_same_metrics(run: Path, alone: Path, within: float, kinds: dict[str, list[str]] = METRICS) -> None:
    """In proportion to the largest in the run: a loss that has come down to nothing is off by roundings of logits."""
    for kind, names in kinds.items():
        lines, lines_alone = (metrics(one, kind) for one in (run, alone))
        assert len(lines) == len(lines_alone) > 0
        for name in names:
            found, expected = (np.array([line[name] for line in each]) for each in (lines, lines_alone))
            np.testing.assert_allclose(found, expected, rtol=0, atol=within * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize(
    ("workers", "dtype"),
    [(2, "float64"), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((4, "float64"), (2, "float32")))],
)
def test_workers_have_the_same_weights_and_those_of_one(cluster: Cluster, workers: int, dtype: str) -> None:
    changes = "no-dropout,few-epochs" + ",float64" * (dtype == "float64")
    run, alone = f"{workers} {dtype}", f"alone {STEPS} {changes}"
    cluster.train(workers, run, f"train.steps={STEPS}", changes=changes)
    weights = cluster.weights(run)
    assert len(weights) == workers
    assert_same_bits(weights)
    found, expected = tensors(cluster.folder / run, STEPS), train_alone(cluster, changes)
    if dtype == "float64":
        assert_close(found, expected, within=1e-6)
        assert_same_metrics(cluster.folder / run, cluster.folder / alone, within=1e-6)
    else:  # rounding moves some inputs of ReLUs to the other side of 0, and with them the last gradients of some units
        assert_close(*({name: v for name, v in one.items() if "weights/" in name} for one in (found, expected)), 0.05)
        steady = {"train": ["loss"], "validation": ["top1_error", "images"]}
        assert_same_metrics(cluster.folder / run, cluster.folder / alone, 1e-4, steady)


@pytest.mark.slow
def test_float32_differs_from_one_worker_by_rounding_alone(cluster: Cluster) -> None:
    changes, few = "no-dropout,few-epochs", 3  # later on ReLUs magnify it
    cluster.train(2, "few", f"train.steps={few}", changes=changes)
    assert_close(tensors(cluster.folder / "few", few), train_alone(cluster, changes, few), within=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_of_a_step_is_at_home_and_bfloat16_halves_what_is_sent(cluster: Cluster, dtype: str) -> None:
    import torch  # not at the top: each process of the suite would load it

    overrides = [f"train.steps={STEPS}", f"distribute.gradient_dtype={dtype}"]
    cluster.train(2, dtype, *overrides, changes="no-dropout,few-epochs,placement")
    weights = cluster.weights(dtype)
    assert_same_bits(weights)
    for trace in cluster.traces(dtype):
        assert trace["strayed"] == [] and "stray" not in trace["crossings"]
        assert {(op["tower"], op["device"]) for op in trace["reduced"]} == {("a", "CPU:0"), ("b", "CPU:1")}
        assert len(trace["reduced"]) == 30 + 1  # every gradient, and the loss
        gradients = [sent for name, sent in trace["sent"].items() if name.startswith("update/")]
        assert {kind for kind, _ in gradients} == {dtype}
        assert sum(size for _, size in gradients) == sum(value.size for value in weights[0].values())
    # Each worker's gradients are rounded, and their sum is: to the last bit what PyTorch's numbers of that type make.
    shapes = {name: value.shape for name, value in weights[0].items()}
    own = [made_gradients(worker, shapes) for worker in range(2)]
    for worker in range(2):
        averaged = np.load(cluster.folder / f"{dtype}-traces/{worker}-averaged")
        assert sorted(averaged) == sorted(shapes)
        for name, found in averaged.items():
            first, second = (torch.tensor(gradients[name]).to(getattr(torch, dtype)) for gradients in own)
            np.testing.assert_array_equal(found, ((first + second) / 2).float().numpy(), err_msg=name)


def test_dropout_differs_by_worker() -> None:
    seeds = [ManyWorkers.dropout_seed(SimpleNamespace(index=index), 7) for index in range(64)]
    assert seeds[0] == 7 and len(set(seeds)) == 64 and all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.slow
def test_sigterm_to_one_worker_stops_all_with_everything_saved(cluster: Cluster) -> None:
    process = cluster.start(2, "stopped", "train.epochs=1000", "train.checkpoint_every=100000")
    wait_for_step(cluster, "stopped", 2, process)
    os.kill(cluster.pid("stopped", 1), signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == STOPPED_AFTER_SAVING
    (own,) = re.findall(r"\[1\] stopped by SIGTERM, saved at step (\d+)", errors)
    (others,) = re.findall(r"\[0\] stopped by a signal to another worker, saved at step (\d+)", errors)
    assert own == others and steps_of(cluster.folder / "stopped")[-1] == int(own)


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> dict[str, np.ndarray]:
    cluster.train(2, "undisturbed", "train.steps=12")
    return tensors(cluster.folder / "undisturbed", 12)


@pytest.mark.slow
@pytest.mark.parametrize("worker", [0, 1])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_lost_worker_ends_the_others_and_all_go_on(
    cluster: Cluster, undisturbed: dict[str, np.ndarray], how: signal.Signals, worker: int
) -> None:
    run = f"{how.name}-{worker}"
    timeout = 10
    process = cluster.start(2, run, "train.epochs=1000", f"distribute.timeout={timeout}")
    wait_for_step(cluster, run, 3, process)
    other = cluster.pid(run, 1 - worker)
    hit = time.monotonic()
    os.kill(cluster.pid(run, worker), how)
    while alive(other):
        time.sleep(0.05)
        assert time.monotonic() - hit < timeout
    _, errors = process.communicate(timeout=60)
    [line, *more] = told(errors)
    assert more == []  # nothing from TensorFlow beside it
    assert line.startswith(f"[{1 - worker}] worker {worker} (127.0.0.1:")
    assert "was lost" in line and "start all workers again" in line
    assert steps_of(cluster.folder / run)[-1] < 12
    cluster.train(2, run, "train.steps=12", f"distribute.timeout={timeout}")
    found = tensors(cluster.folder / run, 12)
    for name, value in undisturbed.items():
        assert value.tobytes() == found[name].tobytes(), name


@pytest.mark.slow
def test_worker_that_never_comes(cluster: Cluster) -> None:
    task = {"cluster": {"worker": ["127.0.0.1:29761", "127.0.0.1:29762"]}, "task": {"type": "worker", "index": 0}}
    for index, missing in ((0, "worker 1 (127.0.0.1:29762)"), (1, "worker 0 (127.0.0.1:29761)")):
        task["task"]["index"] = index
        process = popen(
            [sys.executable, "train.py", *cluster.arguments("never", "distribute.timeout=4")],
            env={**os.environ, "TF_CONFIG": json.dumps(task)},
        )
        before = time.monotonic()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == STOPPED_AFTER_SAVING and time.monotonic() - before < 10
        assert (
            errors
            == f"{missing} did not connect within 4 s; start all workers again to resume from the last checkpoint\n"
        )
    assert not (cluster.folder / "never").exists()
