"""state.json: what a checkpoint holds beside weights and velocities, and what it is bound to by checksums.

No TensorFlow here.
"""

import errno
import hashlib
import json
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.whole_files import read_whole
from alexnet_tf.runs.experiment import Experiment

STATE_FILE = "state.json"
CHECKPOINT_PREFIX = "step-"
CHECKPOINT_NAME = re.compile(rf"{CHECKPOINT_PREFIX}(\d{{8,}})")
CHECKPOINT_FILES = re.compile(r"(\.unfinished-)?state\.json|variables\.index|variables\.data-\d{5}-of-\d{5}")
"""The names of all files in a checkpoint's folder."""


class TrainingState(BaseModel):
    """Where a run stands."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    step: int = Field(0, ge=0)
    """Steps done."""
    drops: int = Field(0, ge=0)
    """How often the plateau schedule has lowered the rate."""
    best_top1_error: float | None = Field(None, ge=0, le=1)
    epochs_since_best: int = Field(0, ge=0)
    """Or since the plateau schedule last lowered the rate."""
    epochs_without_best: int = Field(0, ge=0)
    """Whatever the schedule did meanwhile; for train.stop_after."""
    validation_due: bool = False
    """Whether an epoch ends here whose validation is still to come: saving comes first."""


class Record(TrainingState):
    """A state.json. Those of earlier versions hold the first four fields alone and are bound to nothing."""

    top1_error: float | None = Field(None, ge=0, le=1)
    """On the validation split, with these very weights; what is the best checkpoint follows from it."""
    variables: dict[str, str] | None = None
    """SHA-256 of each of the files that hold the variables, by name."""
    experiment: Experiment | None = None
    checksum: str | None = None
    """SHA-256 over all the rest."""

    @property
    def state(self) -> TrainingState:
        """The state from which training resumes."""
        return TrainingState(**{name: getattr(self, name) for name in TrainingState.model_fields})

    def to_json(self) -> bytes:
        """The file's content, the checksum with it."""
        fields = json.loads(self.model_dump_json(exclude={"checksum"}))
        return json.dumps({**fields, "checksum": _checksum(fields)}, indent=1).encode() + b"\n"


def checkpoint_name(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"{CHECKPOINT_PREFIX}{step:08d}"


def step_of(name: str) -> int | None:
    """The step in the name of a checkpoint's folder; None where it is no such name."""
    match = CHECKPOINT_NAME.fullmatch(name)
    return int(match[1]) if match and checkpoint_name(int(match[1])) == name else None


def read_record(checkpoint: Path) -> Record:
    """What a checkpoint's state.json says.

    Raises:
      UserError: it is missing, broken, or of another checkpoint.
    """
    try:
        content = read_whole(checkpoint / STATE_FILE)
        record = Record.model_validate_json(content)
    except FileNotFoundError:
        raise damaged(checkpoint, f"{STATE_FILE} is missing") from None
    except OSError as fault:
        raise unreadable(checkpoint, STATE_FILE, fault) from fault
    except ValidationError as fault:
        raise damaged(checkpoint, f"{STATE_FILE} is broken") from fault
    if record.step != step_of(checkpoint.name):
        raise damaged(checkpoint, f"its {STATE_FILE} is of step {record.step}")
    if record.checksum is None and record.variables is None and record.experiment is None:
        return record  # of an earlier version
    if record.variables is None or record.experiment is None or not _sums_agree(content):
        raise damaged(checkpoint, f"{STATE_FILE} is not as it was written")
    return record


def damaged(checkpoint: Path, reason: str) -> UserError:
    """The error for a checkpoint that cannot be used, and what helps."""
    if not checkpoint.exists():
        return UserError(f"checkpoint {checkpoint} was removed by a training meanwhile; run the same command again")
    return UserError(
        f"checkpoint {checkpoint} is damaged ({reason}); move it out of {checkpoint.parent} to go on from the one "
        "before it"
    )


def unreadable(checkpoint: Path, name: str, fault: OSError) -> UserError:
    """The error for a checkpoint with a file that cannot be read: damaged, where something else is in its place."""
    if fault.errno in (errno.EISDIR, errno.EINVAL, errno.ENXIO, errno.ELOOP):
        return damaged(checkpoint, f"{name} is no file that can be read")
    return cannot_be_read(checkpoint / name, fault)


def _sums_agree(content: bytes) -> bool:
    try:
        fields = json.loads(content)
    except ValueError:  # such as a number of more digits than Python takes
        return False
    return fields.pop("checksum", None) == _checksum(fields)


def _checksum(fields: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
