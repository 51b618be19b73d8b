"""What public functions take for a path."""

import os
from typing import TypeAlias

AnyPath: TypeAlias = str | os.PathLike[str]
"""A pathlib.Path, or text."""
