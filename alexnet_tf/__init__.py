"""AlexNet (Krizhevsky, Sutskever and Hinton, 2012) on two devices, with today's TensorFlow."""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
os.environ.setdefault(LOG_LEVEL, "2")  # TensorFlow's notes are no news to a user, its errors are


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps TensorFlow's start-up notes off stderr, where a fault should stand alone in its one line.

    TensorFlow 2.21 writes some of them before it reads TF_CPP_MIN_LOG_LEVEL. Set that to 0 or 1 to see all of them.
    Python's own exceptions pass as ever.
    """
    if os.environ[LOG_LEVEL] in ("0", "1"):
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    silence = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(silence)


class _QuietLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with quiet_start():
            self.loader.exec_module(module)
            module.config.list_physical_devices()  # looks for GPUs, and without a driver says so at length


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Wraps the import of TensorFlow, whichever module comes to it first."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


if "tensorflow" not in sys.modules:
    sys.meta_path.insert(0, _QuietTensorFlow())
