"""The pictures that predict and client are given, as an exported model takes them. No TensorFlow here.

Files, folders and patterns, of every kind that the converter reads. A model reads fewer kinds; the others go to it as
PNG files, by the converter's own code, with their pixels and EXIF orientation as they were.
"""

import glob
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.serving.answers import read_picture
from tfrecords.exif import Exif
from tfrecords.folder_source import files_below
from tfrecords.picture_kinds import CONVERTER_ONLY, HEIF_KINDS, kind_of
from tfrecords.picture_structure import UnreadablePicture, essence


def picture_paths(given: Iterable[Path], report: Callable[[str], None]) -> Iterator[Path]:
    """The files that paths, folders and patterns stand for, in the order in which they are given.

    Args:
      given: a folder stands for all in it at any depth, but what is hidden or left by a system, sorted. A path that is
        not there and holds `*`, `?` or `[` is a pattern; `**` in it stands for folders at any depth.
      report: gets a line for each that stands for nothing.
    """
    for path in given:
        fitting = _fitting(path)
        if not fitting:
            report(f"no file fits {path}: correct the path or pattern")
        for one in fitting:
            if not one.is_dir():
                yield one  # what is not there is told when it is read
                continue
            try:
                names = sorted(files_below(one))
            except UserError as fault:
                report(str(fault))
                continue
            if not names:
                report(f"folder {one} holds no picture: name another one, or put some into it")
            yield from (one / name for name in names)


def _fitting(path: Path) -> list[Path]:
    if not glob.has_magic(str(path)) or path.exists():
        return [path]
    return [Path(found) for found in sorted(glob.glob(str(path), recursive=True))]


def picture_to_send(path: AnyPath) -> bytes:
    """A picture file's bytes for a server, which judges them itself; of a kind that models read.

    Raises:
      UserError: it cannot be read, or is of another kind and cannot be decoded; names it.
    """
    return _of_a_models_kind(read_picture(path), f"picture {path}")


def picture_for_model(path: AnyPath, exif: Exif) -> bytes:
    """A picture file as a model in this process is given it; see `file_for_model`.

    Raises:
      UserError: it cannot be read, or not be decoded; names it.
    """
    return file_for_model(read_picture(path), f"picture {path}", exif)


def file_for_model(file: bytes, name: str, exif: Exif) -> bytes:
    """A picture file of a kind that models read, without what nobody needs.

    Args:
      file: its bytes.
      name: what messages call it.
      exif: whether the model turns pictures by their EXIF orientation, and so needs that.

    Raises:
      UserError: it is damaged, or takes too much work: exports of earlier versions do not judge that themselves.
    """
    file = _of_a_models_kind(file, name)
    try:
        found = essence(file, thorough=True)
    except UnreadablePicture as fault:
        raise UserError(f"{name}: {fault}") from fault
    return file if found.cut or exif == "apply" else found.file


def _of_a_models_kind(file: bytes, name: str) -> bytes:
    """The file, or a PNG file of the same picture."""
    if kind_of(file) not in (*CONVERTER_ONLY, *HEIF_KINDS):
        return file
    from tfrecords.pictures import as_png  # late, for most need no decoder here

    try:
        return as_png(file)
    except UnreadablePicture as fault:
        raise UserError(f"{name}: {fault}") from fault
