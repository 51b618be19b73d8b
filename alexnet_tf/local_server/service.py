"""What REST and gRPC have in common: a request's arrays in, its answer out."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from alexnet_tf.local_server.batching import Batcher
from alexnet_tf.local_server.memory import Budget, Share, answer_needs, files_needs, pixels_needs, too_much
from alexnet_tf.local_server.metrics import Metrics
from alexnet_tf.local_server.request_error import RequestError, invalid, stopping
from alexnet_tf.local_server.screening import Looks, files_of, first_look, is_dense
from alexnet_tf.local_server.served_model import DEFAULT_SIGNATURE, Arrays, LoadedVersion, ServedModel

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
    metrics: Metrics
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
    inflating: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """For picture files whose data are inflated to be judged, which holds a processor for up to seconds."""

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

    def metrics_page(self) -> bytes:
        """What there is to count and measure, as Prometheus's text."""
        return self.metrics.page(
            {
                "alexnet_open_requests": ("Requests whose bodies are here.", self.open_requests),
                "alexnet_waiting_pictures": ("Pictures that do not run yet.", self.batcher.waiting()),
                "alexnet_request_memory_bytes": ("Memory that waiting requests hold.", self.budget.taken),
                "alexnet_request_memory_limit_bytes": ("Memory that they may hold.", self.budget.limit),
                "alexnet_served_version": ("The version that serves.", self.model.number),
                "alexnet_failed_versions": ("Versions that cannot be loaded.", len(self.model.failures)),
            }
        )

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
        looks = await self._looks(signature, inputs)
        needs = _needs(looks, inputs)
        if count and needs.max() > self.batcher.max_bytes:
            raise too_much(int(needs.max()), self.batcher.max_bytes)
        try:
            return await asyncio.wrap_future(self.batcher.submit(version, signature, inputs, needs, looks))
        except (RequestError, asyncio.CancelledError):
            raise
        except Exception as fault:
            reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
            raise RequestError("INTERNAL", reason) from fault

    async def _looks(self, signature: str, inputs: Arrays) -> Looks | None:
        """First looks at each picture's file; None where the pictures come as numbers."""
        files = await asyncio.to_thread(files_of, signature, inputs)
        if files is None:
            return None
        looks = await asyncio.to_thread(
            lambda: [None if file is None or is_dense(file) else first_look(file) for file in files]
        )
        for number, file in enumerate(files):
            if file is not None and is_dense(file):
                async with self.inflating:  # one file after the other, so that those of others come in between
                    looks[number] = await asyncio.to_thread(first_look, file)
        return looks

    async def classify(
        self, version: LoadedVersion, name: str, examples: np.ndarray, share: Share
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels, as bytes (N, k), and scores (N, k) of serialized tf.Examples (N,).

        Raises:
          RequestError: there is no such signature, or it is none for Classify.
        """
        if (name or DEFAULT_SIGNATURE) not in version.signatures:  # a fault of another kind than predict's
            raise invalid(f"No signature was found with the name: {name}")
        signature: meta_graph_pb2.SignatureDef = version.signature(name)
        if signature.method_name != CLASSIFY_METHOD:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"Expected classification signature method_name to be {CLASSIFY_METHOD}. Was: {signature.method_name}",
            )
        outputs = await self.predict(version, name, {"inputs": examples}, share)
        return outputs["classes"], outputs["scores"]


def _needs(looks: Looks | None, inputs: Arrays) -> np.ndarray:
    """Bytes that each picture needs while it runs, int64 (N,)."""
    if looks is not None:
        return files_needs(np.array([0 if look is None else look.pixels for look in looks], np.int64))
    array = next(iter(inputs.values()))
    dtype = tf.string if array.dtype == object else tf.dtypes.as_dtype(array.dtype)
    return np.full(len(array), pixels_needs(array.shape[1:], dtype), np.int64)
