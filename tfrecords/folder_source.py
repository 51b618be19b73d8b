"""Pictures in folders: a folder a class, or anywhere with a list of labels.

    train/<class>/[folders/]<picture>   the folder's name is the class key
    --labels FILE.csv                   columns `file` and `label`, and perhaps `split`

Where nothing says which pictures are for validation, `--val-fraction` draws them.
"""

import contextlib
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.whole_files import open_to_read
from tfrecords.label_list import SPLITS, read_label_list
from tfrecords.picture_limits import LARGE_FILE, MAX_FILE_BYTES
from tfrecords.picture_structure import UnreadablePicture
from tfrecords.sources import NAMES_FILE, composed, draw, in_label_order, printable, read_names

LEFT_BY_SYSTEMS = {
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "folder.htt", "icon\r", "picasa.ini",
    "zbthumbnail.info",
}  # fmt: skip
"""Files that Windows, macOS and viewers put beside pictures, in small letters. What begins with a dot, as .DS_Store and
._*, is hidden and left out anyway."""
FOLDERS_OF_SYSTEMS = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
"""Folders that macOS, Windows, Linux and network drives make, in small letters."""


PICTURE_ENDINGS = {
    ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".ppm", ".pgm",
}  # fmt: skip
"""By which a picture beside the class folders is told from a list of names or a note."""


@dataclass(frozen=True, slots=True)
class FolderItem:
    """A picture file.

    Attributes:
      label: class index from 0.
      file_name: from `folder` on; with `/` where the picture lies deeper.
      folder: its class folder, or the folder that a list of labels is about.
      class_key: to call it by in messages, where `folder` is no class folder.
    """

    label: int
    file_name: str
    folder: str
    class_key: str = ""

    @property
    def where(self) -> str:
        """Class and file name, printable on one line."""
        return printable(f"{self.class_key or os.path.basename(self.folder)}/{self.file_name}")

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
          OSError: it cannot be opened or read, or it is a pipe or a device, which might never end.
          UnreadablePicture: it is larger than MAX_FILE_BYTES, or this system cannot write its name.
        """
        with self._open() as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise UnreadablePicture(LARGE_FILE)
            return file.read()

    def _open(self) -> BinaryIO:
        try:
            return open_to_read(Path(self.folder, self.file_name))
        except UnicodeEncodeError as fault:  # an old locale, which knows fewer letters than the list of labels
            raise UnreadablePicture(f"its name cannot be written in {fault.encoding}: set LC_ALL=C.UTF-8") from fault
        except FileNotFoundError:
            # A list of labels may have been made where file names are stored in another Unicode form.
            for form in ("NFC", "NFD"):
                with contextlib.suppress(FileNotFoundError):
                    return open_to_read(Path(self.folder, unicodedata.normalize(form, self.file_name)))
            raise


class FolderSource:
    """`train/<class>/<picture>` and `val/<class>/<picture>`; the folder's name is the class key.

    The same name in another Unicode form, as other systems store it, is the same class.
    """

    kind = "folder"

    def __init__(self, train: Path, val: Path) -> None:
        """Lists the class folders.

        Raises:
          UserError: a folder is missing or without classes, the two have different classes, or are one folder.
        """
        if os.path.realpath(train) == os.path.realpath(val):
            raise UserError(
                f"--train {train} and --val {val} are the same folder, so training and validation would see the same "
                "pictures: give another one, or --val-fraction in place of --val"
            )
        self._folders = {"train": _class_folders(train), "val": _class_folders(val)}
        self.class_keys = _in_label_order(train, self._folders["train"])
        _check_same_classes(train, val, self._folders)
        self.class_names = _names(train, self.class_keys)

    def items(self, split: str) -> list[FolderItem]:
        """The pictures of a split, by class and then by file name.

        Raises:
          UserError: names a class folder without files, or one that cannot be listed.
        """
        return _pictures(self._folders[split], self.class_keys)


class DrawnFolderSource:
    """`train/<class>/<picture>` alone: the seed draws a fraction of every class for validation."""

    kind = "folder"

    def __init__(self, train: Path, val_fraction: float, seed: int) -> None:
        """Lists the classes and divides the pictures.

        Raises:
          UserError: the folder is missing or without classes, or a class cannot be divided.
        """
        folders = _class_folders(train)
        self.class_keys = _in_label_order(train, folders)
        self.class_names = _names(train, self.class_keys)
        self._items = drawn_splits(_pictures(folders, self.class_keys), self.class_keys, val_fraction, seed)

    def items(self, split: str) -> list[FolderItem]:
        """The pictures of a split, by class and then by file name."""
        return self._items[split]


class LabelsSource:
    """Pictures anywhere below a folder, with their labels in a CSV file."""

    kind = "folder"

    def __init__(self, labels: Path, folders: dict[str, Path], val_fraction: float | None, seed: int) -> None:
        """Reads the list.

        Args:
          labels: CSV with a line of column names: `file`, `label` and, unless a fraction is to
            be drawn, `split` (`train` or `val`).
          folders: per split what the files' paths start from.
          val_fraction: of every class, to be drawn for validation.
          seed: draws them.

        Raises:
          UserError: names the file and the line.
        """
        in_one_folder = os.path.realpath(folders["train"]) == os.path.realpath(folders["val"])
        rows = read_label_list(labels, with_split=val_fraction is None, in_one_folder=in_one_folder)
        try:
            self.class_keys = in_label_order(row.label for row in rows)
        except UserError as fault:
            raise UserError(f"{labels}: {fault}") from None
        self.class_names = _names(labels, self.class_keys)
        index = {key: label for label, key in enumerate(self.class_keys)}
        found: dict[str, list[FolderItem]] = {split: [] for split in SPLITS}
        for row in rows:
            folder = str(folders[row.split])
            found[row.split].append(FolderItem(index[row.label], row.file, folder, row.label))
        for items in found.values():
            items.sort(key=lambda item: (item.label, item.file_name))
        if val_fraction is not None:
            found = drawn_splits(found["train"], self.class_keys, val_fraction, seed)
        for split, items in found.items():
            missing = set(range(len(self.class_keys))) - {item.label for item in items}
            if missing:
                key = self.class_keys[min(missing)]
                raise UserError(f"{labels} has no {split} picture of class {key}: both splits need all classes")
        self._items = found

    def items(self, split: str) -> list[FolderItem]:
        """The pictures of a split, by class and then by file name."""
        return self._items[split]


def drawn_splits(
    items: list[FolderItem], class_keys: list[str], val_fraction: float, seed: int
) -> dict[str, list[FolderItem]]:
    """Divides every class by draws that depend on seed, class and file name only.

    So the result is the same on every machine, and another picture moves hardly any other.

    Raises:
      UserError: a class is too small to be divided.
    """
    found: dict[str, list[FolderItem]] = {split: [] for split in SPLITS}
    by_class: dict[int, list[FolderItem]] = {}
    for item in items:
        by_class.setdefault(item.label, []).append(item)
    for label, key in enumerate(class_keys):
        pictures = by_class.get(label, [])
        if len(pictures) < 2:
            raise UserError(f"class {key} has a single picture: --val-fraction needs two; add some or remove it")
        shuffled = sorted(pictures, key=lambda item: draw(seed, "val", key, item.file_name))
        chosen = set(shuffled[: min(max(1, round(val_fraction * len(pictures))), len(pictures) - 1)])
        for item in pictures:
            found["val" if item in chosen else "train"].append(item)
    return found


def _names(beside: Path, class_keys: list[str]) -> list[str]:
    names = read_names(Path(os.path.abspath(beside)).parent / NAMES_FILE)
    return [names.get(key, key) for key in class_keys]


def _class_folders(folder: Path) -> dict[str, Path]:
    """The class folders by key, which is their name in Unicode's composed form.

    Raises:
      UserError: there are none, one has a name that cannot be shown, or two have the same name.
    """
    found: dict[str, Path] = {}
    for entry in _listing(folder):
        if not _is_anybodys(entry.name, FOLDERS_OF_SYSTEMS) or not _is_folder(entry):
            continue
        if not entry.name.isprintable():
            raise UserError(f"class folder {printable(entry.name)} in {folder} has an unprintable name: rename it")
        key = composed(entry.name)
        if key in found:
            raise UserError(
                f"{folder} has two class folders {key}, whose names differ in their Unicode form alone "
                f"({found[key].name!a} and {entry.name!a}): put their pictures into one"
            )
        found[key] = folder / entry.name
    if not found:
        raise UserError(f"{folder} has no class folders: it must hold one folder of pictures per class")
    return found


def loose_pictures(folder: Path) -> list[str]:
    """Names of what seem to be pictures beside the class folders: they belong to no class."""
    names = (entry.name for entry in _listing(folder) if entry.is_file() and _is_anybodys(entry.name, LEFT_BY_SYSTEMS))
    return sorted(name for name in names if Path(name).suffix.lower() in PICTURE_ENDINGS)


def _is_anybodys(name: str, of_systems: set[str]) -> bool:
    """Whether a file or folder was put there by a person: neither hidden nor left by a system."""
    return not name.startswith(".") and name.lower() not in of_systems


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a folder or a link to one.

    Raises:
      UserError: the target of a link cannot be found.
    """
    try:
        return entry.is_dir()
    except OSError as fault:  # links that lead in a circle
        raise UserError(
            f"{printable(entry.path)} leads nowhere ({fault.strerror}): remove it, or mend the link"
        ) from fault


def _in_label_order(folder: Path, found: dict[str, Path]) -> list[str]:
    try:
        return in_label_order(found)
    except UserError as fault:
        raise UserError(f"{folder}: {fault}") from None


def _check_same_classes(train: Path, val: Path, found: dict[str, dict[str, Path]]) -> None:
    for missing_in, present_in, keys in (
        (val, train, sorted(found["train"].keys() - found["val"].keys())),
        (train, val, sorted(found["val"].keys() - found["train"].keys())),
    ):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UserError(
                f"class folder {keys[0]}{more} of {present_in} is missing in {missing_in}: "
                "both must have the same classes"
            )


def _pictures(folders: dict[str, Path], class_keys: list[str]) -> list[FolderItem]:
    found: list[FolderItem] = []
    for label, key in enumerate(class_keys):
        names = sorted(files_below(folders[key]))
        if not names:
            raise UserError(f"class folder {folders[key]} is empty: fill or remove it")
        found += [FolderItem(label, name, str(folders[key])) for name in names]
    return found


def files_below(folder: Path) -> Iterator[str]:
    """Everything at any depth, as a path from the class folder on, but what is hidden or left by a system.

    Pipes, devices and links that lead nowhere stay in the list, to be reported as unreadable.
    """
    below = [""]
    while below:
        parent = below.pop()
        for entry in _listing(folder / parent):
            is_folder = entry.is_dir(follow_symlinks=False)
            if not _is_anybodys(entry.name, FOLDERS_OF_SYSTEMS if is_folder else LEFT_BY_SYSTEMS):
                continue
            if is_folder:
                below.append(f"{parent}{entry.name}/")
                continue
            with contextlib.suppress(OSError):  # links that lead in a circle
                if entry.is_dir():
                    raise UserError(f"{printable(entry.path)} is a link to a folder: list such pictures with --labels")
            yield parent + entry.name


def _listing(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as fault:
        raise cannot_be_read(f"folder {folder}", fault) from fault
