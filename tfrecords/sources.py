"""Where pictures come from: each source lists its classes and, per split, its pictures.

First stop in the path of an image. A source only lists; the workers open the pictures. Listings are
sorted, so they are the same on every machine. No TensorFlow here.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alexnet_tf.errors import UserError
from tfrecords.pictures import UnreadablePicture

MAX_FILE_BYTES = 256 << 20
"""A larger file is not read: it is no photograph, and a worker's memory stays bounded."""

NAMES_FILE = "synset_words.txt"


class Item(Protocol):
    """One picture of a source, small and picklable: it travels to a worker process."""

    @property
    def label(self) -> int:
        """Class index from 0."""

    @property
    def file_name(self) -> str:
        """The name that goes into the record."""

    @property
    def where(self) -> str:
        """What to call it in messages: class folder and file name."""

    def read(self) -> bytes:
        """The picture's bytes as stored.

        Raises:
            OSError, UnreadablePicture: it cannot be read.
        """


class Source(Protocol):
    """A data set to convert."""

    kind: str
    """The subcommand's name."""
    class_keys: list[str]
    class_names: list[str]

    def items(self, split: str) -> Sequence[Item]:
        """The pictures of `train` or `val`, sorted."""


class FolderSource:
    """`train/<class>/<picture>` and `val/<class>/<picture>`; the folder's name is the class key."""

    kind = "folder"

    def __init__(self, train: Path, val: Path) -> None:
        """Lists the class folders.

        Raises:
            UserError: a folder is missing or without classes, or the two have different classes.
        """
        self._folders = {"train": train, "val": val}
        self.class_keys = _class_keys(train)
        _check_same_classes(self.class_keys, train, val)
        names = _read_names(train.parent / NAMES_FILE)
        self.class_names = [names.get(key, key) for key in self.class_keys]

    def items(self, split: str) -> list["FolderItem"]:
        """The pictures of a split, by class and then by file name.

        Raises:
            UserError: names a class folder without files, or one that cannot be listed.
        """
        found: list[FolderItem] = []
        for label, key in enumerate(self.class_keys):
            folder = self._folders[split] / key
            names = _file_names(folder)
            if not names:
                raise UserError(
                    f"class folder {folder} is empty: its pictures must lie directly in it; fill or remove it"
                )
            found += [FolderItem(label, name, str(folder)) for name in names]
        return found


@dataclass(frozen=True)
class FolderItem:
    """A picture file in a class folder."""

    label: int
    file_name: str
    folder: str

    @property
    def where(self) -> str:
        """Class folder and file name, printable on one line."""
        return printable(f"{os.path.basename(self.folder)}/{self.file_name}")

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            OSError: it cannot be opened or read.
            UnreadablePicture: it is larger than MAX_FILE_BYTES.
        """
        with open(os.path.join(self.folder, self.file_name), "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise UnreadablePicture(f"file larger than {MAX_FILE_BYTES >> 20} MiB")
            return file.read()


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """The items in an order drawn by the seed, so that any run of them is a fair sample.

    The order is that of SHA-256 digests. Unlike a random generator's permutation it can never
    change with a library's version, and one more picture leaves the order of the others as it was.
    """

    def draw(item: Item) -> bytes:
        text = f"{seed}/{item.label}/{item.file_name}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

    return sorted(items, key=draw)


def printable(name: str) -> str:
    """A file name fit for a one-line message: names may hold line ends or broken UTF-8."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _class_keys(folder: Path) -> list[str]:
    keys = sorted(entry.name for entry in _listing(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not keys:
        raise UserError(f"{folder} has no class folders: it must hold one folder of pictures per class")
    for key in keys:
        if not key.isprintable():
            raise UserError(f"class folder {printable(key)} in {folder} has an unprintable name: rename it")
    return keys


def _check_same_classes(train_keys: list[str], train: Path, val: Path) -> None:
    val_keys = _class_keys(val)
    for missing_in, present_in, keys in (
        (val, train, sorted(set(train_keys) - set(val_keys))),
        (train, val, sorted(set(val_keys) - set(train_keys))),
    ):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UserError(
                f"class folder {keys[0]}{more} of {present_in} is missing in {missing_in}: "
                "both must have the same classes"
            )


def _file_names(folder: Path) -> list[str]:
    # A link to nothing stays in the list: its picture is missing, and is told as unreadable.
    return sorted(
        entry.name
        for entry in _listing(folder)
        if not entry.name.startswith(".")
        and (entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)))
    )


def _listing(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as fault:
        raise UserError(f"folder {folder} cannot be listed: {fault.strerror}") from fault


def _read_names(path: Path) -> dict[str, str]:
    """`key words...` a line; an absent file means no names."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{path} cannot be read as UTF-8 text: {fault}") from fault
    pairs = (line.split(maxsplit=1) for line in lines)
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
