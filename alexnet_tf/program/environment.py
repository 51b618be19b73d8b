"""Keeps other projects' variables of the environment away from what is loaded or started here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*beginnings: str) -> Iterator[None]:
    """A context without the variables whose names begin so; afterwards they are as they were."""
    theirs = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(beginnings)}
    try:
        yield
    finally:
        os.environ.update(theirs)
