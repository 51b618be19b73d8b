"""Converting pictures against a plain Pillow loop that does the same resizing and JPEG coding.

    python -m benchmarks.convert --pictures DIR [--json FILE]

DIR holds picture files at any depth. Both sides take the same files in the same order in one
process on one core. The converter's side is the very function that a worker process runs: reading,
decoding, resizing, coding, the exact sums of the statistics, the TFRecord file with its checksums
and its SHA-256. The loop's side reads, decodes, resizes, crops, codes and writes one file for each picture.
The third side does of the conversion only what the loop does, and keeps nothing.

Quality is how near the coded pictures come to those that evaluation and serving work with
(`picture_from_file`: TensorFlow's decoder and its float32 resizing, no JPEG coding): peak
signal-to-noise ratio and structural similarity, and the number of bytes that they are bought with.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tqdm import tqdm

from alexnet_tf.pictures.resizing import picture_from_file
from alexnet_tf.program.errors import DONE, UserError, run_command
from benchmarks.report import (
    Figure,
    benchmark_parser,
    describe_machine,
    format_machine,
    format_table,
    in_turns,
    parse_options,
    write_report,
)
from tfrecords.folder_source import FolderItem
from tfrecords.output_folder import WORK_FOLDER
from tfrecords.pictures import UnreadablePicture, encode_picture, load_square
from tfrecords.plan import Settings, plan_shards
from tfrecords.shards import write_shard

SIZE = Settings().size
QUALITY = Settings().quality
QUALITY_PICTURES = 100
"""The quality of so many is measured: the first ones of a spread over all."""


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parse_options(_parser(), argv)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, threads of libraries included
    items = readable_items(options.pictures)
    machine = describe_machine()
    print(format_machine(machine))
    figures = _measure(items, options.rounds) | _quality(items)
    print(
        f"{options.pictures}, {len(items)} pictures, {options.rounds} rounds\n"
        f"median of the rounds, for quality of the pictures (lowest to highest)\n"
        f"{format_table(list(figures.values()))}"
    )
    if options.json:
        settings = {"pictures": str(options.pictures), "count": len(items), "rounds": options.rounds}
        write_report(options.json, "convert", settings, machine, figures)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = benchmark_parser("convert", "Time the conversion against a plain Pillow loop.")
    parser.add_argument("--pictures", type=Path, required=True, metavar="DIR", help="picture files, at any depth")
    return parser


def readable_items(folder: Path) -> list[FolderItem]:
    """Every picture below a folder that can be read.

    Raises:
      UserError: there is none.
    """
    items = [FolderItem(0, str(path.relative_to(folder)), str(folder)) for path in sorted(folder.rglob("*.*"))]
    found = []
    for item in items:
        try:
            load_square(item.read(), SIZE)
            found.append(item)
        except (UnreadablePicture, OSError):
            continue
    if not found:
        raise UserError(f"--pictures {folder} holds no picture that can be read")
    return found


def plain_loop(data: bytes) -> bytes:
    """What one would write: Pillow alone, one step after the other."""
    with Image.open(io.BytesIO(data)) as picture:
        rgb = picture.convert("RGB")
    short = min(rgb.size)
    width, height = (round(side * SIZE / short) for side in rgb.size)
    resized = rgb.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    buffer = io.BytesIO()
    square = resized.crop((left, top, left + SIZE, top + SIZE))
    square.save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return buffer.getvalue()


def _measure(items: list[FolderItem], rounds: int) -> dict[str, Figure]:
    ours: list[float] = []
    loop: list[float] = []
    same: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / WORK_FOLDER).mkdir()
        splits = {"train": items, "val": items[:1]}
        task = plan_shards(splits, Path(folder), 1, Settings(shards=1))[0]
        sides = (
            _side(len(items), ours, lambda: write_shard(task, lambda advance: None)),
            _side(len(items), loop, lambda: _write_plainly(items, Path(folder))),
            _side(len(items), same, lambda: [same_work(item.read()) for item in items]),
        )
        in_turns(0, *sides)  # warms up
        del ours[:], loop[:], same[:]
        for number in tqdm(range(rounds), unit="round", disable=None, leave=False):
            in_turns(number, *sides)
    return {
        "images_per_second": Figure("conversion", "images/s a core", ours),
        "loop_images_per_second": Figure("plain Pillow loop", "images/s a core", loop),
        "times_as_fast": Figure("conversion is", "times as fast", [a / b for a, b in zip(ours, loop, strict=True)]),
        "same_work_images_per_second": Figure("the loop's work, our way", "images/s a core", same),
        "same_work_times_as_fast": Figure("that is", "times as fast", [a / b for a, b in zip(same, loop, strict=True)]),
    }


def _write_plainly(items: list[FolderItem], folder: Path) -> None:
    for number, item in enumerate(items):
        (folder / f"{number}.jpg").write_bytes(plain_loop(item.read()))


def same_work(data: bytes) -> bytes:
    """What the loop does, by the converter's own functions."""
    return encode_picture(load_square(data, SIZE), "jpeg", QUALITY)


def _side(images: int, rates: list[float], work: Callable[[], object]) -> Callable[[], None]:
    """A function that takes one turn and notes images a second of processor time, of all threads."""

    def take_turn() -> None:
        before = time.process_time()
        work()
        rates.append(images / (time.process_time() - before))

    return take_turn


def _quality(items: list[FolderItem]) -> dict[str, Figure]:
    """PSNR in dB, SSIM and bytes of both sides' coded pictures."""
    chosen = items[:: -(-len(items) // QUALITY_PICTURES)]
    psnr: dict[str, list[float]] = {"ours": [], "loop": []}
    ssim: dict[str, list[float]] = {"ours": [], "loop": []}
    size: dict[str, list[float]] = {"ours": [], "loop": []}
    for item in chosen:
        data = item.read()
        reference = picture_from_file(data, (SIZE, SIZE, 3))
        coded = {"ours": same_work(data), "loop": plain_loop(data)}
        for side, image in coded.items():
            pixels = tf.cast(tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE"), tf.float32)
            psnr[side].append(float(tf.image.psnr(pixels, reference, 255.0)))
            ssim[side].append(float(tf.image.ssim(pixels, reference, 255.0)))
            size[side].append(float(len(image)))
    difference = np.subtract(psnr["ours"], psnr["loop"]).tolist()
    return {
        "psnr": Figure("conversion", "dB PSNR", psnr["ours"]),
        "loop_psnr": Figure("plain Pillow loop", "dB PSNR", psnr["loop"]),
        "psnr_difference": Figure("difference, picture by picture", "dB", difference),
        "ssim": Figure("conversion", "SSIM", ssim["ours"]),
        "loop_ssim": Figure("plain Pillow loop", "SSIM", ssim["loop"]),
        "bytes": Figure("conversion", "bytes", size["ours"]),
        "loop_bytes": Figure("plain Pillow loop", "bytes", size["loop"]),
    }


if __name__ == "__main__":
    run_command(main)
