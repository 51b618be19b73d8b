"""The two-tower training step: images/s against Keras and PyTorch, and against what the machine can do at best.

    python -m benchmarks.step [--sides paper,paper-bfloat16,torch] [--batch-size 128] [--json FILE]
    python -m benchmarks.step --sides paper,paper@16            # a preset with a batch of its own, here 16 images

The sides are this project's presets in either precision, the same network as users of plain Keras and of PyTorch write
it (step_peers.py), and a large float32 matrix product, whose best rate right before and right after a step of this
project's counts as what the machine can do. All run on the same devices and cores and take turns; sides are compared
round by round. A step is the whole of it: forward, backward, update. Batches are random numbers of the scale of real
ones, made beforehand: neither the input pipeline nor its share of the processor is in here. Operations are counted as
the network defines them; alexnet_tf/networks/winograd.py gets by with fewer, so a share of the peak may pass 100 %.

On a GPU both step and product take TensorFlow's default for float32, which is TF32 where the GPU has it.
"""

import argparse
import itertools
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.settings.sections import DevicesConfig
from alexnet_tf.towers import Towers, set_up_towers
from alexnet_tf.training.optimizers import learning_rates
from alexnet_tf.training.step import TrainingStep
from alexnet_tf.training.tuning_trial import random_batch
from benchmarks.flops import count_work, gflop_per_image
from benchmarks.report import (
    Figure,
    benchmark_parser,
    describe_machine,
    format_machine,
    format_table,
    in_turns,
    parse_options,
    whole_number,
    write_report,
)
from benchmarks.step_peers import Steps, keras_steps, torch_steps

OWN = [*PRESETS, *(f"{name}-bfloat16" for name in PRESETS)]
OWN_SIDE = re.compile(rf"({'|'.join(OWN)})(?:@([1-9]\d{{0,4}}))?")
"""A preset, and the images of its step if they are others than `--batch-size`."""
PEERS: dict[str, Callable[..., Steps]] = {
    "keras-groups": partial(keras_steps, xla=False),
    "keras-groups-xla": partial(keras_steps, xla=True),
    "torch": partial(torch_steps, lrn=True, channels_last=False),
    "torch-channels-last": partial(torch_steps, lrn=True, channels_last=True),
    "torch-compiled": partial(torch_steps, lrn=True, channels_last=True, compiled=True),
    "torch-no-lrn": partial(torch_steps, lrn=False, channels_last=False),
    "torch-no-lrn-channels-last": partial(torch_steps, lrn=False, channels_last=True),
}
DEFAULT_SIDES = ("paper", "paper-bfloat16", "2012-code", "2012-code-bfloat16", *PEERS)
WARM_UP_STEPS = 2
"""The first one traces the step and plans its memory."""
PRODUCTS_PER_SIDE = 3
"""Matrix products before, and again after, each step; the fastest counts."""


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parse_options(_parser(), argv)
    towers = set_up_towers(DevicesConfig(towers=options.towers, threads=options.threads))
    machine = describe_machine()
    print(format_machine(machine))
    sides, missing = _make_sides(towers, options)
    for line in missing:
        print(line)
    rounds = measure(sides, towers, options)
    gflop = {name: side.gflop for name, side in sides.items() if side.gflop is not None}
    figures = summarize(rounds, {name: side.images for name, side in sides.items()}, gflop)
    print(
        f"batch {options.batch_size}, {options.classes} classes, towers on {towers.a} and {towers.b}, "
        f"{options.rounds} rounds, seed {options.seed}; median of the rounds (lowest to highest)\n"
        f"{format_table(list(figures.values()))}"
    )
    if options.json:
        names = ("batch_size", "classes", "threads", "rounds", "matrix_size", "seed")
        settings = {name: getattr(options, name) for name in names}
        settings |= {"sides": list(sides), "towers": [towers.a, towers.b], "gflop_per_image": gflop}
        write_report(options.json, "step", settings, machine, figures)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = benchmark_parser("step", "Time the two-tower training step against other libraries' and a matrix product.")
    towers = get_args(DevicesConfig.model_fields["towers"].annotation)
    add = parser.add_argument
    add(
        "--sides", type=_side_names, default=DEFAULT_SIDES, metavar="SIDE,...",
        help=f"what takes part: presets, PRESET-bfloat16, either with @IMAGES for another batch size, "
        f"{', '.join(PEERS)} ({','.join(DEFAULT_SIDES)}); "
        "the first of this project's is what the others are compared with",
    )  # fmt: skip
    add("--batch-size", type=whole_number, default=128, help="images a step (128)")
    add("--classes", type=whole_number, default=1000, help="that the networks tell apart (1000)")
    add("--towers", choices=towers, default="auto", help="as devices.towers of a config (auto)")
    add("--threads", type=int, default=0, help="threads inside an operation (as train.py has it; peers: one per core)")
    add("--turn-seconds", type=float, default=0, help="how long the first side's turn takes (a single step)")
    add("--matrix-size", type=whole_number, default=3072, help="rows of the product (3072)")
    return parser


def _side_names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if not OWN_SIDE.fullmatch(name) and name not in PEERS]
    if unknown or not any(OWN_SIDE.fullmatch(name) for name in names):
        fault = f"no side is called {unknown[0]!r}" if unknown else "one of them must be a preset"
        raise argparse.ArgumentTypeError(f"{fault}; there are {', '.join([*OWN, *PEERS])}")
    return names


@dataclass(frozen=True)
class Side:
    """A side of the comparison.

    Attributes:
      steps: does some.
      images: of a step.
      gflop: operations an image, in 10^9, of a side whose share of the peak is asked for.
    """

    steps: Steps
    images: int
    gflop: float | None = None


@dataclass(frozen=True)
class Round:
    """A step, the mean of a turn's, and with a side of this project's the matrix products around it."""

    step_seconds: float
    peak_gflop_per_second: float = math.nan


def summarize(rounds: dict[str, list[Round]], images: dict[str, int], gflop: dict[str, float]) -> dict[str, Figure]:
    """The figures of a run.

    Args:
      rounds: what was measured, by the sides' names.
      images: of a step of each.
      gflop: operations an image, in 10^9, of this project's own sides; the others are compared with the first.
    """
    figures = {}
    first = next(iter(gflop))
    for name, own in rounds.items():
        seconds = [r.step_seconds for r in own]
        figures[f"{name}: images_per_second"] = Figure(name, "images/s", [images[name] / one for one in seconds])
        figures[f"{name}: step_ms"] = Figure("", "ms a step", [1e3 * one for one in seconds])
        if name in gflop:
            achieved = [gflop[name] * images[name] / one for one in seconds]
            peaks = [r.peak_gflop_per_second for r in own]
            shares = [100.0 * one / peak for one, peak in zip(achieved, peaks, strict=True)]
            figures[f"{name}: step_gflops"] = Figure("", "GFLOP/s", achieved)
            figures[f"{name}: peak_gflops"] = Figure("  float32 matrix product (peak)", "GFLOP/s", peaks)
            figures[f"{name}: share_of_peak"] = Figure("  share of the peak", "%", shares)
        if name != first:
            share = images[first] / images[name]  # the time for as many images
            ratios = [share * one / ours.step_seconds for one, ours in zip(seconds, rounds[first], strict=True)]
            figures[f"{name}: time_over_{first}"] = Figure(f"  time over that of {first}", "times", ratios)
    return figures


def _make_sides(towers: Towers, options: argparse.Namespace) -> tuple[dict[str, Side], list[str]]:
    """The sides by name, and a line for each that is missing."""
    sides, missing = {}, []
    for name in options.sides:
        if own := OWN_SIDE.fullmatch(name):
            sides[name] = own_side(own[1], towers, options, int(own[2] or options.batch_size))
        elif "GPU" in (towers.a or ""):
            missing.append(f"{name} takes no part: it runs on the processor")
        else:
            batch = random_batch(PRESETS["paper"], options.batch_size, options.classes, options.seed)
            threads = options.threads or len(os.sched_getaffinity(0))
            try:
                peer = PEERS[name](*batch, options.classes, options.seed, threads)
                sides[name] = Side(peer, options.batch_size)
            except ImportError as fault:
                missing.append(f"{name} takes no part: {fault}")
    return sides, missing


def own_side(name: str, towers: Towers, options: argparse.Namespace, images: int) -> Side:
    """The step of a preset of this project; `options` gives classes and seed."""
    precision: Precision = "bfloat16" if name.endswith("-bfloat16") else "float32"
    preset = PRESETS[name.removesuffix("-bfloat16")]
    preset = replace(preset, train=replace(preset.train, precision=precision))
    step = TrainingStep(preset, options.classes, towers, options.seed)
    rates = learning_rates(preset.train, step.known, epoch=1, plateau_drops=0)
    pictures, labels = (tf.constant(array) for array in random_batch(preset, images, options.classes, options.seed))
    numbers = itertools.count()
    work = gflop_per_image(count_work(step.model))

    def steps(count: int) -> tf.Tensor:
        for _ in range(count):
            loss = step(pictures, labels, next(numbers), rates)["loss"]
        return loss

    return Side(steps, images, work)


def measure(sides: dict[str, Side], towers: Towers, options: argparse.Namespace) -> dict[str, list[Round]]:
    """What every side takes, round by round; `options` gives rounds, batch_size, matrix_size, turn_seconds and seed.

    A turn is a step, or as many as the first side takes in `turn_seconds`. Of a side with fewer images than batch_size
    it has more steps, for as many images.
    """
    product, work = _matrix_product(towers, options.matrix_size, options.seed)
    losses: dict[str, Any] = {}
    rounds: dict[str, list[Round]] = {name: [] for name in sides}
    repeats = 1

    def take(name: str, count: int) -> None:
        losses[name] = sides[name].steps(count)

    def steps(name: str) -> float:
        count = repeats * max(1, options.batch_size // sides[name].images)
        return _seconds(partial(take, name, count)) / count

    def turn(name: str) -> None:
        if sides[name].gflop is None:
            rounds[name].append(Round(steps(name)))
            return
        before = [_seconds(product) for _ in range(PRODUCTS_PER_SIDE)]
        own = steps(name)
        after = [_seconds(product) for _ in range(PRODUCTS_PER_SIDE)]
        rounds[name].append(Round(own, work / min(before + after)))

    for name in sides:
        take(name, WARM_UP_STEPS)
    repeats = max(1, round(options.turn_seconds / steps(next(iter(sides)))))
    _seconds(product)
    for number in tqdm(range(options.rounds), unit="round", disable=None, leave=False):
        in_turns(number, *(partial(turn, name) for name in sides))
    for name, loss in losses.items():
        if not np.isfinite(float(loss)):  # nothing that trains takes this path, so its time means little
            raise UserError(f"the loss of {name} became {float(loss)} on random images; try another --seed")
    return rounds


def _matrix_product(towers: Towers, size: int, seed: int) -> tuple[Callable[[], object], float]:
    """A square product on every device in use at once, and the GFLOP of all; logical devices share their processor."""
    devices = sorted({towers.a or "", towers.b or ""})
    draw = np.random.default_rng(seed)
    factors = []
    for device in devices:
        with tf.device(device):
            factors.append([tf.constant(draw.random((size, size), np.float32)) for _ in "ab"])

    # The factors are arguments: a product of constants would be worked out once, while optimizing.
    @tf.function
    def products(factors: list[list[tf.Tensor]]) -> list[tf.Tensor]:
        found = []
        for device, (left, right) in zip(devices, factors, strict=True):
            with tf.device(device):
                found.append(tf.matmul(left, right))
        return found

    return lambda: products(factors), len(devices) * 2 * size**3 / 1e9


def _seconds(work: Callable[[], object]) -> float:
    """Wall time of `work` until every device has finished it."""
    tf.test.experimental.sync_devices()
    before = time.perf_counter()
    work()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - before


if __name__ == "__main__":
    run_command(main)
