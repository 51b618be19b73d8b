"""The manifest: what a converted data folder holds, down to the SHA-256 of every shard.

It is the last file that convert.py writes, so a folder that has one is complete. Readers load it
first and take the number of classes, the shards and their sizes from it. No TensorFlow here: a
missing folder is reported at once.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.text_files import read_text
from alexnet_tf.program.whole_files import open_to_read, write_whole
from tfrecords.exif import Exif

FORMAT = 1
"""Raised when a reader of today could no longer read what was written before."""

MANIFEST_FILE = "manifest.json"

ADVICE = "restore the file or convert again"
"""What helps where a shard is not as the manifest lists it."""

Encoding = Literal["jpeg", "raw"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shard(_Part):
    """One TFRecord file."""

    file: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    records: int = Field(ge=0, lt=2**48)
    bytes: int = Field(ge=0, lt=2**63)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Split(_Part):
    """The shards of `train` or `val`, in order, and how many pictures each class has."""

    records: int = Field(ge=0)
    class_counts: list[int]
    shards: list[Shard]

    @model_validator(mode="after")
    def _sums_agree(self) -> "Split":
        if not self.records == sum(self.class_counts) == sum(s.records for s in self.shards):
            raise ValueError("records, class_counts and the shards' records do not add up")
        return self


class Unreadable(_Part):
    """A picture that was left out, and why."""

    split: str
    file: str
    """Class folder and file name."""
    reason: str


class Manifest(_Part):
    """Everything a reader must know of a data folder before it opens a shard."""

    format: int = FORMAT
    source: str = "folder"
    size: int = Field(ge=1)
    """Side of the square pictures, in pixels."""
    channels: Literal[1, 3] = 3
    """Channels: 3 for red, green and blue, 1 for gray."""
    encoding: Encoding
    quality: int | None = Field(ge=1, le=100)
    """JPEG quality; None for raw."""
    exif: Exif = "ignore"
    """Whether the pictures were turned by their EXIF orientation; those of earlier versions were not."""
    seed: int
    class_keys: list[str]
    """Names of the class folders, sorted, whole numbers as numbers; a record's label is the position here."""
    class_names: list[str]
    """Names for people, in the order of class_keys."""
    splits: dict[str, Split]
    unreadable: list[Unreadable] = []

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every picture."""
        return self.size, self.size, self.channels

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_keys)

    @model_validator(mode="after")
    def _class_lists_agree(self) -> "Manifest":
        lengths = {len(self.class_names)} | {len(s.class_counts) for s in self.splits.values()}
        if lengths != {self.num_classes}:
            raise ValueError("class_keys, class_names and class_counts differ in length")
        return self


def load_manifest(data_dir: AnyPath) -> Manifest:
    """Reads a data folder's manifest.

    Raises:
      UserError: the folder or its manifest is missing, broken or of another format.
    """
    path = Path(data_dir) / MANIFEST_FILE
    if not Path(data_dir).is_dir():
        raise UserError(f"no data folder {data_dir}: make it with alexnet-tf convert")
    if path.is_fifo():
        raise UserError(f"{path} is a named pipe, no file; convert again")
    try:
        text = read_text(path)
    except FileNotFoundError:
        if (Path(data_dir) / "checkpoints").is_dir():
            raise UserError(f"{data_dir} is a run, no converted data; give the data folder itself") from None
        raise UserError(
            f"{path} is missing, so {data_dir} is no finished conversion: make it with alexnet-tf convert"
        ) from None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as fault:
        raise UserError(f"{path} is broken ({_first_problem(fault)}); convert again") from fault
    if manifest.format != FORMAT:
        raise UserError(f"{path} has format {manifest.format}, this program reads {FORMAT}; convert again")
    return manifest


def _first_problem(fault: ValidationError) -> str:
    problem = fault.errors()[0]
    where = ".".join(str(step) for step in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]


def write_manifest(data_dir: AnyPath, manifest: Manifest) -> None:
    """Writes the manifest whole or not at all.

    Raises:
      UserError: it cannot be written.
    """
    write_whole(Path(data_dir) / MANIFEST_FILE, (manifest.model_dump_json(indent=1) + "\n").encode())


def shard_paths(data_dir: AnyPath, manifest: Manifest, split: str) -> list[Path]:
    """The files of a split, in order.

    Raises:
      UserError: the data have no such split, or nothing is in it.
    """
    return [Path(data_dir) / shard.file for shard in listed_shards(data_dir, manifest, split)]


def check_shards(data_dir: AnyPath, manifest: Manifest, split: str, *, hash_below: int = 2 << 30) -> None:
    """Checks a split's files against the manifest before they are used.

    TensorFlow itself takes a shard that was cut between two records for a shorter one.

    Args:
      data_dir: the data folder.
      manifest: what `load_manifest` returned.
      split: `train` or `val`.
      hash_below: bytes; a split smaller than this is hashed as well. A full ImageNet is not, so
        that its training starts without reading 30 GB first; `verify` always hashes.

    Raises:
      UserError: names the first shard that is missing, cut or changed, or a split without pictures.
    """
    check_files(Path(data_dir), listed_shards(data_dir, manifest, split), "shard", ADVICE, hash_below=hash_below)


def check_files(folder: Path, shards: list[Shard], kind: str, advice: str, *, hash_below: int = 2 << 30) -> None:
    """As `check_shards`, for any listed files; `kind` and `advice` as for `shard_problem`."""
    hashing = sum(shard.bytes for shard in shards) < hash_below
    # All sizes first: what they tell need not wait until gigabytes are hashed.
    for hashed in (False, True) if hashing else (False,):
        for shard in shards:
            path = Path(folder) / shard.file
            if problem := shard_problem(path, shard, hashing=hashed, kind=kind, advice=advice):
                raise UserError(problem)


def shard_problem(path: Path, shard: Shard, *, hashing: bool, kind: str = "shard", advice: str = "") -> str | None:
    """What is wrong with a file as a whole; None where it is as listed.

    Args:
      path: of the file.
      shard: as it is listed.
      hashing: whether its SHA-256 is looked at, too.
      kind: what to call it in the message.
      advice: ends the message, where the file is the fault.
    """
    advice = advice and f"; {advice}"
    try:
        size = path.stat().st_size
        if size != shard.bytes:
            return f"{kind} {path} was cut or changed: {size} bytes, the manifest says {shard.bytes}{advice}"
        if hashing and file_sha256(path) != shard.sha256:
            return f"{kind} {path} was changed: its SHA-256 differs from the manifest's{advice}"
    except FileNotFoundError:
        return f"{kind} {path} is missing{advice}"
    except OSError as fault:
        return str(cannot_be_read(f"{kind} {path}", fault))
    return None


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open_to_read(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def listed_shards(data_dir: AnyPath, manifest: Manifest, split: str) -> list[Shard]:
    """What the manifest lists of a split.

    Raises:
      UserError: the data have no such split, or nothing is in it.
    """
    if split not in manifest.splits:
        known = ", ".join(manifest.splits)
        raise UserError(f"{data_dir} has no split {split!r}, only {known}")
    if not manifest.splits[split].records:
        raise UserError(f"{data_dir} has no pictures in split {split!r}: convert again, with some")
    return manifest.splits[split].shards
