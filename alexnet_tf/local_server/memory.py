"""What a request needs in memory, counted before it is taken, and one budget for all requests together.

The counts are upper bounds. Half of the budget is for requests that wait, with their bodies, arrays and answers; the
other half is for the pictures that are decoded and run together, see `batching.py`.
"""

import math
import threading
from types import TracebackType

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from alexnet_tf.local_server.request_error import RequestError

MEGABYTE = 1_000_000
COPIES = 4
"""How often a file's bytes exist at most: message, Python's object, array of strings, TensorFlow's strings."""
PER_VALUE = {tf.uint8: 14, tf.float32: 20}
"""Bytes for each number of a picture that comes as pixels: as float32 in the graph, once whole and once selected, with
masks, beside the array itself and TensorFlow's copy of it. Measured: 6 to 7 for uint8."""
PER_PIXEL = 4
"""Bytes for each pixel of a picture file while it is decoded. Measured: 3."""
PER_PICTURE = 2 * MEGABYTE
"""Bytes for each picture in a batch, beside its pixels: resized, cut, and on its way through the network."""
ANSWER_NUMBER = 112
"""Bytes for each number of an answer: arrays, digits, Python's float in a list, text, message."""
ANSWER_TEXT = 600
"""Bytes for each name or status of an answer."""
ANSWER_FILE = 1 * MEGABYTE
"""Bytes for each picture file of an answer: the crop as PNG, and as base64."""


class Budget:
    """Bytes that waiting requests hold, together at most `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._lock = threading.Lock()

    def share(self) -> "Share":
        """An empty share, to be used as a context manager: at its end all of it is given back."""
        return Share(self)

    def take(self, count: int) -> None:
        """Takes bytes.

        Raises:
          RequestError: they are not there now (UNAVAILABLE, to be tried again).
        """
        with self._lock:
            if self.taken + count > self.limit:
                raise RequestError(
                    "UNAVAILABLE", f"waiting requests need all of the {self.limit // MEGABYTE} MB there are for them"
                    "; try again later",
                )  # fmt: skip
            self.taken += count

    def give_back(self, count: int) -> None:
        """Gives bytes back."""
        with self._lock:
            self.taken -= count


class Share:
    """What one request has taken of a budget."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.taken = 0

    def raise_to(self, count: int) -> None:
        """Takes more, so that this request holds `count` bytes; one that holds as many already keeps them.

        Raises:
          RequestError: it can never have them (RESOURCE_EXHAUSTED), or not now (UNAVAILABLE).
        """
        if count > self.budget.limit:
            raise too_much(count, self.budget.limit)
        more = max(count - self.taken, 0)
        self.budget.take(more)
        self.taken += more

    def __enter__(self) -> "Share":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.budget.give_back(self.taken)
        self.taken = 0


def too_much(count: int, limit: int) -> RequestError:
    """The answer to a request that would not fit into memory even if it were alone."""
    return RequestError(
        "RESOURCE_EXHAUSTED",
        f"the request would need {math.ceil(count / MEGABYTE)} MB of memory, and {limit // MEGABYTE} MB are allowed; "
        "send less at a time, or start the server with a higher --max-memory",
    )


def json_needs(body: bytes | bytearray) -> int:
    """Bytes that a JSON body and what is made of it take at most, from the signs in it.

    Python's empty list takes 56 bytes and its place in another, one of one value 96, a dictionary of one value 240,
    a number or text 60 and its place. Texts take as many bytes as they have letters, four times that if there is a
    letter beyond Unicode's first plane.
    """
    wide = 1 if body.isascii() else 4
    return (
        len(body) * (1 + wide + COPIES)
        + 104 * body.count(b"[")
        + 240 * body.count(b"{")
        + 68 * body.count(b",")
        + 64 * body.count(b":")
    )


def answer_needs(signature: meta_graph_pb2.SignatureDef, count: int) -> int:
    """Bytes that the answer for `count` pictures takes at most, beside the request."""
    needed = 0
    for name, output in signature.outputs.items():
        values = math.prod(dim.size for dim in output.tensor_shape.dim[1:] if dim.size > 0)
        text = ANSWER_FILE if name.endswith("_bytes") else ANSWER_TEXT
        needed += values * (text if output.dtype == tf.string.as_datatype_enum else ANSWER_NUMBER)
    return count * needed


def pixels_needs(shape: list[int] | tuple[int, ...], dtype: tf.DType) -> int:
    """Bytes that one picture needs that comes as numbers, while it runs; `shape` is its own, without the batch's."""
    return PER_PICTURE + math.prod(shape) * PER_VALUE.get(dtype, 20)


def files_needs(pixels: np.ndarray) -> np.ndarray:
    """Bytes that each picture file needs while it runs, int64 (N,), from its declared number of pixels (N,)."""
    return PER_PICTURE + PER_PIXEL * pixels
