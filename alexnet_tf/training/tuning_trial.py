"""Seconds a step of training takes in the way of a config, printed; a process of its own. See `tuning`."""

import itertools
import statistics
import sys
import time

import numpy as np
import tensorflow as tf

from alexnet_tf.settings.config import Config, parse_config
from alexnet_tf.settings.recipe import Preset
from alexnet_tf.towers import on_cpu, set_up_towers
from alexnet_tf.training.step import TrainingStep

WARM_UP_STEPS = 2
FEWEST_STEPS, SECONDS = 3, 4.0
"""How many steps are measured, and for how long where they are short."""
PIXEL_SPREAD = 60.0
"""Standard deviation of mean-subtracted pixels, in gray levels: that of natural pictures."""
RATE = 1e-9
"""So low that random pictures and labels do no harm."""


def main() -> None:
    """Reads the config from the standard input; the number of classes is the argument."""
    config = parse_config(sys.stdin.read(), "config")
    towers = set_up_towers(config.devices)
    print(f"{seconds_a_step(config, int(sys.argv[1]))}" if on_cpu(towers.a) else "GPU")


def seconds_a_step(config: Config, num_classes: int) -> float:
    """The median of some steps on random pictures; a step is forward, backward and update."""
    step = TrainingStep(config.preset, num_classes, set_up_towers(config.devices), config.train.seed)
    batch = random_batch(config.preset, config.data.batch_size, num_classes, seed=0)
    pictures, labels = (tf.constant(array) for array in batch)
    rates = dict.fromkeys(step.optimizer.variables, RATE)
    taken: list[float] = []
    begin = time.perf_counter()
    for number in itertools.count():
        before = time.perf_counter()
        step(pictures, labels, number, rates)["loss"].numpy()
        if number < WARM_UP_STEPS:
            begin = time.perf_counter()
            continue
        taken.append(time.perf_counter() - before)
        if len(taken) >= FEWEST_STEPS and time.perf_counter() - begin >= SECONDS:
            break
    return statistics.median(taken)


def random_batch(preset: Preset, batch_size: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 (N, *picture_shape) and labels int64 (N,), as the input pipeline shapes them."""
    draw = np.random.default_rng(seed)
    images = draw.standard_normal((batch_size, *preset.network.picture_shape), dtype=np.float32)
    images *= PIXEL_SPREAD / np.array(preset.augment.color_divisors, np.float32)
    return images, draw.integers(0, classes, batch_size)


if __name__ == "__main__":
    main()
