"""Paths that TensorFlow would take for patterns: it writes a checkpoint or a model there and never finds it again."""

import os
from pathlib import Path

from alexnet_tf.program.errors import UserError

PATTERN_SIGNS = "[]\\*?"


def is_pattern(path: Path) -> bool:
    """Whether TensorFlow would take a path, as it stands, for a pattern."""
    return any(sign in PATTERN_SIGNS for sign in str(path))


def refuse_pattern(option: str, path: Path) -> None:
    """Refuses a folder for checkpoints or models whose path, from the root on, holds one of PATTERN_SIGNS.

    To be called before any work. A link without such signs to a folder with them is all right.

    Args:
      option: what the path was given with, as in "--run".
      path: the folder, which need not be there.

    Raises:
      UserError: names the path and the sign.
    """
    whole = os.path.abspath(path)
    sign = next((sign for sign in whole if sign in PATTERN_SIGNS), None)
    if sign:
        raise UserError(
            f"{option} {whole} holds {sign}: TensorFlow takes such a path for a pattern and could not read back what "
            f"is saved there; choose, or link to it from, a path without any of {' '.join(PATTERN_SIGNS)}"
        )
