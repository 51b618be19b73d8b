"""What REST and gRPC have in common: a request's arrays in, its answer out."""

import asyncio
from dataclasses import dataclass

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from alexnet_tf.local_server.batching import Batcher
from alexnet_tf.local_server.request_error import RequestError
from alexnet_tf.local_server.served_model import Arrays, LoadedVersion, ServedModel

CLASSIFY_METHOD = "tensorflow/serving/classify"


@dataclass(frozen=True)
class Service:
    """One model and the thread that runs it."""

    model: ServedModel
    batcher: Batcher
    max_bytes: int
    """Of a request's body."""
    max_requests: int
    """At a time, over either protocol."""

    async def predict(self, version: LoadedVersion, signature: str, inputs: Arrays) -> Arrays:
        """Runs checked inputs, together with what other requests bring at the same time.

        Raises:
          RequestError: too much is waiting, or the model fails on these inputs.
        """
        try:
            return await asyncio.wrap_future(self.batcher.submit(version, signature, inputs))
        except (RequestError, asyncio.CancelledError):
            raise
        except Exception as fault:
            reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
            raise RequestError("INTERNAL", reason) from fault

    async def classify(self, version: LoadedVersion, name: str, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
        outputs = await self.predict(version, name, {"inputs": examples})
        return outputs["classes"], outputs["scores"]
