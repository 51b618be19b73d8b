"""Checks a converted folder against its manifest.

    alexnet-tf verify DATA [--sample]

Every shard's presence, size and SHA-256, every record's checksum, label and picture, the counts, that no picture is in
two splits or under two labels, and that the statistics belong to the records. Each fault is one line that names the
shard and the record.
For a quick look --sample takes a few records, and draws them.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from alexnet_tf.program.arguments import command_parser, whole_number
from alexnet_tf.program.errors import DONE, FAULT, run_command
from tfrecords.manifest import load_manifest

SAMPLE = 40
"""Records that are looked at where --sample names no number."""
SHEET_FILE = "contact_sheet.png"
"""In the data folder."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 1 where there is any fault."""
    options = _parser().parse_args(argv)
    sheet = options.sheet or options.data / SHEET_FILE
    manifest = load_manifest(options.data)

    import tensorflow as tf

    from tfrecords.sample import look_at_sample
    from tfrecords.whole_check import NOTES, REMOVE_ONE, REMOVE_WRONG, find_faults

    with contextlib.suppress(RuntimeError):  # already in use, then so be it
        tf.config.set_visible_devices([], "GPU")  # decoding needs none, and a training may use it
    notes: list[str] = []
    if options.sample is None:
        found = find_faults(options.data, manifest, notes)
    else:
        found = look_at_sample(options.data, manifest, options.sample, sheet)
    faults = doubles = 0
    for fault in found:
        tqdm.write(fault)
        faults += 1
        doubles += fault.endswith((REMOVE_ONE, REMOVE_WRONG))
    if faults:
        advice = "remove one picture of each pair named above, then convert again" if doubles else "convert again"
        print(f"error: {faults} fault{'s' * (faults > 1)} in {options.data}: {advice}", file=sys.stderr)
        return FAULT
    records = {name: split.records for name, split in manifest.splits.items()}
    counted = ", ".join(f"{count} {name}" for name, count in records.items())
    if options.sample is not None:
        print(f"ok: a sample of {options.data}, sound; it should hold {counted} records; see {sheet}")
        return DONE
    for note in notes[:NOTES]:
        print(f"note: {note}", file=sys.stderr)
    also = f"; {len(notes)} pictures are under different labels, as they were published" if notes else ""
    print(f"ok: {options.data} holds {counted} records of {manifest.num_classes} classes, all sound{also}")
    for name, split in manifest.splits.items():
        print(f"  {name}: {min(split.class_counts)} to {max(split.class_counts)} images a class")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("verify", __doc__)
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="the folder that alexnet-tf convert wrote")
    add("--sample", type=whole_number(1), nargs="?", const=SAMPLE, metavar="N",
        help=f"instead of all records look at N of them, {SAMPLE} where N is left out")  # fmt: skip
    add("--sheet", type=Path, metavar="FILE.png",
        help=f"where --sample draws its records (default: DATA/{SHEET_FILE})")  # fmt: skip
    return parser


if __name__ == "__main__":
    run_command(main)
