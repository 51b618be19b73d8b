"""What the fields of a config may hold: numbers with their ranges, paths, lists without duplicates.

No TensorFlow here.
"""

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from alexnet_tf.program.pattern_paths import text_fault


class Strict(BaseModel):
    """Unknown keys are refused, and numbers that are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Section(Strict):
    """Base of every section of a config."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        if _holds_truth(value) and bool not in kinds_of(cls.model_fields[info.field_name].annotation):
            raise ValueError("true and false are no numbers")  # Python takes them for 1 and 0
        return value


NotNegative = Annotated[float, Field(ge=0, le=1e9)]
"""Bounded, for several of them are multiplied, and the product must be a float32."""
WorkerAddress = Annotated[str, Field(pattern=r"^([^:\s/]+|\[[0-9a-fA-F:]+\]):[1-9][0-9]{0,4}$")]


def _expanded(path: Path) -> Path:
    """Replaces a leading `~` by the home folder."""
    if "\0" in str(path):
        raise ValueError("a path holds no NUL")
    if fault := text_fault(str(path)):
        raise ValueError(f"the path {fault}")
    return Path(os.path.expanduser(path))


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise ValueError(f"{twice} is listed twice")
    return values


def _numbered_once(table: Any) -> Any:
    """Refuses two keys that are the same number, such as 7 and 07."""
    _each_once(tuple(map(number, table)) if isinstance(table, dict) else ())
    return table


def _ascending(epochs: tuple[int, ...]) -> tuple[int, ...]:
    if list(_each_once(epochs)) != sorted(epochs):
        raise ValueError("list the epochs in ascending order")
    return epochs


UserPath = Annotated[Path, AfterValidator(_expanded)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Factor = Annotated[float, Field(ge=1e-9, le=1e9)]
"""Something that is divided by, or taken to a power."""
Batch = Annotated[int, Field(ge=1, le=2**20)]
"""A million stored pictures are 200 GB."""
NamesOnce = Annotated[tuple[str, ...], AfterValidator(_each_once)]
Epochs = Annotated[tuple[Count, ...], AfterValidator(_ascending)]
"""Epochs count from 1."""
FactorsByEpoch = Annotated[dict[Count, NotNegative], BeforeValidator(_numbered_once)]


def kinds_of(annotation: Any) -> set[type]:
    """The types of which a value may be: {Path, NoneType} of `Path | None`, {str} of a Literal of texts."""
    parts = get_args(annotation)
    if getattr(annotation, "__origin__", None) in (tuple, dict):
        return set()
    if not parts:
        return {annotation if isinstance(annotation, type) else type(annotation)}
    return set().union(*map(kinds_of, parts))


def _holds_truth(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, bool) or any(map(_holds_truth, parts))


def number(value: Any) -> Any:
    """The number that people read in a text: 010 is ten, 1e-3 a thousandth, 12:30 none; in lists and tables, too."""
    if isinstance(value, dict):
        return {key: number(part) for key, part in value.items()}
    if isinstance(value, list):
        return [number(part) for part in value]
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"[-+]?[0-9]{1,18}", value):
        return int(value)
    if re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", value):
        found = float(value)
        return found if math.isfinite(found) else value
    return {"true": True, "false": False}.get(value.lower(), value)
