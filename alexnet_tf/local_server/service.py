"""What REST and gRPC have in common: a request's arrays in, its answer out."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from alexnet_tf.local_server.batching import Batcher
from alexnet_tf.local_server.memory import Budget, Share, answer_needs, files_needs, pixels_needs, too_much
from alexnet_tf.local_server.request_error import RequestError, stopping
from alexnet_tf.local_server.screening import files_of, first_look
from alexnet_tf.local_server.served_model import Arrays, LoadedVersion, ServedModel

CLASSIFY_METHOD = "tensorflow/serving/classify"
SLOWEST = 20_000
"""Bytes a second that a request must bring once the server's patience is over."""
AFTER_STOP = 1.0
"""Seconds that a request may still take to come once the server stops."""


@dataclass
class Service:
    """One model and the thread that runs it."""

    model: ServedModel
    batcher: Batcher
    budget: Budget
    """Memory for requests that wait."""
    max_bytes: int
    """Of a request's body."""
    max_requests: int
    """At a time."""
    patience: float
    """Seconds without enough progress after which a sender is cut off."""
    stopping: asyncio.Event
    """Set once the server takes no new requests."""
    open_requests: int = 0
    """With their bodies."""

    async def received(self, coming: Awaitable[Any], deadline: Callable[[], float]) -> Any:
        """What a sender sends, if it comes before the deadline, by time.monotonic(), which is asked again and again.

        Raises:
          RequestError: it does not, or the server stops meanwhile.
        """
        receiving = asyncio.ensure_future(coming)
        stop = asyncio.ensure_future(self.stopping.wait())
        try:
            while not receiving.done() and not stop.done() and (left := deadline() - time.monotonic()) > 0:
                await asyncio.wait([receiving, stop], timeout=min(left, 1.0), return_when=asyncio.FIRST_COMPLETED)
            if self.stopping.is_set():
                await asyncio.wait([receiving], timeout=AFTER_STOP)
            if receiving.done():
                return receiving.result()
            if self.stopping.is_set():
                raise stopping()
            raise RequestError("DEADLINE_EXCEEDED", "the request does not come, or too slowly; the server gives up")
        finally:
            receiving.cancel()
            stop.cancel()

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """For a request whose body is here.

        Raises:
          RequestError: too many are open.
        """
        if self.open_requests >= self.max_requests:
            raise RequestError("UNAVAILABLE", f"{self.max_requests} requests are open; try again later")
        self.open_requests += 1
        try:
            yield
        finally:
            self.open_requests -= 1

    async def predict(self, version: LoadedVersion, signature: str, inputs: Arrays, share: Share) -> Arrays:
        """Runs checked inputs, together with what other requests bring at the same time.

        A caller that is cancelled takes back what has not run yet.

        Args:
          version: the model.
          signature: one of its names.
          inputs: arrays of N pictures.
          share: the memory that this request holds already; it grows by what the answer needs.

        Raises:
          RequestError: too much is waiting or wanted, or the model fails on these inputs.
        """
        count = len(next(iter(inputs.values())))
        self.batcher.check_share(count)
        share.raise_to(share.taken + answer_needs(version.signature(signature), count))
        needs = await asyncio.to_thread(_needs, signature, inputs)
        if count and needs.max() > self.batcher.max_bytes:
            raise too_much(int(needs.max()), self.batcher.max_bytes)
        try:
            return await asyncio.wrap_future(self.batcher.submit(version, signature, inputs, needs))
        except (RequestError, asyncio.CancelledError):
            raise
        except Exception as fault:
            reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
            raise RequestError("INTERNAL", reason) from fault

    async def classify(
        self, version: LoadedVersion, name: str, examples: np.ndarray, share: Share
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels, as bytes (N, k), and scores (N, k) of serialized tf.Examples (N,).

        Raises:
          RequestError: the signature is none for Classify.
        """
        signature: meta_graph_pb2.SignatureDef = version.signature(name)
        if signature.method_name != CLASSIFY_METHOD:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"Expected classification signature method_name to be {CLASSIFY_METHOD}. Was: {signature.method_name}",
            )
        outputs = await self.predict(version, name, {"inputs": examples}, share)
        return outputs["classes"], outputs["scores"]


def _needs(signature: str, inputs: Arrays) -> np.ndarray:
    """Bytes that each picture needs while it runs, int64 (N,)."""
    files = files_of(signature, inputs)
    if files is not None:
        return files_needs(np.array([0 if file is None else first_look(file).pixels for file in files], np.int64))
    array = next(iter(inputs.values()))
    dtype = tf.string if array.dtype == object else tf.dtypes.as_dtype(array.dtype)
    return np.full(len(array), pixels_needs(array.shape[1:], dtype), np.int64)
