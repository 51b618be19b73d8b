"""AlexNet (Krizhevsky, Sutskever and Hinton, 2012) on two devices, with today's TensorFlow.

From Python and notebooks: `net = alexnet_tf.load("runs/x")`. Importing this package loads no TensorFlow; `load` does.
"""

import gc
import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Literal, cast

from alexnet_tf.program.errors import UserError, stop_as_first_process, tell_in_one_line
from alexnet_tf.program.keras_settings import own_settings
from alexnet_tf.program.limits import NEEDS, check_limits
from alexnet_tf.program.paths import AnyPath

if TYPE_CHECKING:
    from alexnet_tf.from_python.net import Net

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
os.environ.setdefault(LOG_LEVEL, "2")  # TensorFlow's notes are no news to a user, its errors are
# oneDNN's kernels, and its allocator, which keeps memory from step to step. TensorFlow takes them by itself only on
# processors with AVX512-VNNI or better; on those with AVX2 alone a step without them takes 1.7 times as long.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def load(
    source: AnyPath,
    checkpoint: Literal["best", "latest"] = "best",
    *,
    classes: int | Sequence[str] | None = None,
    seed: int = 0,
) -> "Net":
    """A network with its weights, ready to predict: see `alexnet_tf.from_python.net.Net`.

    Args:
      source: a run's folder, an exported model's (its newest version, or one version), or a preset's name, such as
        "paper", for a network with fresh weights.
      checkpoint: of a run, that of the lowest validation error, or the last.
      classes: of a preset: how many, or their names; by default 1000, and 10 of pictures of up to 32x32 pixels.
      seed: of a preset's fresh weights.

    Raises:
      UserError: there is no such thing, or it cannot be used; the message is one line that says what to do.

    Example:
      >>> net = alexnet_tf.load("paper")
      >>> net.keras_model.summary()
    """
    # By its name, so that the rooms below, some of which import this module, do not depend on those above.
    loading = importlib.import_module("alexnet_tf.from_python.loading")
    return cast("Net", loading.load_net(source, checkpoint, classes, seed))


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


@contextmanager
def _no_search_for_garbage() -> Iterator[None]:
    """Python does not look for garbage meanwhile: of the many objects of a package that is loaded, all stay.

    It would look through them again and again, which takes a fifth of the time that TensorFlow takes to load.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _LoaderInside(importlib.abc.Loader):
    """Loads a module inside a context."""

    def __init__(self, loader: importlib.abc.Loader, context: Callable[[], AbstractContextManager[None]]) -> None:
        self.loader = loader
        self.context = context

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with self.context(), _no_search_for_garbage():
            self.loader.exec_module(module)
            if module.__name__ == "tensorflow":
                module.config.list_physical_devices()  # looks for GPUs, and without a driver says so at length


CONTEXTS: dict[str, Callable[[], AbstractContextManager[None]]] = {"tensorflow": quiet_start, "keras": own_settings}
"""Inside which context a package is loaded, whichever module comes to it first."""


class _FinderOfWrapped(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name in NEEDS:
            _check_limits(name)
        if name not in CONTEXTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _LoaderInside(spec.loader, CONTEXTS[name])
        return spec


def _check_limits(name: str) -> None:
    try:
        warning = check_limits(name)
    except UserError:
        tell_in_one_line()  # many modules import it before their command begins
        raise
    if warning and name not in sys.modules:
        print(warning, file=sys.stderr)


def _open_closed_streams() -> None:
    """Gives a process that was started without stdin, stdout or stderr an empty one.

    Else the next file that is opened, a checkpoint perhaps, takes its number, and gets what is written to the stream;
    and Python has no stream at all there, on which a progress bar ends the program.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None and getattr(sys, f"__{name}__") is None:
            stream = open(number, mode, errors="backslashreplace", closefd=False)  # noqa: SIM115  as long as the process lives
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


_open_closed_streams()
stop_as_first_process()
os.environ.pop("TF_USE_LEGACY_KERAS", None)  # read when TensorFlow is loaded; this project uses keras itself
sys.meta_path.insert(0, _FinderOfWrapped())
