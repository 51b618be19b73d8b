"""The two-tower training step: images/s, and its share of what the machine can do at best.

    python -m benchmarks.step [--preset 2012-code] [--batch-size 128] [--json FILE]

The best that the machine can do is taken from a large float32 matrix product on the same devices
and threads, in the same process, right before and right after every measured step. A step is the
whole of it: forward, backward, update. Batches are random numbers of the scale of real ones, made
beforehand: neither the input pipeline nor its share of the processor is in here.

On a GPU both sides take TensorFlow's default for float32, which is TF32 where the GPU has it.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.config import DevicesConfig
from alexnet_tf.devices import Towers, set_up_towers
from alexnet_tf.errors import DONE, UserError, run_command
from alexnet_tf.optimizer import learning_rates
from alexnet_tf.presets import PRESETS, Augmentation
from alexnet_tf.trainer import TrainingStep
from benchmarks.flops import count_work, gflop_per_image
from benchmarks.report import (
    Figure,
    add_report_options,
    check_report_options,
    describe_machine,
    format_machine,
    format_number,
    format_table,
    whole_number,
    write_report,
)

WARM_UP_STEPS = 2
"""The first one traces the step and plans its memory."""
PRODUCTS_PER_SIDE = 3
"""Matrix products before, and again after, each step; the fastest counts."""
PIXEL_SPREAD = 60.0
"""Standard deviation of mean-subtracted pixels, in grey levels: that of natural pictures."""


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = _parser().parse_args(argv)
    check_report_options(options)
    towers = set_up_towers(DevicesConfig(towers=options.towers, threads=options.threads))
    machine = describe_machine()
    print(format_machine(machine))
    step = TrainingStep(PRESETS[options.preset], options.classes, towers, options.seed)
    gflop = gflop_per_image(count_work(step.model))
    rounds = _measure(step, towers, options)
    figures = summarize(rounds, options.batch_size, gflop)
    print(
        f"preset {options.preset}, batch {options.batch_size}, {options.classes} classes, "
        f"towers on {towers.a} and {towers.b}, {options.rounds} rounds, seed {options.seed}\n"
        f"{format_number(gflop)} GFLOP an image; median of the rounds (lowest to highest)\n"
        f"{format_table(list(figures.values()))}"
    )
    if options.json:
        names = ("preset", "batch_size", "classes", "threads", "rounds", "matrix_size", "seed")
        settings = {name: getattr(options, name) for name in names}
        settings |= {"towers": [towers.a, towers.b], "gflop_per_image": gflop}
        write_report(options.json, "step", settings, machine, figures)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step",
        description="Time the two-tower training step against a matrix product.",
    )
    towers = get_args(DevicesConfig.model_fields["towers"].annotation)
    add = parser.add_argument
    add("--preset", choices=tuple(PRESETS), default="2012-code")
    add("--batch-size", type=whole_number, default=128)
    add("--classes", type=whole_number, default=1000)
    add("--towers", choices=towers, default="auto")
    add("--threads", type=int, default=0, help="threads inside an operation (one per core)")
    add("--matrix-size", type=whole_number, default=3072, help="rows of the product (3072)")
    add_report_options(parser)
    return parser


@dataclass(frozen=True)
class Round:
    """One step and the matrix products around it."""

    step_seconds: float
    peak_gflop_per_second: float


def summarize(rounds: list[Round], batch_size: int, gflop: float) -> dict[str, Figure]:
    """The figures of a run.

    Args:
        rounds: what was measured.
        batch_size: images a step.
        gflop: operations an image, in 10^9.
    """
    achieved = [gflop * batch_size / r.step_seconds for r in rounds]
    peaks = [r.peak_gflop_per_second for r in rounds]
    shares = [100.0 * own / peak for own, peak in zip(achieved, peaks, strict=True)]
    return {
        "images_per_second": Figure("training step", "images/s", [batch_size / r.step_seconds for r in rounds]),
        "step_ms": Figure("", "ms a step", [1e3 * r.step_seconds for r in rounds]),
        "step_gflops": Figure("", "GFLOP/s", achieved),
        "peak_gflops": Figure("matrix product (peak)", "GFLOP/s", peaks),
        "share_of_peak": Figure("step's share of the peak", "%", shares),
    }


def _measure(step: TrainingStep, towers: Towers, options: argparse.Namespace) -> list[Round]:
    rates = learning_rates(PRESETS[options.preset].train, step.variables, epoch=1, plateau_drops=0)
    augment = PRESETS[options.preset].augment
    images, labels = _random_batch(augment, options.batch_size, options.classes, options.seed)
    number = 0
    loss = tf.constant(0.0)

    def one_step() -> None:
        nonlocal number, loss
        loss = step(images, labels, number, rates)
        number += 1

    product, work = _matrix_product(towers, options.matrix_size, options.seed)
    for _ in range(WARM_UP_STEPS):
        one_step()
    _seconds(product)
    rounds = []
    for _ in tqdm(range(options.rounds), unit="round", disable=None, leave=False):
        before = [_seconds(product) for _ in range(PRODUCTS_PER_SIDE)]
        own = _seconds(one_step)
        after = [_seconds(product) for _ in range(PRODUCTS_PER_SIDE)]
        rounds.append(Round(own, work / min(before + after)))
    if not np.isfinite(float(loss)):  # nothing that trains takes this path, so its time means little
        raise UserError(f"the loss became {float(loss)} on random images; try another --seed")
    return rounds


def _random_batch(augment: Augmentation, batch_size: int, classes: int, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Images float32 (N, size, size, 3) and labels int64 (N,), as the input pipeline shapes them."""
    draw = np.random.default_rng(seed)
    images = draw.standard_normal((batch_size, augment.crop_size, augment.crop_size, 3), dtype=np.float32)
    images *= PIXEL_SPREAD / np.array(augment.color_divisors, np.float32)
    return tf.constant(images), tf.constant(draw.integers(0, classes, batch_size))


def _matrix_product(towers: Towers, size: int, seed: int) -> tuple[Callable[[], object], float]:
    """A square product on every GPU in use at once, or on the processor; and its GFLOP."""
    # Two logical devices of one processor share its threads, so one of them is the whole of it.
    devices = sorted({towers.a or "", towers.b or ""}) if "GPU" in (towers.a or "") else [towers.a]
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
