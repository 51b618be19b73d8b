"""Paths that TensorFlow cannot use: those that it takes for patterns, and those that are no UTF-8 text.

Under a pattern it writes a checkpoint or a model, and never finds it again.
"""

import os
import sys
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
      UserError: names the path and the sign, or says that it is no text.
    """
    whole = os.path.abspath(path)
    refuse_no_text(option, path)
    sign = next((sign for sign in whole if sign in PATTERN_SIGNS), None)
    if sign:
        raise UserError(
            f"{option} {whole} holds {sign}: TensorFlow takes such a path for a pattern and could not read back what "
            f"is saved there; choose, or link to it from, a path without any of {' '.join(PATTERN_SIGNS)}"
        )


def refuse_no_text(option: str, path: Path) -> None:
    """Refuses a path that is no UTF-8 text: neither TensorFlow nor JSON takes it.

    Raises:
      UserError: names the path.
    """
    whole = os.path.abspath(path)
    if fault := text_fault(whole):
        raise UserError(f"{option} {ascii(whole)[1:-1]} {fault}")


def text_fault(path: str) -> str | None:
    """Why a path is none that TensorFlow and JSON would write to as this process does; None where it is one."""
    names = sys.getfilesystemencoding().lower()
    if not path.isascii() and names != "utf-8":
        return f"has letters that this process reads as {names}, not as UTF-8; set PYTHONUTF8=1"
    if any("\ud800" <= sign <= "\udfff" for sign in path):  # Python's stand-ins for bytes that are not, among them
        return "is no UTF-8 text; choose, or link to it from, a path that is"
    return None
