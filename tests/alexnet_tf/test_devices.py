"""Which devices the towers get; where their operations land is in training/test_placement_report.py."""

import os

import pytest
import tensorflow as tf

from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.cluster import Cluster
from alexnet_tf.settings.sections import DevicesConfig
from alexnet_tf.towers import Towers, set_up_towers

FIRST, SECOND = "/device:CPU:0", "/device:CPU:1"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As many GPUs as are put into this list; none to begin with."""
    found: list[str] = []
    devices = {"GPU": found, "CPU": tf.config.list_physical_devices("CPU")}
    monkeypatch.setattr(tf.config, "list_physical_devices", devices.get)
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *_: None)
    return found


@pytest.mark.parametrize(
    ("choice", "count", "towers"),
    [
        ("auto", 0, Towers(FIRST, SECOND)),
        ("auto", 1, Towers("/device:GPU:0", "/device:GPU:0")),
        ("auto", 2, Towers("/device:GPU:0", "/device:GPU:1")),
        ("auto", 3, Towers("/device:GPU:0", "/device:GPU:1")),
        ("two-cpus", 2, Towers(FIRST, SECOND)),
        ("one-cpu", 0, Towers(FIRST, FIRST)),
        ("one-gpu", 2, Towers("/device:GPU:0", "/device:GPU:0")),
    ],
)
def test_choice(gpus: list[str], choice: str, count: int, towers: Towers) -> None:
    gpus += ["gpu"] * count
    assert set_up_towers(DevicesConfig(towers=choice)) == towers


@pytest.mark.parametrize(
    ("choice", "cores", "asked", "threads"),
    [("two-cpus", 2, 0, 1), ("two-cpus", 1, 0, 1), ("two-cpus", 16, 0, 0), ("one-cpu", 2, 0, 0), ("two-cpus", 2, 3, 3)],
)
def test_two_towers_on_two_cores_get_one_thread_each(
    monkeypatch: pytest.MonkeyPatch, choice: str, cores: int, asked: int, threads: int
) -> None:
    given: list[int] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(tf.config, "set_logical_device_configuration", lambda *_: None)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", given.append)
    set_up_towers(DevicesConfig(towers=choice, threads=asked))
    assert given == [threads]


@pytest.mark.parametrize(("choice", "count"), [("two-gpus", 0), ("two-gpus", 1), ("one-gpu", 0)])
def test_fewer_gpus_than_asked_for(gpus: list[str], choice: str, count: int) -> None:
    gpus += ["gpu"] * count
    with pytest.raises(UserError, match=rf"devices\.towers: {choice} needs \d GPUs, .* sees {count}"):
        set_up_towers(DevicesConfig(towers=choice))


@pytest.mark.parametrize(
    ("count", "index", "own"),
    [
        (8, 0, [0, 1]), (8, 3, [6, 7]),  # a pair each
        (9, 1, [2, 3]),
        (2, 1, [0, 1]), (1, 2, [0]),  # given out already, as batch systems do
    ],
)  # fmt: skip
def test_workers_of_one_host_share_its_gpus_out(
    gpus: list[str], monkeypatch: pytest.MonkeyPatch, count: int, index: int, own: list[int]
) -> None:
    gpus += [f"gpu{number}" for number in range(count)]
    visible = list(gpus)
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda devices, kind: visible.__setitem__(slice(None), devices)
    )
    cluster = Cluster((*(f"here:{port}" for port in range(1, 5)), "there:1"), index)
    towers = set_up_towers(DevicesConfig(), cluster)
    assert visible == [f"gpu{number}" for number in own]
    assert towers.b == f"/device:GPU:{len(own) - 1}"


def test_the_processor_really_is_two_devices(two_cpus: Towers) -> None:
    assert two_cpus == Towers(FIRST, SECOND)
    for name in (FIRST, SECOND):
        with tf.device(name):
            assert (tf.constant(1.0) + 1).device.endswith(name)
