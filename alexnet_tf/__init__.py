"""AlexNet (Krizhevsky, Sutskever and Hinton, 2012) on two devices, with today's TensorFlow."""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType

from alexnet_tf.program.keras_settings import own_settings

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
os.environ.setdefault(LOG_LEVEL, "2")  # TensorFlow's notes are no news to a user, its errors are


_silenced: list[int] = []
"""Where stderr leads to, while it is silent."""


def speak() -> None:
    """Ends a silence of `quiet_start` from another thread, which has a last line to tell."""
    for stderr in _silenced:
        os.dup2(stderr, 2)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps TensorFlow's start-up notes off stderr, where a fault should stand alone in its one line.

    TensorFlow 2.21 writes some of them before it reads TF_CPP_MIN_LOG_LEVEL. Set that to 0 or 1 to see all of them.
    Python's own exceptions pass as ever.
    """
    if os.environ[LOG_LEVEL] in ("0", "1"):
        yield
        return
    if sys.stderr:
        sys.stderr.flush()
    stderr = os.dup(2)
    silence = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        _silenced.append(stderr)
        yield
    finally:
        _silenced.clear()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(silence)


class _LoaderInside(importlib.abc.Loader):
    """Loads a module inside a context."""

    def __init__(self, loader: importlib.abc.Loader, context: Callable[[], AbstractContextManager[None]]) -> None:
        self.loader = loader
        self.context = context

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with self.context():
            self.loader.exec_module(module)
            if module.__name__ == "tensorflow":
                module.config.list_physical_devices()  # looks for GPUs, and without a driver says so at length


CONTEXTS: dict[str, Callable[[], AbstractContextManager[None]]] = {"tensorflow": quiet_start, "keras": own_settings}
"""Inside which context a package is loaded, whichever module comes to it first."""


class _FinderOfWrapped(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in CONTEXTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _LoaderInside(spec.loader, CONTEXTS[name])
        return spec


def _open_closed_streams() -> None:
    """Gives a process that was started without stdin, stdout or stderr an empty one.

    Else the next file that is opened, a checkpoint perhaps, takes its number, and gets what is written to the stream.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


_open_closed_streams()
os.environ.pop("TF_USE_LEGACY_KERAS", None)  # read when TensorFlow is loaded; this project uses keras itself
sys.meta_path.insert(0, _FinderOfWrapped())
