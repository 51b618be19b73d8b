"""Which commit of this project is running."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def commit() -> str | None:
    """The checkout's commit, marked where files differ from it; None outside a git checkout.

    An installed package that happens to lie in another project's checkout, in a .venv there, has none.
    """
    try:
        _git("ls-files", "--error-unmatch", "__init__.py")
        return _git("describe", "--always", "--dirty", "--exclude", "*") or None
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    found = subprocess.run(
        ["git", "-C", str(ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
        # Look, and leave the index alone; GIT_DIR, as in a hook of git, would name another repository.
        env={**{k: v for k, v in os.environ.items() if not k.startswith("GIT_")}, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return found.stdout.strip()
