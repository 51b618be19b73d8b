"""Recipes of picture files: sound ones with edits, or their pieces in another order. A recipe prints short."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from PIL import Image

LARGEST = 300_000
"""Bytes of a file that is made."""
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""What sizes and lengths are set to."""


def _made() -> dict[str, bytes]:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC)

    def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, kind, **options)
        return buffer.getvalue()

    exif = Image.Exif()
    exif[0x0112] = 6
    moving = [picture.convert("P"), picture.rotate(90).convert("P")]
    return {
        "jpeg": saved("JPEG"), "jpeg gray": saved("JPEG", "L"), "jpeg cmyk": saved("JPEG", "CMYK"),
        "jpeg progressive": saved("JPEG", progressive=True), "jpeg exif": saved("JPEG", exif=exif, comment=b"words"),
        "jpeg 4:4:4": saved("JPEG", subsampling=0, restart_marker_blocks=2),
        "png": saved("PNG"), "png alpha": saved("PNG", "RGBA"), "png gray": saved("PNG", "LA"),
        "png palette": saved("PNG", "P", transparency=3), "png bilevel": saved("PNG", "1"),
        "png 16": saved("PNG", "I;16"), "gif": saved("GIF", "P"), "gif clear": saved("GIF", "P", transparency=5),
        "gif moving": saved("GIF", "P", save_all=True, append_images=moving, loop=0, comment=b"words"),
        "bmp": saved("BMP"), "tiff": saved("TIFF"), "tiff lzw": saved("TIFF", compression="tiff_lzw"),
        "webp": saved("WEBP"), "ppm": saved("PPM"), "empty": b"", "text": b"no picture at all",
    }  # fmt: skip


def _real() -> dict[str, bytes]:
    """Further ones, from the folder that FUZZ_PICTURES names."""
    folder = os.environ.get("FUZZ_PICTURES")
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file()) if folder else []
    return {str(path): path.read_bytes() for path in paths if path.stat().st_size <= LARGEST}


FILES = _made() | _real()


class Edit(NamedTuple):
    """One change of a file; places are in 65,536ths of its length, or from its start."""

    kind: str
    place: int
    from_start: bool
    length: int
    value: int

    def made(self, file: bytes) -> bytes:
        """The changed file."""
        at = min(self.place, len(file)) if self.from_start else self.place * len(file) >> 16
        until = at + self.length
        if self.kind == "set":
            return file[:at] + bytes([self.value & 0xFF]) + file[at + 1 :]
        if self.kind == "flip":
            return file[:at] + bytes(byte ^ 1 << self.value % 8 for byte in file[at : at + 1]) + file[at + 1 :]
        if self.kind == "number":
            width = 2 if self.value <= 0xFFFF else 4
            order = "big" if self.length % 2 else "little"
            return file[:at] + self.value.to_bytes(width, order) + file[at + width :]
        if self.kind == "cut":
            return file[:at]
        if self.kind == "drop":
            return file[:at] + file[until:]
        if self.kind == "repeat":
            piece = file[at:until]
            times = min(self.value % 5000, LARGEST // max(len(piece), 1))
            return (file[:until] + piece * times + file[until:])[:LARGEST]
        if self.kind == "fill":
            return file[:at] + bytes([self.value & 0xFF]) * self.length + file[until:]
        return file[:at] + FILES[sorted(FILES)[self.value % len(FILES)]][at:]  # another's end


EDITS = st.builds(
    Edit,
    kind=st.sampled_from(["set", "flip", "number", "cut", "drop", "repeat", "fill", "another's end"]),
    place=st.one_of(st.integers(0, 80), st.integers(0, 65_536)),
    from_start=st.booleans(),
    length=st.one_of(st.integers(1, 8), st.integers(1, 3000)),
    value=st.one_of(st.integers(0, 255), st.sampled_from(NUMBERS), st.integers(0, 2**32 - 1)),
)


class Recipe(NamedTuple):
    """A file: `pieces` of a sound one (all, or these in this order), then edits, then right checksums where wanted."""

    name: str
    pieces: list[int] | None
    edits: list[Edit]
    checksums: bool

    def made(self) -> bytes:
        """The file."""
        file = FILES[self.name]
        if self.pieces is not None:
            parts = _pieces(file)
            file = b"".join(parts[number % len(parts)] for number in self.pieces)[:LARGEST] if parts else file
        for edit in self.edits:
            file = edit.made(file)
        return _with_checksums(file) if self.checksums else file


RECIPES = st.builds(
    Recipe,
    name=st.sampled_from(sorted(FILES)),
    pieces=st.one_of(st.none(), st.none(), st.lists(st.integers(0, 30), min_size=1, max_size=60)),
    edits=st.lists(EDITS, max_size=5),
    checksums=st.booleans(),
)


def _pieces(file: bytes) -> list[bytes]:
    """A JPEG file's segments, each with the data behind it, or a PNG file's chunks; the start is piece 0."""
    if file.startswith(b"\x89PNG"):
        parts, at = [file[:8]], 8
        while at < len(file):
            end = at + 12 + int.from_bytes(file[at : at + 4], "big")
            parts.append(file[at:end])
            at = end
        return parts
    if file.startswith(b"\xff\xd8"):
        places = [at for at in range(len(file) - 1) if file[at] == 0xFF and 0xC0 <= file[at + 1] <= 0xFE]
        return [file[start:end] for start, end in zip(places, [*places[1:], len(file)], strict=True)]
    return [file[start : start + 50] for start in range(0, len(file), 50)]


def _with_checksums(file: bytes) -> bytes:
    """A PNG file's chunks with the checksums that they should have; of other files nothing is changed."""
    if not file.startswith(b"\x89PNG\r\n\x1a\n"):
        return file
    parts, at = [file[:8]], 8
    while at + 12 <= len(file):
        end = at + 8 + int.from_bytes(file[at : at + 4], "big")
        parts += [file[at:end], struct.pack(">I", zlib.crc32(file[at + 4 : end]))]
        at = end + 4
    return b"".join([*parts, file[at:]])
