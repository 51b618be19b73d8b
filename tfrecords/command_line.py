"""The options of the command `convert`, and the source that they ask for."""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from alexnet_tf.program.arguments import CommandParser, command_parser, fraction, whole_number
from alexnet_tf.program.errors import UserError
from tfrecords.doubts import loose_doubts
from tfrecords.exif import Exif
from tfrecords.folder_source import DrawnFolderSource, FolderSource, LabelsSource, loose_pictures
from tfrecords.plan import Settings
from tfrecords.sources import Source

DESCRIPTION = """Converts pictures to TFRecord shards.

    alexnet-tf convert folder --train DIR --val DIR --out DATA
    alexnet-tf convert ilsvrc2012 --train-tar FILE --val-tar FILE --devkit FILE --out DATA
    alexnet-tf convert tfds --name NAME --out DATA

The same command again resumes. `alexnet-tf convert SOURCE --help` tells a source's options."""
FOLDER = """Converts folders of pictures, one folder a class, or the pictures that a table lists.

    alexnet-tf convert folder --train pictures/train --val pictures/val --out data/own
    alexnet-tf convert folder --train pictures --val-fraction 0.1 --out data/own

A class is called as its folder. A file synset_words.txt beside the class folders (`key words...` a line) gives names to
read."""
ILSVRC2012 = """Converts ImageNet from its three original archives, which are read as they are and never extracted.

    alexnet-tf convert ilsvrc2012 --train-tar ILSVRC2012_img_train.tar --val-tar ILSVRC2012_img_val.tar \\
        --devkit ILSVRC2012_devkit_t12.tar.gz --out data/imagenet"""
TFDS = """Converts an image classification set of TensorFlow Datasets, which is downloaded where it is not there yet.

    alexnet-tf convert tfds --name cifar10 --out data/cifar10"""


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; `options.source` is the source's name. Ends the process on wrong usage."""
    parser = command_parser("convert", DESCRIPTION)
    sources = parser.add_subparsers(title="sources", metavar="SOURCE", required=True, dest="source")
    for add_options in (_add_folder, _add_ilsvrc2012, _add_tfds):
        _add_output_options(add_options(sources), "apply" if add_options is _add_folder else "ignore")
    options = parser.parse_args(argv)
    if options.source == "folder":
        _check_folder_options(parser, options)
    return options


def make_source(options: argparse.Namespace) -> Source:
    """The source that the options name, with its pictures listed.

    Raises:
      UserError: it is missing or broken.
    """
    # The imports are late: SciPy, TensorFlow and TFDS take seconds, and a folder needs none of them.
    if options.source == "ilsvrc2012":
        from tfrecords.ilsvrc2012 import Ilsvrc2012Source

        return Ilsvrc2012Source(options.train_tar, options.val_tar, options.devkit, check_md5=options.check_md5)
    if options.source == "tfds":
        from tfrecords.tfds_source import TfdsSource

        return TfdsSource(options.name, options.data_dir, options.train_split, options.val_split)
    if options.labels is None:
        _refuse_output_within(options.out, [options.train, options.val or options.train])
    else:
        folders = {"train": options.train, "val": options.val or options.train}
        return LabelsSource(options.labels, folders, options.val_fraction, options.seed)
    if options.val_fraction is not None:
        return DrawnFolderSource(options.train, options.val_fraction, options.seed)
    return FolderSource(options.train, options.val)


def source_doubts(options: argparse.Namespace) -> Iterator[str]:
    """What is probably a mistake about what the options name, beside what `class_doubts` sees."""
    if options.source == "folder" and options.labels is None:
        for folder in (options.train, options.val):
            if folder is not None:
                yield from loose_doubts(folder, loose_pictures(folder))


def _add_folder(sources: "argparse._SubParsersAction[CommandParser]") -> argparse.ArgumentParser:
    told = "folders of pictures, one a class, or a list of labels"
    folder = sources.add_parser("folder", help=told, description=FOLDER)
    add = folder.add_argument
    add("--train", type=Path, required=True, metavar="DIR",
        help="pictures to train on: a folder of class folders, or of any form with --labels")  # fmt: skip
    add("--val", type=Path, metavar="DIR", help="pictures to validate on: a folder of the same class folders")
    add("--val-fraction", type=fraction, metavar="F",
        help="instead of --val: this part of every class of --train, above 0 and below 1, drawn by --seed")  # fmt: skip
    add("--labels", type=Path, metavar="FILE.csv",
        help="a table with the columns file (below --train or --val), label and, without --val-fraction, split (train "
        "or val)")  # fmt: skip
    return folder


def _check_folder_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.val_fraction is not None and options.val is not None:
        parser.error("--val-fraction draws from --train: give it or --val, not both")
    if options.val_fraction is None and options.val is None and options.labels is None:
        parser.error("give --val DIR, or --val-fraction to draw from --train")


def _add_ilsvrc2012(sources: "argparse._SubParsersAction[CommandParser]") -> argparse.ArgumentParser:
    told = "ImageNet's three original archives, never extracted"
    ilsvrc = sources.add_parser("ilsvrc2012", help=told, description=ILSVRC2012)
    add = ilsvrc.add_argument
    add("--train-tar", type=Path, required=True, metavar="FILE", help="ILSVRC2012_img_train.tar")
    add("--val-tar", type=Path, required=True, metavar="FILE", help="ILSVRC2012_img_val.tar")
    add("--devkit", type=Path, required=True, metavar="FILE", help="ILSVRC2012_devkit_t12.tar.gz")
    add("--check-md5", action="store_true",
        help="first compare the archives with their known MD5 checksums, which reads them whole")  # fmt: skip
    return ilsvrc


def _add_tfds(sources: "argparse._SubParsersAction[CommandParser]") -> argparse.ArgumentParser:
    told = "a classification set of TensorFlow Datasets"
    tfds = sources.add_parser("tfds", help=told, description=TFDS)
    add = tfds.add_argument
    add("--name", required=True, metavar="NAME", help="the set, as in cifar10 or oxford_flowers102:2.1.1")
    add("--data-dir", type=Path, metavar="DIR",
        help="where TensorFlow Datasets keeps its sets (default: ~/tensorflow_datasets)")  # fmt: skip
    add("--train-split", default="train", metavar="SPLIT",
        help="the part to train on, in its own words, such as 'train[:90%%]'")  # fmt: skip
    add("--val-split", metavar="SPLIT",
        help="the part to validate on (default: the first there is of validation, val and test)")  # fmt: skip
    return tfds


def _add_output_options(parser: argparse.ArgumentParser, exif: Exif) -> None:
    """Options that every source shares; `exif` is the default, for phones write an orientation into most pictures."""
    defaults = Settings()
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DATA",
        help="the folder to write: absent, empty, or left unfinished by the same command")  # fmt: skip
    add("--workers", type=whole_number(1), default=len(os.sched_getaffinity(0)), metavar="N",
        help="processes that convert; the output does not depend on it (default: one a core)")  # fmt: skip
    add("--encoding", choices=("jpeg", "raw"), default=defaults.encoding,
        help="how pictures are stored: as JPEG, or as plain pixels, ten times as large")  # fmt: skip
    add("--size", type=whole_number(8, 2048), default=defaults.size, metavar="PIXELS",
        help="side of stored pictures in pixels: the shorter side is resized to it, the center cut out")  # fmt: skip
    add("--channels", type=int, choices=(1, 3), default=defaults.channels, help="1 stores gray, 3 colors")
    add("--quality", type=whole_number(1, 100), default=defaults.quality, metavar="Q",
        help="quality of stored JPEG, from 1 to 100")  # fmt: skip
    add("--exif", choices=get_args(Exif), default=exif,
        help="turn pictures by their EXIF orientation, or take them as stored; models do the same")  # fmt: skip
    add("--seed", type=whole_number(0), default=defaults.seed, metavar="N",
        help="decides the order of the training pictures, and what --val-fraction draws")  # fmt: skip
    add("--shards", type=whole_number(1, 99_999), metavar="N",
        help="number of training shards (default: of about 64 MiB, and 16 if each gets 100 pictures)")  # fmt: skip
    add("--max-unreadable", type=whole_number(0), default=defaults.max_unreadable, metavar="N",
        help="pictures that cannot be read are left out; more than N of them fail the conversion")  # fmt: skip


def _refuse_output_within(out: Path, folders: list[Path]) -> None:
    """Refuses an output that the next conversion would take for a class, or for pictures of one."""
    whole = os.path.realpath(out)
    for folder in map(os.path.realpath, folders):
        first = os.path.relpath(whole, folder).split(os.sep)[0]
        if not first.startswith("."):  # hidden ones are not looked at; and .. leads out of the folder
            raise UserError(f"--out {out} lies inside {folder}, among the class folders: give one beside it")
