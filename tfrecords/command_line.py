"""The options of `python -m tfrecords.convert`, and the source that they ask for."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from alexnet_tf.program.errors import UserError
from tfrecords.exif import Exif
from tfrecords.folder_source import DrawnFolderSource, FolderSource, LabelsSource
from tfrecords.plan import Settings
from tfrecords.sources import Source


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The options; `options.source` is the source's name. Ends the process on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m tfrecords.convert", description="Convert pictures to TFRecord shards."
    )
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


def _add_folder(sources: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    folder = sources.add_parser("folder", help="folders of pictures, one per class, or a list of labels")
    add = folder.add_argument
    add("--train", type=Path, required=True, metavar="DIR", help="folder of class folders")
    add("--val", type=Path, metavar="DIR", help="folder of the same class folders")
    add("--val-fraction", type=_fraction, metavar="F", help="without --val: of every class, drawn by --seed")
    add(
        "--labels",
        type=Path,
        metavar="FILE.csv",
        help="columns file (below --train or --val), label and, without --val-fraction, split (train or val)",
    )
    return folder


def _check_folder_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.val_fraction is not None and options.val is not None:
        parser.error("--val-fraction draws from --train: give it or --val, not both")
    if options.val_fraction is None and options.val is None and options.labels is None:
        parser.error("give --val DIR, or --val-fraction to draw from --train")


def _add_ilsvrc2012(sources: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    ilsvrc = sources.add_parser("ilsvrc2012", help="ImageNet's three original archives, never extracted")
    add = ilsvrc.add_argument
    add("--train-tar", type=Path, required=True, metavar="F", help="ILSVRC2012_img_train.tar")
    add("--val-tar", type=Path, required=True, metavar="F", help="ILSVRC2012_img_val.tar")
    add("--devkit", type=Path, required=True, metavar="F", help="ILSVRC2012_devkit_t12.tar.gz")
    add(
        "--check-md5",
        action="store_true",
        help="compare the archives with their known MD5 first (reads them completely)",
    )
    return ilsvrc


def _add_tfds(sources: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    tfds = sources.add_parser("tfds", help="an image classification set of TensorFlow Datasets")
    add = tfds.add_argument
    add("--name", required=True, help="as tfds.builder takes it: cifar10, oxford_flowers102:2.1.1 ...")
    add("--data-dir", type=Path, metavar="DIR", help="TFDS's own folder (~/tensorflow_datasets)")
    add("--train-split", default="train", metavar="S", help="such as 'train[:90%%]' (train)")
    add("--val-split", metavar="S", help="(validation, val or test, the first that there is)")
    return tfds


def _add_output_options(parser: argparse.ArgumentParser, exif: Exif) -> None:
    """Options that every source shares; `exif` is the default, for phones write an orientation into most pictures."""
    defaults = Settings()
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder to write")
    add(
        "--workers",
        type=whole_number(1),
        default=len(os.sched_getaffinity(0)),
        help="processes (one per core)",
    )
    add("--encoding", choices=("jpeg", "raw"), default=defaults.encoding)
    add("--size", type=whole_number(8, 2048), default=defaults.size, help="side in pixels (256)")
    add("--channels", type=int, choices=(1, 3), default=defaults.channels, help="1 stores gray, 3 colors (3)")
    add("--quality", type=whole_number(1, 100), default=defaults.quality, help="of JPEG (95)")
    add(
        "--exif",
        choices=get_args(Exif),
        default=exif,
        help=f"turn pictures by their EXIF orientation, or take them as stored; models do the same ({exif})",
    )
    add("--seed", type=whole_number(0), default=defaults.seed, help="of the training order (0)")
    add("--shards", type=whole_number(1, 99_999), help="training shards (by size, about 64 MiB each)")
    add(
        "--max-unreadable",
        type=whole_number(0),
        default=defaults.max_unreadable,
        help="more pictures than this that cannot be read fail the conversion (20)",
    )


def _refuse_output_within(out: Path, folders: list[Path]) -> None:
    """Refuses an output that the next conversion would take for a class, or for pictures of one."""
    whole = os.path.realpath(out)
    for folder in map(os.path.realpath, folders):
        first = os.path.relpath(whole, folder).split(os.sep)[0]
        if not first.startswith("."):  # hidden ones are not looked at; and .. leads out of the folder
            raise UserError(f"--out {out} lies inside {folder}, among the class folders: give one beside it")


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argparse type: whole numbers from `least` on, up to `most` where given."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            limit = f"at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {limit}, not {value}")
        return value

    return whole_number


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, not {text}")
    return value
