"""The fastest way of computing a step is measured, kept with the run, and told where it is of another machine."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from alexnet_tf.networks import winograd
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.cluster import ALONE, Cluster
from alexnet_tf.settings.config import Config, parse_config
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.towers import Towers
from alexnet_tf.training import tuning
from alexnet_tf.training.step import TrainingStep
from alexnet_tf.training.tuning import TUNED_FILE, Trial, Way, fastest, tuned, ways
from alexnet_tf.training.tuning_trial import seconds_a_step
from tests.narrow_nets import NARROW_COMMAND

USUAL, BARE = Way(filtering=True, threads=0), Way(filtering=False, threads=0)


def config_of(text: str) -> Config:
    return parse_config(text, "test")


ASKED = config_of("devices: {tune: true}")


class Told(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Way, float]]:
    """What is measured; a test changes it."""
    found = [(USUAL, 1.0), (BARE, 0.8)]
    made = lambda *_: tuple(Trial(way=way, seconds=seconds) for way, seconds in found)  # noqa: E731
    monkeypatch.setattr(tuning, "_trials", made)
    return found


def test_a_field_that_is_set_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(cores: int, **devices: Any) -> list[tuple[bool, int]]:
        monkeypatch.setattr(tuning, "CORES", cores)
        return [(way.filtering, way.threads) for way in ways(Config.model_validate({"devices": devices}))]

    assert found(2) == [(True, 0), (True, 2), (False, 0), (False, 2)]
    assert found(16) == [(True, 0), (True, 8), (False, 0), (False, 8)]
    assert found(1) == found(2, towers="one-cpu") == [(True, 0), (False, 0)]
    assert found(2, threads=2) == [(True, 2), (False, 2)]
    assert found(2, filtering=False, threads=1) == [(False, 1)]


def test_little_is_no_reason_to_change() -> None:
    def taken(seconds: float) -> Way:
        return fastest((Trial(way=USUAL, seconds=1.0), Trial(way=BARE, seconds=seconds)))

    assert [taken(seconds) for seconds in (1.2, 0.98, 0.95)] == [USUAL, USUAL, BARE]


def test_the_choice_is_kept_with_the_run(
    trials: list[tuple[Way, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, run = Told(), tmp_path / "run"
    monkeypatch.setattr(tuning, "hardware", lambda: "this machine")
    first = tuned(ASKED, ALONE, run, 3, told)
    assert (first.devices.filtering, first.devices.threads) == (False, 0)
    assert told == [
        "devices.tune: seconds a step on this machine: filtering, the usual threads 1; no filtering, the usual threads "
        f"0.8. Taken: no filtering, the usual threads; kept in {run / TUNED_FILE}"
    ]

    trials[:] = [(USUAL, 1.0), (BARE, 2.0)]  # what would be measured now
    told.clear()
    assert tuned(ASKED, ALONE, run, 3, told) == first
    assert told == []
    monkeypatch.setattr(tuning, "hardware", lambda: "another one")
    assert tuned(ASKED, ALONE, run, 3, told) == first
    assert told == [
        "devices.tune: no filtering, the usual threads, as measured on this machine; the run keeps it on another one"
    ]


def test_a_run_that_was_begun_without_goes_on_so(trials: list[tuple[Way, float]], tmp_path: Path) -> None:
    told = Told()
    (tmp_path / "config.yaml").touch()
    assert tuned(ASKED, ALONE, tmp_path, 3, told) == ASKED
    assert told == ["devices.tune: the run was begun without it, and goes on as it was begun"]
    assert not (tmp_path / TUNED_FILE).exists()


def test_nobody_is_asked_who_did_not_ask(tmp_path: Path) -> None:
    assert tuned(Config(), ALONE, tmp_path / "run", 3, pytest.fail) == Config()


def test_wrong_use_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^devices\.tune measures for one process"):
        tuned(ASKED, Cluster(("a:1", "b:1"), 0), tmp_path, 3, print)
    (tmp_path / TUNED_FILE).write_text('{"hardware": 1')
    with pytest.raises(UserError, match=rf"^{tmp_path / TUNED_FILE} is broken; restore it, or remove it"):
        tuned(ASKED, ALONE, tmp_path, 3, print)


def test_a_way_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Ended:
        def __init__(self, line: list[str], input: str, **_: Any) -> None:
            given = config_of(input).devices
            self.returncode, self.stdout, self.stderr = (0, "0.5\n", "") if given.filtering else (-9, "", "no memory\n")

    monkeypatch.setattr(tuning.subprocess, "run", Ended)
    told, config = Told(), config_of("devices: {tune: true, threads: 1}")
    assert tuned(config, ALONE, tmp_path, 3, told).devices.filtering
    assert told[0] == "devices.tune: no filtering, 1 thread: left out, for the trial failed (no memory)"
    kept = json.loads((tmp_path / TUNED_FILE).read_text())["trials"]
    assert kept == [{"way": {"filtering": True, "threads": 1}, "seconds": 0.5}]


def test_without_filtering_convolutions_are_plain(
    small_net: None, two_cpus: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 1)

    def points(towers: Towers) -> int:
        preset = PRESETS["paper"]
        step = TrainingStep(preset, 3, towers, 0)
        shape = (2, *preset.network.picture_shape)
        rates = dict.fromkeys(step.optimizer.variables, 0.01)
        graph = step.compiled.get_concrete_function(
            *step.arguments(tf.zeros(shape), tf.zeros(2, tf.int64), 0, rates)
        ).graph
        return sum(operation.type == "Conv2D" for operation in graph.get_operations())

    plain = points(replace(two_cpus, filtering=False))
    assert plain == 10  # five layers of two towers
    assert points(two_cpus) > plain


def test_a_trial_measures_a_step(small_net: None, two_cpus: Towers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet_tf.training.tuning_trial.SECONDS", 0.0)
    assert 0 < seconds_a_step(config_of("data: {batch_size: 2}"), 3) < 60


@pytest.mark.slow
def test_the_whole_way(tiny_data: Path, tmp_path: Path) -> None:
    """The trials' own processes have the networks as they are; the run goes on with what they found."""
    run = tmp_path / "run"
    line = [sys.executable, "-c", NARROW_COMMAND, "alexnet_tf.train", "--config=demo", f"--run={run}"]
    line += [f"data.dir={tiny_data}", "data.batch_size=2", "devices.tune=true", "devices.threads=1"]
    for steps in (2, 4):
        ended = subprocess.run([*line, f"train.steps={steps}"], capture_output=True, text=True, check=True)
        assert ("devices.tune: seconds a step on" in ended.stdout) == (steps == 2), ended.stdout
    found = json.loads((run / TUNED_FILE).read_text())
    assert [trial["way"]["filtering"] for trial in found["trials"]] == [True, False]
    assert f"filtering: {str(found['taken']['filtering']).lower()}" in (run / "config.yaml").read_text()
