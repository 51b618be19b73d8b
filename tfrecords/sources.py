"""Where pictures come from: what a source and one of its pictures have to offer.

First stop in the path of an image. A source only lists; the workers open the pictures. Listings are
sorted, so they are the same on every machine. The sources themselves: folder_source.py,
ilsvrc2012.py, tfds_source.py. No TensorFlow here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from alexnet_tf.errors import UserError
from tfrecords.pictures import UnreadablePicture

MAX_FILE_BYTES = 256 << 20
"""A larger file is not read: it is no photograph, and a worker's memory stays bounded."""

NAMES_FILE = "synset_words.txt"


class Item(Protocol):
    """One picture of a source, small and picklable: it travels to a worker process.

    Its `repr` stands for it where an interrupted conversion is gone on with.
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
            raise UnreadablePicture(f"file larger than {MAX_FILE_BYTES >> 20} MiB")
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.offset)
            data = bytearray()
            while len(data) < self.length and (more := file.read(self.length - len(data))):
                data += more
        if len(data) < self.length:
            raise UnreadablePicture(f"{self.path} ends in the middle of it")
        return bytes(data)


AnyItem = TypeVar("AnyItem", bound=Item)


def shuffled(items: Sequence[AnyItem], seed: int) -> list[AnyItem]:
    """The items in an order drawn by the seed, so that any run of them is a fair sample.

    The order is that of SHA-256 digests. Unlike a random generator's permutation it can never
    change with a library's version, and one more picture leaves the order of the others as it was.
    """
    return sorted(items, key=lambda item: draw(seed, item.label, item.file_name))


def draw(*parts: Any) -> bytes:
    """A lot that depends on nothing but the parts: 32 bytes, to compare with those of others."""
    text = "/".join(map(str, parts))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def printable(name: str) -> str:
    """A file name fit for a one-line message: names may hold line ends or broken UTF-8."""
    return name if name.isprintable() else ascii(name)[1:-1]


def read_names(path: Path) -> dict[str, str]:
    """Names for people by class key, `key words...` a line; an absent file means no names.

    Raises:
        UserError: the file is there and cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{path} cannot be read as UTF-8 text: {fault}") from fault
    pairs = (line.split(maxsplit=1) for line in lines)
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
