"""The training input pipeline against bare decoding, a naive pipeline and PyTorch, on the same cores.

    python -m benchmarks.input --data DATA [--preset 2012-code] [--batch-size 128] [--json FILE]

| side | what it does |
|---|---|
| pipeline | `training_batches` as train.py runs it: float32, cropped, mirrored and colored, ready for the network |
| for the device | the same with `data.augment_on=device`: uint8 pictures and what was drawn for them |
| ... and there | the same, prepared after that on this processor, as a step on a CPU does it |
| naive pipeline | the same augmentation picture by picture in float32, as tutorials write it |
| PyTorch | DataLoader with a worker a core, Pillow and the same augmentation, from files in memory |
| bare decoding | shards read in stored order, every picture decoded by libjpeg-turbo, nothing else |
| ... from memory | libjpeg-turbo in threads on files that lie in memory: the library by itself |
| ... by TensorFlow | as bare decoding, by tf.io.decode_jpeg |

Of raw pictures, where nothing is to be decoded, reading the shards takes the place of bare decoding, and a rate of
8,000 images/s for the device is the goal. All sides are endless, so a small data set is read again and again, and the
pipeline refills its shuffle buffer in every epoch as in training; the first filling is not measured. The sides take
turns.

Besides images/s there is processor time an image, over all threads (but not PyTorch's processes): on a machine that
does other things at the same time it is the steadier of the two.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.pictures.augmentation import noise_axes
from alexnet_tf.pictures.input_pipeline import training_batches
from alexnet_tf.pictures.record_files import RecordBatches
from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.settings.presets import PRESETS
from benchmarks import input_sides
from benchmarks.report import (
    Figure,
    benchmark_parser,
    describe_machine,
    format_machine,
    format_table,
    in_turns,
    parse_options,
    positive,
    whole_number,
    write_report,
)
from tfrecords.manifest import Manifest, check_shards, load_manifest
from tfrecords.statistics import STATISTICS_FILE, Statistics

READY_BATCHES = 4
"""Batches that may lie ready from before a turn; so many are taken before its clock starts."""
PICTURES_IN_MEMORY = 4096
WAYS = ("pipeline", "device", "device_there")
"""Sides of this project; the others are what they are compared with."""
RAW_GOAL = 8000.0
"""Images/s from raw shards on a machine of two cores."""


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parse_options(_parser(), argv)
    manifest = load_manifest(options.data)
    check_shards(options.data, manifest, "train")
    machine = describe_machine()
    print(format_machine(machine))
    figures = summarize(_measure(manifest, options))
    records = manifest.splits["train"].records
    print(
        f"{options.data}, {records} training records, preset {options.preset}, "
        f"batch {options.batch_size}, {options.rounds} rounds of {options.seconds:g} s each, "
        f"seed {options.seed}\nmedian of the rounds (lowest to highest)\n"
        f"{format_table(list(figures.values()))}"
    )
    if options.json:
        names = ("preset", "batch_size", "shuffle_buffer", "seconds", "rounds", "seed")
        settings = {name: getattr(options, name) for name in names}
        settings |= {"data": str(options.data), "records": records}
        write_report(options.json, "input", settings, machine, figures)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = benchmark_parser("input", "Time the training input pipeline against bare JPEG decoding.")
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that tfrecords.convert wrote")
    add("--preset", choices=tuple(PRESETS), default="2012-code", help="whose augmentation is done (2012-code)")
    add("--batch-size", type=whole_number, default=128, help="pictures (128)")
    add("--shuffle-buffer", type=whole_number, default=10_000, metavar="RECORDS", help="at most (10000)")
    add("--seconds", type=positive, default=10.0, help="length of a turn (10)")
    return parser


@dataclass
class Turns:
    """One side's figures, a value a round."""

    title: str
    images_per_second: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    """Processor time an image over all threads, in milliseconds."""


def summarize(sides: dict[str, Turns]) -> dict[str, Figure]:
    """The figures of a run; ratios are taken round by round.

    Args:
      sides: by name; both ways, "pipeline" and "device", are compared with the others.
    """

    def percent(of: str, whole: str) -> list[float]:
        pairs = zip(sides[of].images_per_second, sides[whole].images_per_second, strict=True)
        return [100 * part / all_of_it for part, all_of_it in pairs]

    figures = {name: Figure(turns.title, "images/s", turns.images_per_second) for name, turns in sides.items()}
    for name, turns in sides.items():
        if name in ("naive", "torch"):
            shares = percent("pipeline", name)
            figures[f"times_{name}"] = Figure(f"pipeline over {turns.title}", "x", [s / 100 for s in shares])
        elif name not in WAYS:
            for way in ("pipeline", "device"):
                title = f"{sides[way].title}, share of {turns.title}"
                figures[f"{way}_share_of_{name}"] = Figure(title, "%", percent(way, name))
                shares = [100 * whole / part for part, whole in zip(sides[way].cpu_ms, turns.cpu_ms, strict=True)]
                figures[f"{way}_cpu_share_of_{name}"] = Figure(f"{title} by processor time", "%", shares)
    if "reading" in sides:
        rates = sides["device"].images_per_second
        title = f"{sides['device'].title}, share of {RAW_GOAL:g}"
        figures["share_of_goal"] = Figure(title, "%", [100 * rate / RAW_GOAL for rate in rates])
    for name, turns in sides.items():
        if name != "torch":  # whose time passes in other processes
            figures[f"cpu_{name}"] = Figure(f"{turns.title}, processor time", "ms an image", turns.cpu_ms)
    return figures


def _measure(manifest: Manifest, options: argparse.Namespace) -> dict[str, Turns]:
    with tf.device("/device:CPU:0"):  # with a GPU, batches would otherwise be copied there
        streams = _streams(manifest, options)
        sides = {name: Turns(title) for name, (title, _) in streams.items()}
        takers = [
            _side(stream, sides[name], options.batch_size, options.seconds) for name, (_, stream) in streams.items()
        ]
        for number in tqdm(range(options.rounds), unit="round", disable=None, leave=False):
            in_turns(number, *takers)
    return sides


def _streams(manifest: Manifest, options: argparse.Namespace) -> dict[str, tuple[str, Iterable[object]]]:
    """Title and endless batches of every side, by name."""
    data, batch_size, cores = options.data, options.batch_size, len(os.sched_getaffinity(0))
    statistics = Statistics.load(data / STATISTICS_FILE)
    augment = PRESETS[options.preset].augment

    def pipeline(augment_on: Literal["pipeline", "device"]) -> RecordBatches:
        return training_batches(
            data, manifest, statistics, augment, augment_on=augment_on,
            batch_size=batch_size, seed=options.seed, shuffle_buffer=options.shuffle_buffer,
        )  # fmt: skip

    streams: dict[str, tuple[str, Iterable[object]]] = {
        "pipeline": ("pipeline", pipeline("pipeline")),
        "device": ("for the device", pipeline("device")),
        "device_there": ("for the device, and there", input_sides.prepared(pipeline("device"), augment, statistics)),
        "naive": ("naive pipeline", input_sides.naive_pipeline(
            data, manifest, statistics, augment, batch_size, options.shuffle_buffer
        )),
    }  # fmt: skip
    if manifest.encoding != "jpeg":
        return streams | {"reading": ("reading the shards", input_sides.reading(data, manifest, batch_size))}
    files, labels = input_sides.stored_pictures(data, manifest, PICTURES_IN_MEMORY)
    if importlib.util.find_spec("torch") is None:
        print("without PyTorch, which is not installed (pip install 'alexnet-tf[test]')")
    else:
        from benchmarks import torch_input

        mean, axes = statistics.mean_image.astype("f4"), noise_axes(augment, statistics).astype("f4")
        pictures = torch_input.AugmentedPictures(files, labels, mean, axes, augment.crop_size, augment.max_offset)
        streams["torch"] = ("PyTorch", torch_input.batches(pictures, batch_size, cores))
    return streams | {
        "bare": ("bare decoding", input_sides.bare_decoding(data, manifest, batch_size)),
        "memory": ("bare decoding from memory", input_sides.decoding_from_memory(files, batch_size, cores)),
        "tensorflow": ("bare decoding by TensorFlow", input_sides.tensorflow_decoding(data, manifest, batch_size)),
    }


def _side(batches: Iterable[object], turns: Turns, batch_size: int, seconds: float) -> Callable[[], None]:
    """A function that takes one turn and notes its figures in `turns`."""
    iterator = iter(batches)

    def take_turn() -> None:
        # Meanwhile the other side's threads stop: their buffers are full by then.
        for _ in range(READY_BATCHES):
            next(iterator)
        wall, cpu, images = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - wall < seconds:
            next(iterator)
            images += batch_size
        turns.images_per_second.append(images / (time.perf_counter() - wall))
        turns.cpu_ms.append(1e3 * (time.process_time() - cpu) / images)

    return take_turn


if __name__ == "__main__":
    run_command(main)
