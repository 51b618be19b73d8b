"""What the converter and an exported model make of each file of the zoo, and the table of it in docs/PICTURES.md."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from alexnet_tf.serving.picture_files import OK, read_files
from tests.picture_zoo.files import Files
from tests.picture_zoo.gif_files import gif_files
from tests.picture_zoo.jpeg_files import jpeg_files
from tests.picture_zoo.other_files import converter_files, unread_files
from tests.picture_zoo.png_files import png_files
from tfrecords.picture_kinds import CONVERTER_ONLY, DAMAGED, HEIF_KINDS, UNKNOWN_KIND, other_kind
from tfrecords.pictures import UnreadablePicture, load_picture

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/PICTURES.md"
START, END = "<!-- The table: python -m tests.picture_zoo -->\n", "<!-- End of the table -->\n"
ZOO: dict[str, Callable[[], Files]] = {
    "JPEG": jpeg_files,
    "PNG": png_files,
    "GIF": gif_files,
    "others": converter_files,
    "unread": unread_files,
}
SAME, BOTH_REFUSE, CONVERTER_READS, DIFFERS = "the same pixels", "both refuse", "the converter alone reads", "differs"

READ = functools.partial(read_files, stored_shape=(256, 256, 3), exif="apply")
"""As in an exported model that turns pictures by their EXIF orientation, as far as the prepared picture."""


@dataclass(frozen=True)
class Finding:
    """What became of one file."""

    form: str
    kind: str
    variant: str
    converter: str
    """Status, as `model`."""
    model: str
    difference: float
    """Levels, of 255, at the pixel and color where they differ most."""

    @property
    def verdict(self) -> str:
        """SAME, BOTH_REFUSE, CONVERTER_READS or DIFFERS."""
        if self.converter == self.model == OK:
            return SAME if self.difference <= 1 else DIFFERS
        if self.form in CONVERTER_ONLY and self.model == other_kind(self.form):
            return CONVERTER_READS if self.converter == OK else BOTH_REFUSE
        if self.form in HEIF_KINDS and self.model in map(
            other_kind, HEIF_KINDS
        ):  # with a package, the converter reads them
            return CONVERTER_READS if self.converter == OK else BOTH_REFUSE
        # The converter reads more kinds, so it says of what is none of them that it is of no known one.
        unknown = (self.converter, self.model) == ("no picture of a known format", UNKNOWN_KIND)
        return BOTH_REFUSE if unknown or OK != without_detail(self.converter) == self.model else DIFFERS


def without_detail(status: str) -> str:
    """A status as a model gives it: the converter adds what it knows of a damage."""
    return DAMAGED if status.startswith(DAMAGED) else status


@functools.cache
def look_at(form: str) -> tuple[Finding, ...]:
    """Gives each file of a part of the zoo to both sides."""
    files = ZOO[form]()
    pictures, statuses = READ(tf.constant(list(files.values())))
    found = []
    for (kind, variant), picture, status in zip(files, pictures.numpy(), statuses.numpy(), strict=True):
        converted, reason = converter_answer(files[kind, variant])
        own = form if form in ("JPEG", "PNG", "GIF") else kind
        difference = np.abs(picture - converted).max() if reason == OK else 0.0
        found.append(Finding(own, kind, variant, reason, status.decode(), float(difference)))
    return tuple(found)


def converter_answer(file: bytes) -> tuple[np.ndarray, str]:
    """The prepared picture, float32 (256, 256, 3), and status, as an exported model gives them."""
    try:
        return load_picture(file, 256, exif="apply").astype(np.float32), OK
    except UnreadablePicture as fault:
        return np.zeros((256, 256, 3), np.float32), str(fault)


def table() -> str:
    """The table, in Markdown: files of one kind that fare alike share a line."""
    findings = list(itertools.chain.from_iterable(map(look_at, ZOO)))
    lines = ["| format | files | what becomes of them | status |", "|---|---|---|---|"]
    return "\n".join([*lines, *_rows(findings)]) + "\n"


def _rows(findings: list[Finding]) -> Iterator[str]:
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for one in findings:
        status = one.converter if one.form in CONVERTER_ONLY else one.model
        key = one.form, one.kind, one.verdict, "" if status == OK else without_detail(status)
        groups.setdefault(key, []).append(one)
    for (form, kind, verdict, status), members in groups.items():
        name = form if kind == form else f"{form}, {kind}"
        yield f"| {name} | {'; '.join(one.variant for one in members)} | {verdict} | {status} |"


def written_table() -> str:
    """The table as it stands in the document."""
    return DOCUMENT.read_text(encoding="utf-8").split(START)[1].split(END)[0]


def write_table() -> None:
    """Renews the table in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(START)
    DOCUMENT.write_text(before + START + table() + END + rest.split(END)[1], encoding="utf-8")
