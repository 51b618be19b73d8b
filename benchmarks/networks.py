"""Images/s of every net's training step: ours, Keras' own `fit` and PyTorch with the same net.

    python -m benchmarks.networks [--nets resnet-cifar,vgg16] [--batch-size 32] [--json FILE]

One net after the other, in the way of `benchmarks.step`: the sides take turns on the same cores, with batches of random
numbers made beforehand. Keras' `fit` leaves XLA off where there is no GPU, so it takes part so and, when it is told to
compile a step, with XLA. The others' nets are in keras_networks.py and torch_networks.py; PyTorch's lie in memory with
the channels last, which is its faster way on a processor. Ten classes for pictures of 32x32 pixels, else a thousand.
"""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from alexnet_tf.settings.later_networks import LATER_PRESETS
from alexnet_tf.settings.presets import PRESETS
from alexnet_tf.settings.residual_networks import RESIDUAL_PRESETS
from alexnet_tf.settings.sections import DevicesConfig
from alexnet_tf.towers import Towers, set_up_towers
from alexnet_tf.training.tuning_trial import random_batch
from benchmarks.keras_networks import keras_network
from benchmarks.report import (
    Figure,
    benchmark_parser,
    describe_machine,
    format_machine,
    format_table,
    parse_options,
    whole_number,
    write_report,
)
from benchmarks.step import Side, measure, own_side, summarize
from benchmarks.step_peers import Steps, keras_training, torch_training

NETS = ["lenet5", "cifar", *LATER_PRESETS, *RESIDUAL_PRESETS]
"""AlexNet itself is timed by `benchmarks.step`."""
LIBRARIES = ("keras", "keras-xla", "torch")


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parse_options(_parser(), argv)
    towers = set_up_towers(DevicesConfig(towers="one-cpu", threads=options.threads))
    machine = describe_machine()
    print(format_machine(machine))
    figures: dict[str, Figure] = {}
    names = ("libraries", "batch_size", "threads", "rounds", "turn_seconds", "matrix_size", "seed")
    settings: dict[str, Any] = {one: getattr(options, one) for one in names} | {"classes": {}}
    failed = False
    for name in options.nets:
        options.classes = 10 if PRESETS[name].network.stored_size <= 32 else 1000
        try:
            own, missing = _figures(name, towers, options)
        except UserError as fault:
            print(f"error: {name}: {fault}", file=sys.stderr)
            failed = True
            continue
        settings["classes"][name] = options.classes
        figures |= own
        print("\n".join([*missing, format_table(list(own.values()))]), flush=True)
        if options.json:  # after each net: all of them take a while
            write_report(options.json, "networks", settings, machine, figures)
    return FAULT if failed else DONE


def _parser() -> argparse.ArgumentParser:
    parser = benchmark_parser("networks", "Time every net's training step against Keras' fit and PyTorch.")
    add = parser.add_argument
    add("--nets", type=_names(NETS), default=NETS, metavar="PRESET,...",
        help=f"which ones ({','.join(NETS)})")  # fmt: skip
    add("--libraries", type=_names(LIBRARIES), default=list(LIBRARIES), metavar="LIBRARY,...",
        help=f"what ours are compared with ({','.join(LIBRARIES)})")  # fmt: skip
    add("--batch-size", type=whole_number, default=32, help="images a step (32)")
    add("--threads", type=int, default=0, help="threads inside an operation (as train.py has it; others: one per core)")
    add("--turn-seconds", type=float, default=1, help="how long the turn of ours takes (1)")
    add("--matrix-size", type=whole_number, default=3072, help="rows of the product that tells the peak (3072)")
    return parser


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r} here, but {', '.join(known)}")
        return names

    return parse


def _figures(name: str, towers: Towers, options: argparse.Namespace) -> tuple[dict[str, Figure], list[str]]:
    """Of one net, and a line for each library that takes no part."""
    sides, missing = {name: own_side(name, towers, options, options.batch_size)}, []
    for library in options.libraries:
        try:
            sides[f"{name} in {library}"] = Side(_peer(library, name, options), options.batch_size)
        except ImportError as fault:
            missing.append(f"{library} takes no part: {fault}")
    rounds = measure(sides, towers, options)
    gflop = {side: its.gflop for side, its in sides.items() if its.gflop is not None}
    return summarize(rounds, {side: its.images for side, its in sides.items()}, gflop), missing


def _peer(library: str, name: str, options: argparse.Namespace) -> Steps:
    preset, classes = PRESETS[name], options.classes
    batch: tuple[np.ndarray, np.ndarray] = random_batch(preset, options.batch_size, classes, options.seed)
    threads = options.threads or len(os.sched_getaffinity(0))
    if library != "torch":
        build = functools.partial(keras_network, preset.network, classes, options.seed)
        return keras_training(build, preset.train, *batch, threads, xla=library == "keras-xla")
    import torch

    from benchmarks.torch_networks import torch_network

    torch.manual_seed(options.seed)
    return torch_training(torch_network(preset.network, classes), preset.train, *batch, threads, channels_last=True)


if __name__ == "__main__":
    run_command(main)
