"""Pictures in folders: a folder a class, or anywhere with a list of labels.

    train/<class>/[folders/]<picture>   the folder's name is the class key
    --labels FILE.csv                   columns `file` and `label`, and perhaps `split`

Where nothing says which pictures are for validation, `--val-fraction` draws them.
"""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.text_files import read_text
from tfrecords.pictures import UnreadablePicture
from tfrecords.sources import MAX_FILE_BYTES, NAMES_FILE, draw, in_label_order, printable, read_names

SPLITS = ("train", "val")


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
            OSError: it cannot be opened or read.
            UnreadablePicture: it is larger than MAX_FILE_BYTES.
        """
        with open(os.path.join(self.folder, self.file_name), "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise UnreadablePicture(f"file larger than {MAX_FILE_BYTES >> 20} MiB")
            return file.read()


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
        self.class_keys = _class_keys(train)
        self.class_names = _names(train, self.class_keys)
        self._items = drawn_splits(_pictures(train, self.class_keys), self.class_keys, val_fraction, seed)

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
        rows = _read_labels(labels, val_fraction is None)
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
    """Divides every class by lots that hang on seed, class and file name alone.

    So they fall alike on every machine, and a picture more moves hardly any other.

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
        lots = sorted(pictures, key=lambda item: draw(seed, "val", key, item.file_name))
        chosen = set(lots[: min(max(1, round(val_fraction * len(pictures))), len(pictures) - 1)])
        for item in pictures:
            found["val" if item in chosen else "train"].append(item)
    return found


@dataclass(frozen=True)
class _Row:
    file: str
    label: str
    split: str


def _read_labels(path: Path, with_split: bool) -> list[_Row]:
    rows: list[_Row] = []
    seen: set[tuple[str, str]] = set()
    for number, row in _csv_rows(path, ("file", "label", "split") if with_split else ("file", "label")):
        fault = _row_fault(row)
        if not fault and (row.split, row.file) in seen:
            fault = f"{printable(row.file)} stands here a second time"
        if fault:
            raise UserError(f"{path}, line {number}: {fault}")
        seen.add((row.split, row.file))
        rows.append(row)
    if not rows:
        raise UserError(f"{path} lists no pictures")
    return rows


def _csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, _Row]]:
    try:
        lines = csv.DictReader(io.StringIO(read_text(path, "--labels"), newline=""))
        missing = [name for name in columns if name not in (lines.fieldnames or [])]
        if missing:
            hint = " (or give --val-fraction)" if missing == ["split"] else ""
            raise UserError(f"{path} needs a column {missing[0]!r} in its first line{hint}")
        for line in lines:
            file_name, label = ((line[name] or "").strip() for name in ("file", "label"))
            split = (line["split"] or "").strip() if "split" in columns else "train"
            yield lines.line_num, _Row(file_name, label, split)
    except FileNotFoundError as fault:
        raise cannot_be_read(f"--labels {path}", fault) from fault
    except csv.Error as fault:
        raise UserError(f"--labels {path} is no table of commas and lines ({fault}): save it as CSV") from fault


def _row_fault(row: _Row) -> str | None:
    if not row.file or os.path.isabs(row.file) or ".." in row.file.split("/"):
        return f"file {printable(row.file)!r} must be a path inside the pictures' folder"
    if not row.label or not row.label.isprintable():
        return f"label {row.label!r} must be a printable word"
    if row.split not in SPLITS:
        return f"split {printable(row.split)!r} must be train or val"
    return None


def _names(beside: Path, class_keys: list[str]) -> list[str]:
    names = read_names(beside.parent / NAMES_FILE)
    return [names.get(key, key) for key in class_keys]


def _class_keys(folder: Path) -> list[str]:
    keys = [entry.name for entry in _listing(folder) if entry.is_dir() and not entry.name.startswith(".")]
    if not keys:
        raise UserError(f"{folder} has no class folders: it must hold one folder of pictures per class")
    for key in keys:
        if not key.isprintable():
            raise UserError(f"class folder {printable(key)} in {folder} has an unprintable name: rename it")
    try:
        return in_label_order(keys)
    except UserError as fault:
        raise UserError(f"{folder}: {fault}") from None


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


def _pictures(split_folder: Path, class_keys: list[str]) -> list[FolderItem]:
    found: list[FolderItem] = []
    for label, key in enumerate(class_keys):
        folder = split_folder / key
        names = sorted(_file_names(folder, ""))
        if not names:
            raise UserError(f"class folder {folder} is empty: fill or remove it")
        found += [FolderItem(label, name, str(folder)) for name in names]
    return found


def _file_names(folder: Path, below: str) -> Iterator[str]:
    """Every file at any depth, as a path from the class folder on; hidden ones are left out."""
    for entry in _listing(folder / below):
        if entry.name.startswith("."):
            continue
        name = below + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _file_names(folder, name + "/")
        elif entry.is_dir():
            raise UserError(f"{printable(entry.path)} is a link to a folder: list such pictures with --labels")
        # A link to nothing stays in the list: its picture is missing, and is told as unreadable.
        elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):
            yield name


def _listing(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as fault:
        raise cannot_be_read(f"folder {folder}", fault) from fault
