"""Any image classification set of TensorFlow Datasets, prepared already or prepared here.

One pass over the records gives labels and every record's place in its file; workers read there. So
the pictures are converted from the bytes that TFDS stores, never decoded and coded once more.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from tqdm import tqdm

from alexnet_tf.program.errors import UserError
from tfrecords.pictures import UnreadablePicture
from tfrecords.record_check import one_line
from tfrecords.sources import FilePart, printable

VAL_SPLITS = ("validation", "val", "test")
"""Taken for validation in this order, where --val-split names none."""

FRAME_BEFORE, FRAME_AFTER = 12, 4
"""Bytes around a record in its file: its length and two checksums."""


@dataclass(frozen=True, slots=True)
class TfdsItem:
    """A picture inside a record of TFDS's."""

    record: FilePart
    image_key: str

    @property
    def label(self) -> int:
        """Class index from 0."""
        return self.record.label

    @property
    def file_name(self) -> str:
        """The set's own file name of the picture, or one made from split and number."""
        return self.record.file_name

    @property
    def where(self) -> str:
        """The file name, printable on one line."""
        return self.record.where

    def read(self) -> bytes:
        """The picture's bytes, as TFDS stored them.

        Raises:
          OSError, UnreadablePicture: the record cannot be read.
        """
        values = _feature(self.record.read(), self.image_key).bytes_list.value
        if not values:
            raise UnreadablePicture("record without a picture")
        return bytes(values[0])


class TfdsSource:
    """Two splits of a TFDS set; class keys are its label names, in its order."""

    kind = "tfds"

    def __init__(self, name: str, data_dir: Path | None, train_split: str, val_split: str | None) -> None:
        """Prepares the set where needed and lists its pictures.

        Args:
          name: as `tfds.builder` takes it: `cifar10`, `imagenet2012/...:5.1.0`.
          data_dir: TFDS's folder; None means its own default.
          train_split: a split, or a part of one such as `train[:90%]`.
          val_split: the same; None takes the first of VAL_SPLITS that there is.

        Raises:
          UserError: no such set or split, it cannot be prepared, or it is none of labeled pictures.
        """
        builder = _prepared(name, data_dir)
        self._image_key, label_key = _image_and_label(name, builder.info.features)
        feature = builder.info.features[label_key]
        self.class_keys = [str(feature.int2str(label)) for label in range(feature.num_classes)]
        self.class_names = self.class_keys
        splits = {"train": train_split, "val": val_split or _val_split(name, builder)}
        self._items = {ours: self._list(builder, theirs, label_key) for ours, theirs in splits.items()}

    def items(self, split: str) -> list[TfdsItem]:
        """The pictures of a split, in the order in which TFDS stores them."""
        return self._items[split]

    def _list(self, builder: Any, split: str, label_key: str) -> list[TfdsItem]:
        name_key = next((key for key in ("file_name", "filename") if key in builder.info.features), None)
        try:
            info = builder.info.splits[split]
            total, instructions = info.num_examples, info.file_instructions
        except (KeyError, ValueError) as fault:
            known = ", ".join(builder.info.splits)
            raise UserError(f"--name {builder.name} has no split {split!r}, only {known} and parts of them") from fault
        if not total:
            raise UserError(f"--name {builder.name}: split {split!r} is empty")
        found: list[TfdsItem] = []
        with tqdm(total=total, desc=f"listing {split}", unit=" records", disable=None, leave=False) as bar:
            for instruction in instructions:
                for offset, record in _records(instruction):
                    label = next(iter(_feature(record, label_key).int64_list.value), -1)
                    if not 0 <= label < len(self.class_keys):
                        raise UserError(f"--name {builder.name}: split {split!r} has pictures without a label")
                    names = _feature(record, name_key).bytes_list.value if name_key else ()
                    file_name = names[0].decode("utf-8", "surrogateescape") if names else _numbered(split, len(found))
                    part = FilePart(label, file_name, str(instruction.filename), offset, len(record))
                    found.append(TfdsItem(part, self._image_key))
                    bar.update()
        return found


def _prepared(name: str, data_dir: Path | None) -> Any:
    try:
        # TFDS prints what it is about to download, and its own bars go on beside ours.
        with contextlib.redirect_stdout(io.StringIO()):
            builder = tfds.builder(name, data_dir=data_dir)
            builder.download_and_prepare(file_format="tfrecord")
    except Exception as fault:  # what TFDS and the sets' own code raise has no end
        reason = next(iter(str(fault).strip().splitlines()), type(fault).__name__)
        raise UserError(f"--name {name} cannot be prepared: {reason}") from fault
    if builder.info.file_format.value != "tfrecord":
        raise UserError(
            f"--name {name} was prepared as {builder.info.file_format.value} in {builder.data_dir}: "
            "give another --data-dir, where it is prepared as tfrecord"
        )
    return builder


def _image_and_label(name: str, features: Any) -> tuple[str, str]:
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    chosen = []
    for kind, usual, keys in (("picture", "image", images), ("label", "label", labels)):
        if usual not in keys and len(keys) != 1:
            raise UserError(f"--name {name} has {len(keys)} {kind} features: it is no image classification set")
        chosen.append(usual if usual in keys else keys[0])
    return chosen[0], chosen[1]


def _val_split(name: str, builder: Any) -> str:
    for split in VAL_SPLITS:
        if split in builder.info.splits:
            return split
    raise UserError(
        f"--name {name} has only the splits {', '.join(builder.info.splits)}: divide one, "
        "for example --train-split 'train[:90%]' --val-split 'train[90%:]'"
    )


def _records(instruction: Any) -> Iterator[tuple[int, bytes]]:
    """Offset and content of the records that an instruction takes from its file."""
    offset = number = 0
    path, end = str(instruction.filename), instruction.skip + instruction.take
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            if number >= end:
                return
            if number >= instruction.skip:
                yield offset + FRAME_BEFORE, record
            offset += FRAME_BEFORE + len(record) + FRAME_AFTER
            number += 1
    except tf.errors.OpError as fault:
        raise UserError(
            f"{printable(path)} cannot be read: {one_line(fault)}; remove its folder, so that TFDS prepares it again"
        ) from fault
    if number < end:
        raise UserError(
            f"{printable(path)} was cut: {number} records, TFDS counts {end} or more; remove its folder, so that "
            "TFDS prepares it again"
        )


def _feature(record: bytes, key: str) -> Any:
    return tf.train.Example.FromString(record).features.feature[key]


def _numbered(split: str, number: int) -> str:
    return f"{split}-{number:08d}"
