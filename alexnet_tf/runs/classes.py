"""classes.json: the keys and names of classes in label order, of a run or of an exported model. No TensorFlow here."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import read_whole
from tfrecords.manifest import Manifest


class Classes(BaseModel):
    """Class keys (folder names) and readable names, both in label order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: list[str]
    names: list[str]

    @model_validator(mode="after")
    def _one_name_a_key(self) -> "Classes":
        if len(self.names) != len(self.keys) or len(set(self.keys)) != len(self.keys):
            raise ValueError("keys and names differ in number, or a key is listed twice")
        return self

    @staticmethod
    def of(manifest: Manifest) -> "Classes":
        """The classes of a data set."""
        return Classes(keys=manifest.class_keys, names=manifest.class_names)

    def digest(self) -> str:
        """The SHA-256 of the keys in their order, which is what a label's number means."""
        return hashlib.sha256("\n".join(self.keys).encode("utf-8", "surrogatepass")).hexdigest()


TRAINED_DATA = "give the data it was trained on with --data"


def check_same_classes(net: str, classes: Classes, data: Path, manifest: Manifest, remedy: str = TRAINED_DATA) -> None:
    """Makes sure that a label of the data means what it means to a net.

    Raises:
      UserError: the data have other classes, or another order of them; ends with the remedy.
    """
    if manifest.class_keys != classes.keys:
        raise UserError(
            f"{net} knows {len(classes.keys)} classes, {data} {how_they_differ(classes.keys, manifest.class_keys)}; "
            f"{remedy}"
        )


def how_they_differ(own: list[str], others: list[str]) -> str:
    """How data differ whose class keys, or their order, are not those that a network knows: "has 3 and ..."."""
    missing = [key for key in own if key not in set(others)]
    new = [key for key in others if key not in set(own)]
    found = f"has {len(others)}"
    if missing:
        found += f" and lacks {_a_few(missing)}"
    if new:
        found += f"{' but' if missing else ', among them'} {'has ' if missing else ''}{_a_few(new)}"
    if not missing and not new:
        place = next(place for place, (key, other) in enumerate(zip(own, others, strict=True)) if key != other)
        found += f" in another order: label {place} is {others[place]}, not {own[place]}"
    return found


def _a_few(keys: list[str], most: int = 5) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def load_classes(path: AnyPath, remedy: str) -> Classes:
    """Reads a classes.json, of a run or of an exported model.

    Args:
      path: the file.
      remedy: what helps where it is missing or broken; the end of the message.

    Raises:
      UserError: it is missing or broken, or cannot be read.
    """
    path = Path(path)
    try:
        return Classes.model_validate_json(read_whole(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {remedy}") from None
    except OSError as fault:
        raise cannot_be_read(path, fault) from fault
    except ValidationError as fault:
        raise UserError(f"{path} is broken: {remedy}") from fault
