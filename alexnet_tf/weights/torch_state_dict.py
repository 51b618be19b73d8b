"""Reads the weights that torch.save wrote, without PyTorch and without running anything that the file holds.

Such a file is a pickle with the numbers beside it: as members of a zip archive (PyTorch 1.6 and later), or one after
the other behind the pickle. A pickle may call any function by its name, so here it may name those few that rebuild
tensors, and each of them is our own.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath

MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of a file from before PyTorch 1.6."""


def read_state_dict(path: AnyPath) -> dict[str, np.ndarray]:
    """Every tensor by its name, float32.

    Raises:
      UserError: the file is missing, damaged, or holds anything but tensors by name.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = _read_zip(file) if file.peek(2).startswith(b"PK") else _read_stream(file)
    except OSError as fault:
        raise cannot_be_read(path, fault) from fault
    except _Foreign as fault:
        raise UserError(f"{path} holds {fault}, not only tensors; save model.state_dict() alone") from fault
    except Exception as fault:  # a damaged pickle may fail in any way
        raise UserError(
            f"{path} is damaged or no file of torch.save; fetch it again, or save model.state_dict() anew"
        ) from fault
    tensors = content.items() if isinstance(content, dict) else ()
    if not tensors or not all(isinstance(tensor, _Tensor) for _, tensor in tensors):
        raise UserError(f"{path} does not hold tensors by name; save model.state_dict() alone")
    return {str(name): tensor.array(f"{name} of {path}") for name, tensor in tensors}


class _Foreign(Exception):
    """The pickle names something that is no part of a tensor."""


@dataclass
class _Storage:
    """Consecutive numbers that tensors are views of."""

    kind: np.dtype
    count: int
    content: bytes = b""


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides count numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, where: str) -> np.ndarray:
        """The numbers, float32."""
        kind = self.storage.kind
        if len(self.storage.content) != self.storage.count * kind.itemsize:
            raise UserError(f"{where} is damaged: numbers are missing")
        numbers = np.frombuffer(self.storage.content, kind)
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.shape, *self.strides), default=0) < 0 or last >= len(numbers):
            raise UserError(f"{where} is damaged: it reaches beyond the numbers stored")
        steps = [stride * kind.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps)
        return np.array(view, np.float32, order="C")


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *rest: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: _Tensor, *rest: Any) -> _Tensor:
    return tensor


_KNOWN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "DoubleStorage"): np.dtype("<f8"),
    ("torch", "HalfStorage"): np.dtype("<f2"),
}


class _Unpickler(pickle.Unpickler):
    """Takes the names in `_KNOWN` and no other; gathers the storages by their keys."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise _Foreign(f"{module}.{name}")
        return _KNOWN[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        _, kind, key, _, count, *view = identity
        if view not in ([], [None]):
            raise _Foreign("a storage that is a view of another one")
        return self.storages.setdefault(str(key), _Storage(kind, count))


def _read_zip(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if name is None:
            raise _Foreign("other things: it is a zip archive without data.pkl")
        folder = name.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise _Foreign("numbers of the other byte order")
        unpickler = _Unpickler(io.BytesIO(archive.read(name)))
        content = unpickler.load()
        for key, storage in unpickler.storages.items():
            storage.content = archive.read(f"{folder}data/{key}")
    return content


def _read_stream(file: BinaryIO) -> Any:
    if _Unpickler(file).load() != MAGIC:
        raise ValueError("another magic number")
    _Unpickler(file).load()  # the protocol's version
    _Unpickler(file).load()  # about the writer's machine
    unpickler = _Unpickler(file)
    content = unpickler.load()
    for key in _Unpickler(file).load():
        storage = unpickler.storages[key]
        if int.from_bytes(file.read(8), "little") != storage.count:
            raise ValueError("another number of numbers")
        storage.content = file.read(storage.count * storage.kind.itemsize)
    return content
