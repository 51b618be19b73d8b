"""Why a version of a model could not be written, in one line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from alexnet_tf.program.file_faults import cannot_be_written


@contextlib.contextmanager
def faults_of(folder: Path) -> Iterator[None]:
    """Tells in one line why a folder could not be written."""
    try:
        yield
    except (OSError, tf.errors.OpError) as fault:
        raise cannot_be_written(folder, fault) from fault
