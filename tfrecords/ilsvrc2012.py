"""ImageNet (ILSVRC-2012) from its three original archives, none of which is ever extracted.

    ILSVRC2012_img_train.tar        a tar of 1000 tars, n01440764.tar ..., of n01440764_10026.JPEG ...
    ILSVRC2012_img_val.tar          ILSVRC2012_val_00000001.JPEG ...
    ILSVRC2012_devkit_t12.tar.gz    data/meta.mat: the classes, with ids 1-1000, and how many
                                    training pictures each has; data/ILSVRC2012_validation_ground_truth.txt:
                                    such an id a line, for the validation pictures in their order

The archives' headers are read once and give every picture's place in the outer file; workers read
their pictures there. Labels are positions of the WordNet ids in sorted order, 0-999, as in Caffe,
Keras and torchvision; never the ILSVRC ids. What the devkit says is compared with the archives
before anything is written.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.io
from tqdm import tqdm

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.whole_files import open_to_read
from tfrecords.sources import FilePart, printable

MD5 = {
    "train": "1d675b47d978889d74fa0da5fadfb00e",
    "val": "29b22e2961454d5413ddabcf34fc5622",
    "devkit": "fa75699e90414af021442c21a62c3abf",
}
"""Of the archives as image-net.org gives them out."""

META = "data/meta.mat"
GROUND_TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"

CLASS_ARCHIVE = re.compile(r"(n\d{8})\.tar")
TRAIN_PICTURE = re.compile(r"(n\d{8})_\d+\.JPEG")
VAL_PICTURE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")

MAX_DEVKIT_FILE = 64 << 20
"""Bytes; the larger of the two, meta.mat, has less than one million."""


class Ilsvrc2012Source:
    """The three archives; all of their headers are read when it is made."""

    kind = "ilsvrc2012"

    def __init__(self, train_tar: Path, val_tar: Path, devkit: Path, *, check_md5: bool = False) -> None:
        """Lists all pictures.

        Raises:
          UserError: an archive is missing, truncated, or not what the devkit says.
        """
        if check_md5:
            for name, path in (("devkit", devkit), ("val", val_tar), ("train", train_tar)):
                _check_md5(path, MD5[name])
        kit = read_devkit(devkit)
        self.class_keys = [one.wnid for one in kit.classes]
        self.class_names = [one.words for one in kit.classes]
        # The small archive first: a fault in it is then told at once.
        self._items = {"val": _val_items(val_tar, kit)}
        self._items["train"] = _train_items(train_tar, kit)

    def items(self, split: str) -> list[FilePart]:
        """The pictures of a split, by class and then by file name."""
        return self._items[split]


@dataclass(frozen=True)
class DevkitClass:
    """One of the 1000 classes."""

    wnid: str
    words: str
    ilsvrc_id: int
    train_pictures: int


@dataclass(frozen=True)
class Devkit:
    """What the development kit says.

    Attributes:
      classes: in the order of their WordNet ids, which is that of the labels.
      val_labels: label of validation picture i + 1.
    """

    classes: list[DevkitClass]
    val_labels: list[int]


def read_devkit(path: Path) -> Devkit:
    """Reads the classes and the validation labels out of the development kit.

    Raises:
      UserError: it is no such archive, or what it says does not fit together.
    """
    meta, truth = _devkit_files(path)
    classes = sorted(_leaf_classes(path, meta), key=lambda one: one.wnid)
    ids = sorted(one.ilsvrc_id for one in classes)
    if not classes or ids != list(range(1, len(ids) + 1)) or len({one.wnid for one in classes}) < len(ids):
        raise UserError(f"--devkit {path}: {META} does not number its {len(ids)} classes from 1 on: wrong archive")
    label = {one.ilsvrc_id: index for index, one in enumerate(classes)}
    try:
        numbers = [int(line) for line in truth.decode("ascii").split()]
        return Devkit(classes, [label[number] for number in numbers])
    except (ValueError, KeyError) as fault:
        raise UserError(f"--devkit {path}: {GROUND_TRUTH} holds {fault}, which is no id of a class") from fault


def _devkit_files(path: Path) -> tuple[bytes, bytes]:
    found: dict[str, bytes] = {}
    try:
        with open_to_read(path) as file, tarfile.open(fileobj=file, mode="r:*") as archive:
            for member in archive:
                for wanted in (META, GROUND_TRUTH):
                    if member.name == wanted or member.name.endswith("/" + wanted):
                        found[wanted] = _small_file(path, archive, member)
    except (OSError, EOFError, tarfile.TarError) as fault:
        raise _unreadable("--devkit", path, fault) from fault
    for wanted in (META, GROUND_TRUTH):
        if wanted not in found:
            raise UserError(f"--devkit {path} has no {wanted}: give ILSVRC2012_devkit_t12.tar.gz")
    return found[META], found[GROUND_TRUTH]


def _small_file(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isreg() and member.size <= MAX_DEVKIT_FILE else None
    if file is None:
        raise UserError(f"--devkit {path}: {printable(member.name)} is no regular file of a likely size")
    return file.read()


def _leaf_classes(path: Path, meta: bytes) -> Iterator[DevkitClass]:
    """The synsets without children; those above them in WordNet's tree are no classes."""
    try:
        synsets = scipy.io.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        for synset in np.atleast_1d(synsets):
            if int(synset["num_children"]) == 0:
                wnid, words = str(synset["WNID"]).strip(), " ".join(str(synset["words"]).split())
                yield DevkitClass(wnid, words, int(synset["ILSVRC2012_ID"]), int(synset["num_train_images"]))
    except Exception as fault:  # whatever SciPy's reader stumbles over
        raise UserError(
            f"--devkit {path}: {META} cannot be read: it is damaged or not the devkit's; fetch the devkit again"
        ) from fault


def _val_items(path: Path, kit: Devkit) -> list[FilePart]:
    found: dict[int, FilePart] = {}
    for member in _members("--val-tar", path):
        name = VAL_PICTURE.fullmatch(member.name)
        number = int(name[1]) if name else 0
        if not 1 <= number <= len(kit.val_labels) or number in found:
            raise UserError(
                f"--val-tar {path}: unexpected {printable(member.name)}: wrong archive or another devkit's "
                f"({len(kit.val_labels)} pictures)"
            )
        found[number] = FilePart(kit.val_labels[number - 1], member.name, str(path), member.offset_data, member.size)
    if len(found) < len(kit.val_labels):
        missing = min(set(range(1, len(kit.val_labels) + 1)) - set(found))
        raise UserError(
            f"--val-tar {path}: {len(found)} pictures, the devkit has labels for {len(kit.val_labels)}; "
            f"the first missing is number {missing}: truncated archive or another devkit's"
        )
    return sorted(found.values(), key=lambda item: (item.label, item.file_name))


def _train_items(path: Path, kit: Devkit) -> list[FilePart]:
    labels = {one.wnid: label for label, one in enumerate(kit.classes)}
    found: dict[str, list[FilePart]] = {}
    with tqdm(total=len(labels), desc=f"reading {path.name}", unit=" classes", disable=None, leave=False) as bar:
        for member in _members("--train-tar", path):
            name = CLASS_ARCHIVE.fullmatch(member.name)
            if not name or name[1] not in labels or name[1] in found:
                raise UserError(
                    f"--train-tar {path}: unexpected {printable(member.name)}: "
                    f"it must hold an archive for each of the devkit's {len(labels)} classes and nothing else"
                )
            found[name[1]] = _class_items(path, member, name[1], labels[name[1]])
            bar.update()
    for one in kit.classes:
        if one.wnid not in found:
            raise UserError(
                f"--train-tar {path}: {len(found)} classes of {len(labels)}; the first missing is {one.wnid} "
                f"({one.words}): truncated archive, or that of another task"
            )
        if len(found[one.wnid]) != one.train_pictures:
            raise UserError(
                f"--train-tar {path}: {len(found[one.wnid])} pictures in {one.wnid}.tar, "
                f"the devkit says {one.train_pictures}: damaged archive or another devkit's"
            )
    return [item for one in kit.classes for item in found[one.wnid]]


def _class_items(path: Path, outer: tarfile.TarInfo, wnid: str, label: int) -> list[FilePart]:
    found: dict[str, FilePart] = {}
    for member in _members("--train-tar", path, outer):
        name = TRAIN_PICTURE.fullmatch(member.name)
        if not name or name[1] != wnid or member.name in found:
            raise UserError(f"--train-tar {path}: unexpected {printable(member.name)} in {outer.name}: wrong archive")
        offset = outer.offset_data + member.offset_data
        found[member.name] = FilePart(label, member.name, str(path), offset, member.size)
    return sorted(found.values(), key=lambda item: item.file_name)


def _members(option: str, path: Path, inner: tarfile.TarInfo | None = None) -> Iterator[tarfile.TarInfo]:
    """The members of an archive, or of one inside it, from their headers alone.

    Raises:
      UserError: no archive, truncated, or with members that are not regular files.
    """
    where = f"{option} {path}" if inner is None else f"{option} {path}, {inner.name}"
    try:
        with open_to_read(path) as file:
            whole = _Window(file, 0, path.stat().st_size)
            if inner is not None:
                whole = _Window(file, inner.offset_data, inner.size)
            with tarfile.open(fileobj=io.BufferedReader(whole), mode="r:") as archive:
                while (member := archive.next()) is not None:
                    if not member.isreg() or member.issparse():
                        raise UserError(f"{where}: {printable(member.name)} is no regular file: wrong archive")
                    if member.offset_data + member.size > whole.length:
                        raise UserError(f"{where}: truncated in {printable(member.name)}; copy or fetch it again")
                    yield member
    except (OSError, tarfile.TarError) as fault:
        raise _unreadable(option, path, fault, inner) from fault


class _Window(io.RawIOBase):
    """A part of a file as a file of its own, for tarfile to read headers from."""

    def __init__(self, file: BinaryIO, offset: int, length: int) -> None:
        self.length = length
        self._file, self._offset, self._at = file, offset, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.length}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self.length - self._at))
        self._file.seek(self._offset + self._at)
        data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _check_md5(path: Path, expected: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with (
            open_to_read(path) as file,
            tqdm(total=path.stat().st_size, desc=f"MD5 of {path.name}", unit="B", unit_scale=True, disable=None) as bar,
        ):
            while block := file.read(1 << 22):
                digest.update(block)
                bar.update(len(block))
    except OSError as fault:
        raise cannot_be_read(path, fault) from fault
    if digest.hexdigest() != expected:
        raise UserError(f"{path} has MD5 {digest.hexdigest()}, the original {expected}: fetch it again")


def _unreadable(option: str, path: Path, fault: Exception, inner: tarfile.TarInfo | None = None) -> UserError:
    if isinstance(fault, OSError) and fault.strerror:
        return cannot_be_read(f"{option} {path}", fault)
    part = f", {inner.name}," if inner is not None else ""
    return UserError(f"{option} {path}{part} is no whole tar archive ({fault}): wrong or cut; fetch it again")
