"""TensorFlow Serving's gRPC interface: PredictionService and ModelService, from its own protos, and gRPC's Health."""

import asyncio
import contextlib
import inspect
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from alexnet_tf.local_server.health import Health
from alexnet_tf.local_server.memory import COPIES, Share
from alexnet_tf.local_server.request_error import RequestError, invalid
from alexnet_tf.local_server.served_model import DEFAULT_SIGNATURE, LoadedVersion
from alexnet_tf.local_server.service import SLOWEST, Service
from alexnet_tf.local_server.tensors import inputs_from_protos
from alexnet_tf.local_server.wire import message_needs

HANDSHAKE = 10_000
"""Milliseconds in which a new connection must speak HTTP/2."""
OPEN_CALLS = 8
"""Times as many calls may be open as requests: their messages may be on their way."""
CROWDED = 1.0
"""Seconds that a message may take while others wait."""


CALLS: dict[str, dict[str, Any]] = {
    "tensorflow.serving.PredictionService": {
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "Predict": predict_pb2.PredictRequest,
        "MultiInference": inference_pb2.MultiInferenceRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
        "HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
    },
    "grpc.health.v1.Health": {"Check": health_pb2.HealthCheckRequest, "Watch": health_pb2.HealthCheckRequest},
}
"""What each call of a service takes. Their own modules tell it, too, but TensorFlow Serving's that come for
TensorFlow 2.15 cannot be imported beside its protobuf."""


def rpc_server(service: Service, connections: int, report: Callable[[str], None]) -> grpc.aio.Server:
    """A gRPC server without a port yet; to be made in the loop that runs it.

    Args:
      service: what is served.
      connections: how many it may have; those without a call are closed when the server's patience is over.
      report: gets a line for a failure.
    """
    options = [
        ("grpc.max_receive_message_length", service.max_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", OPEN_CALLS * service.max_requests),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE),
        ("grpc.max_connection_idle_ms", math.ceil(1000 * service.patience)),
        ("grpc.max_allowed_incoming_connections", connections),
    ]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=OPEN_CALLS * service.max_requests)
    calls = _Calls(service, report)
    servicers = (PredictionService(service), ModelService(service), Health(service))
    for (name, methods), servicer in zip(CALLS.items(), servicers, strict=True):
        handlers = {
            method: calls.handler(method, getattr(servicer, method, None), message)
            for method, message in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    return server


class _Calls:
    """What all calls have in common: their message comes in time, is counted before it is parsed, and has one answer.

    To gRPC they look as if they took a stream of messages, which is the same on the wire: so this side decides when to
    read the one message, and for how long.
    """

    def __init__(self, service: Service, report: Callable[[str], None]) -> None:
        self.service = service
        self.report = report
        # As many messages as fit into the memory for them may be on their way.
        self.waiting = 0
        """How many wait to read theirs."""
        self.reading = asyncio.Semaphore(max(1, service.budget.limit // (2 * service.max_bytes)))

    def handler(self, name: str, method: Callable[[Any, Share], Any] | None, message: Any) -> grpc.RpcMethodHandler:
        """For one method of a service, which takes a message of this type and the memory that its request holds."""

        async def answered(_: Any, context: grpc.aio.ServicerContext) -> Any:
            async with self._call(name, method, message, context) as (request, share):
                assert method is not None
                with self.service.counted():
                    return await method(request, share)

        async def watched(_: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async with self._call(name, method, message, context) as (request, share):
                assert method is not None
                async for answer in method(request, share):
                    yield answer

        if inspect.isasyncgenfunction(method):
            return grpc.stream_stream_rpc_method_handler(watched, None, _serialized)
        return grpc.stream_unary_rpc_method_handler(answered, None, _serialized)

    @contextlib.asynccontextmanager
    async def _call(
        self, name: str, method: Any, message: Any, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[tuple[Any, Share]]:
        """The message and its memory; what fails meanwhile ends the call with its status."""
        with self.service.metrics.request("GRPC") as ending:
            ending.method = name
            try:
                if method is None:
                    raise RequestError("UNIMPLEMENTED", "this server has no such call; TensorFlow Serving has")
                with self.service.budget.share() as share:
                    request = await self._message(message, context, share)
                    if hasattr(request, "model_spec") and request.model_spec.name == self.service.model.name:
                        ending.model = request.model_spec.name
                    yield request, share
                ending.status = "OK"
            except RequestError as fault:
                ending.status = fault.kind
                await context.abort(grpc.StatusCode[fault.kind], str(fault))
            except Exception as fault:
                if isinstance(fault, grpc.aio.AbortError):
                    raise
                ending.status = "INTERNAL"
                self.report(f"warning: a call failed: {type(fault).__name__}: {fault}")
                await context.abort(grpc.StatusCode.INTERNAL, "the server failed on this call; its log says how")

    async def _message(self, message: Any, context: grpc.aio.ServicerContext, share: Share) -> Any:
        data = await self._read(context)
        if data is grpc.aio.EOF:
            raise invalid("the call has no message")
        share.raise_to(len(data))
        share.raise_to(await asyncio.to_thread(message_needs, data, message))
        try:
            return await asyncio.to_thread(message.FromString, data)
        except DecodeError as fault:
            raise invalid("the message cannot be read: it is no protocol message of this call") from fault

    async def _read(self, context: grpc.aio.ServicerContext) -> Any:
        """The message, whose progress cannot be seen: it may take its time unless others wait for their turn."""
        self.waiting += 1
        try:
            await self.reading.acquire()
        finally:
            self.waiting -= 1
        start = time.monotonic()
        longest = self.service.patience + self.service.max_bytes / SLOWEST
        try:
            return await self.service.received(
                context.read(), lambda: start + (min(CROWDED, longest) if self.waiting else longest)
            )
        finally:
            self.reading.release()


def _serialized(answer: Any) -> bytes:
    return answer.SerializeToString()


class PredictionService:
    """Predict, Classify and GetModelMetadata; the other calls answer UNIMPLEMENTED."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def Predict(self, request: predict_pb2.PredictRequest, share: Share) -> predict_pb2.PredictResponse:
        """Runs any signature."""
        version = _version(self.service, request.model_spec)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = version.signature(name)
        wanted = list(request.output_filter) or list(signature.outputs)
        unknown = set(wanted) - set(signature.outputs)
        if unknown:
            raise invalid(f"output tensor alias not found in signature: {', '.join(sorted(unknown))}")
        inputs = await asyncio.to_thread(inputs_from_protos, request.inputs, signature, share)
        outputs = await self.service.predict(version, name, inputs, share)
        response = predict_pb2.PredictResponse(model_spec=_spec(request.model_spec.name, version, name))
        for key in wanted:
            dtype = tf.string if outputs[key].dtype == object else None
            response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key], dtype, outputs[key].shape))
        return response

    async def Classify(
        self, request: classification_pb2.ClassificationRequest, share: Share
    ) -> classification_pb2.ClassificationResponse:
        """Runs a signature of the Classify form."""
        version = _version(self.service, request.model_spec)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        examples = await asyncio.to_thread(_examples, request.input, self.service, share)
        labels, scores = await self.service.classify(version, name, examples, share)
        response = classification_pb2.ClassificationResponse(model_spec=_spec(request.model_spec.name, version, name))
        for row in zip(labels, scores, strict=True):
            classes = response.result.classifications.add().classes
            for label, score in zip(*row, strict=True):
                classes.add(label=label.decode(errors="replace"), score=float(score))
        return response

    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, share: Share
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Describes the signatures."""
        if list(request.metadata_field) != ["signature_def"]:
            raise invalid(f"Metadata field {list(request.metadata_field)} is not supported, only signature_def is")
        version = _version(self.service, request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=version.signatures)
        response = get_model_metadata_pb2.GetModelMetadataResponse(
            model_spec=_spec(request.model_spec.name, version, "")
        )
        response.metadata["signature_def"].Pack(signatures)
        return response


class ModelService:
    """GetModelStatus; new versions are found without HandleReloadConfigRequest."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, share: Share
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Says which versions are loaded."""
        return self.service.model.status(request.model_spec.name, _number(request.model_spec))


def _version(service: Service, spec: model_pb2.ModelSpec) -> LoadedVersion:
    if spec.version_label:
        raise RequestError("INVALID_ARGUMENT", "version labels are not known here")
    return service.model.version(spec.name, _number(spec))


def _number(spec: model_pb2.ModelSpec) -> int | None:
    return spec.version.value if spec.HasField("version") else None


def _spec(name: str, version: LoadedVersion, signature: str) -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec(name=name, version={"value": version.number}, signature_name=signature)


def _examples(request: input_pb2.Input, service: Service, share: Share) -> np.ndarray:
    """Serialized tf.Examples (N,), each with the context's features merged in."""
    listed = request.example_list
    context = None
    if request.HasField("example_list_with_context"):
        listed, context = request.example_list_with_context, request.example_list_with_context.context
    if not listed.examples:
        raise invalid("Input is empty")
    service.batcher.check_share(len(listed.examples))
    if context is None:
        examples = [example.SerializeToString() for example in listed.examples]
    else:
        share.raise_to(share.taken + len(listed.examples) * COPIES * context.ByteSize())
        examples = [_merged(context, example) for example in listed.examples]
    return np.array(examples, object)


def _merged(context: Any, example: Any) -> bytes:
    merged = type(example)()
    merged.CopyFrom(context)
    merged.MergeFrom(example)
    return merged.SerializeToString()
