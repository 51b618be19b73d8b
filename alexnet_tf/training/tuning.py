"""Which way of computing a step takes least time on this machine: measured before a run's first step, and kept.

What minimal filtering is worth, and how many threads inside an operation, differs from processor to processor. Each way
is tried in a process of its own, because the number of threads holds for a whole process. No TensorFlow here.
"""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.limits import CORES
from alexnet_tf.program.machine import hardware
from alexnet_tf.program.text_files import read_text
from alexnet_tf.program.whole_files import make_folder, write_whole
from alexnet_tf.runs.place import CONFIG_FILE
from alexnet_tf.settings.cluster import Cluster
from alexnet_tf.settings.config import Config, dump_config

TUNED_FILE = "tuned.json"
"""In the run's folder: what was measured, and what is taken."""
WORTH_A_CHANGE = 0.97
"""The share of the usual way's time below which another one is taken; what is above may be chance."""


class Way(BaseModel):
    """One way of computing a step, as the fields of the section `devices` say it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filtering: bool
    threads: int

    def __str__(self) -> str:
        threads = "the usual threads" if not self.threads else f"{self.threads} thread{'s' * (self.threads != 1)}"
        return f"{'filtering' if self.filtering else 'no filtering'}, {threads}"


class Trial(BaseModel):
    """What a step took in one way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    way: Way
    seconds: float


class Tuned(BaseModel):
    """What was measured, where, and what is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hardware: str
    trials: tuple[Trial, ...]
    taken: Way


def tuned(config: Config, cluster: Cluster, run: Path, num_classes: int, tell: Callable[[str], None]) -> Config:
    """The config with the fastest way in it, where `devices.tune` asks for that.

    Args:
      config: of the experiment.
      cluster: with no other workers.
      run: the run's folder. The way that it was begun with stays, on another machine, too.
      num_classes: of the data.
      tell: gets a line for the user.

    Raises:
      UserError: there are several workers, or RUN/tuned.json is broken.
    """
    if not config.devices.tune:
        return config
    if cluster.size > 1:
        raise UserError(
            "devices.tune measures for one process, and several workers must compute alike: "
            "set devices.filtering and devices.threads instead"
        )
    file = run / TUNED_FILE
    if file.exists():
        found = _read(file)
        if found.hardware != hardware():
            tell(f"devices.tune: {found.taken}, as measured on {found.hardware}; the run keeps it on {hardware()}")
        return _with(config, found.taken)
    if (run / CONFIG_FILE).exists():
        tell("devices.tune: the run was begun without it, and goes on as it was begun")
        return config
    trials = _trials(config, num_classes, tell)
    if not trials:
        return config
    found = Tuned(hardware=hardware(), trials=trials, taken=fastest(trials))
    make_folder(run)
    write_whole(file, (found.model_dump_json(indent=1) + "\n").encode())
    each = "; ".join(f"{trial.way} {trial.seconds:.3g}" for trial in trials)
    tell(f"devices.tune: seconds a step on {found.hardware}: {each}. Taken: {found.taken}; kept in {file}")
    return _with(config, found.taken)


def ways(config: Config) -> list[Way]:
    """The ways that there are to choose from, the usual one first; a field that is set stays as it is."""
    devices = config.devices
    threads = [devices.threads]
    if "threads" not in devices.model_fields_set and devices.towers in ("auto", "two-cpus") and CORES > 1:
        threads.append(CORES if CORES == 2 else CORES // 2)  # the usual: one with two cores, else as many as cores
    filtering = [devices.filtering] if "filtering" in devices.model_fields_set else [True, False]
    return [Way(filtering=one, threads=number) for one, number in itertools.product(filtering, threads)]


def fastest(trials: tuple[Trial, ...]) -> Way:
    """The way to take: the first, unless another is faster by more than two equal ones differ."""
    best = min(trials, key=lambda trial: trial.seconds)
    return best.way if best.seconds < WORTH_A_CHANGE * trials[0].seconds else trials[0].way


def _read(file: Path) -> Tuned:
    try:
        return Tuned.model_validate_json(read_text(file))
    except (OSError, ValidationError) as fault:
        raise UserError(
            f"{file} is broken; restore it, or remove it and set devices.filtering and devices.threads to what the "
            f"run's {CONFIG_FILE} says, if it has begun"
        ) from fault


def _with(config: Config, way: Way) -> Config:
    return config.model_copy(update={"devices": config.devices.model_copy(update=way.model_dump())})


def _trials(config: Config, num_classes: int, tell: Callable[[str], None]) -> tuple[Trial, ...]:
    """None of them where there is nothing to choose."""
    trials: list[Trial] = []
    for way in ways(config):
        line = [sys.executable, "-m", "alexnet_tf.training.tuning_trial", str(num_classes)]
        child = subprocess.run(line, input=dump_config(_with(config, way)), capture_output=True, text=True, check=False)
        answer = child.stdout.strip().rpartition("\n")[2]
        if answer == "GPU":
            tell("devices.tune: on GPUs there is nothing to choose")
            return ()
        if child.returncode or not answer:
            why = child.stderr.strip().rpartition("\n")[2] or f"status {child.returncode}"
            tell(f"devices.tune: {way}: left out, for the trial failed ({why})")
            continue
        trials.append(Trial(way=way, seconds=float(answer)))
    return tuple(trials)
