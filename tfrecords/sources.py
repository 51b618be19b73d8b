"""Where pictures come from: what a source and one of its pictures have to offer.

First station of an image. A source only lists; the workers open the pictures. Listings are
sorted, so they are the same on every machine. The sources themselves: folder_source.py,
ilsvrc2012.py, tfds_source.py. No TensorFlow here.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeVar

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.text_files import read_text
from tfrecords.picture_limits import LARGE_FILE, MAX_FILE_BYTES
from tfrecords.picture_structure import UnreadablePicture

NAMES_FILE = "synset_words.txt"

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,300}(\.0+)?")


class Item(Protocol):
    """One picture of a source, small and picklable: it travels to a worker process.

    Its `repr` stands for it when an interrupted conversion is resumed.
    """

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


@dataclass(frozen=True, slots=True)
class FilePart:
    """A picture that is so many bytes somewhere inside a large file."""

    label: int
    file_name: str
    path: str
    offset: int
    length: int

    @property
    def where(self) -> str:
        """The picture's name, printable on one line."""
        return printable(self.file_name)

    def read(self) -> bytes:
        """These bytes and no others.

        Raises:
          OSError: the file cannot be opened or read.
          UnreadablePicture: larger than MAX_FILE_BYTES, or the file has become shorter.
        """
        if self.length > MAX_FILE_BYTES:
            raise UnreadablePicture(LARGE_FILE)
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.offset)
            data = bytearray()
            while len(data) < self.length and (more := file.read(self.length - len(data))):
                data += more
        if len(data) < self.length:
            raise UnreadablePicture(f"{self.path} ends in the middle of it")
        return bytes(data)


AnyItem = TypeVar("AnyItem", bound=Item)


def class_counts(items: Sequence[Item], num_classes: int) -> list[int]:
    """How many of the pictures each class has, in label order."""
    counts = [0] * num_classes
    for item in items:
        counts[item.label] += 1
    return counts


def shuffled(items: Sequence[AnyItem], seed: int) -> list[AnyItem]:
    """The items in an order drawn by the seed, so that any run of them is a fair sample.

    The order is that of SHA-256 digests. Unlike a random generator's permutation it can never
    change with a library's version, and one more picture leaves the order of the others as it was.
    """
    return sorted(items, key=lambda item: draw(seed, item.label, item.file_name))


def draw(*parts: Any) -> bytes:
    """A draw that depends on nothing but the parts: 32 bytes, to be compared with other draws."""
    text = "/".join(map(str, parts))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def printable(name: str) -> str:
    """A file name fit for a one-line message: names may hold line ends or broken UTF-8."""
    return name if name.isprintable() else ascii(name)[1:-1]


def composed(key: str) -> str:
    """A class key in Unicode's composed form (NFC): another system may store the same name as letters and accents."""
    return unicodedata.normalize("NFC", key)


def in_label_order(keys: Iterable[str]) -> list[str]:
    """Class keys in the order of their labels: as numbers if all are whole numbers, else as text.

    As text, 10 would come before 2, and label 2 of a user's list would be another class. Only the digits 0 to 9 make
    numbers, for others sort by themselves; a `.0` behind them, as spreadsheets leave it, changes nothing.

    Raises:
      UserError: two keys are the same number, as 1 and 01.
    """
    texts = sorted(set(keys))
    numbers = {text: int(text.partition(".")[0]) for text in texts if WHOLE_NUMBER.fullmatch(text)}
    if len(numbers) < len(texts):
        return texts
    found = sorted(texts, key=lambda text: (numbers[text], text))
    for one, other in pairwise(found):
        if numbers[one] == numbers[other]:
            raise UserError(
                f"classes {one} and {other} are the same number, so their order would be a matter of chance: "
                "rename one, or give all of them names"
            )
    return found


def read_names(path: AnyPath) -> dict[str, str]:
    """Names for people by class key, `key words...` a line; an absent file means no names.

    Raises:
      UserError: the file is there and cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a folder, a pipe or a device, no file of names: remove it")
    try:
        lines = read_text(path).splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines)
    return {composed(pair[0]): pair[1].strip() for pair in pairs if len(pair) == 2}
