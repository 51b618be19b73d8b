"""TensorFlow Serving's gRPC interface: PredictionService and ModelService, from its own protos."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from alexnet_tf.local_server.request_error import RequestError
from alexnet_tf.local_server.served_model import DEFAULT_SIGNATURE, LoadedVersion
from alexnet_tf.local_server.service import Service
from alexnet_tf.local_server.tensors import array_from_proto, checked_inputs, invalid


def rpc_server(service: Service) -> grpc.aio.Server:
    """A gRPC server without a port yet; to be made in the loop that runs it."""
    options = [("grpc.max_receive_message_length", service.max_bytes), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=service.max_requests)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(service), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(service), server)
    return server


def _answering(method: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any, Any], Awaitable[Any]]:
    """A call's method without its context: a RequestError becomes the call's status."""

    @functools.wraps(method)
    async def answered(self: Any, request: Any, context: Any) -> Any:
        try:
            return await method(self, request)
        except RequestError as fault:
            await context.abort(grpc.StatusCode[fault.kind], str(fault))

    return answered


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify and GetModelMetadata; the other calls answer UNIMPLEMENTED."""

    def __init__(self, service: Service) -> None:
        self.service = service

    @_answering
    async def Predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Runs any signature."""
        version = _version(self.service, request.model_spec)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = version.signature(name)
        limit = self.service.max_bytes
        inputs = {key: array_from_proto(proto, limit) for key, proto in request.inputs.items()}
        wanted = list(request.output_filter) or list(signature.outputs)
        unknown = set(wanted) - set(signature.outputs)
        if unknown:
            raise invalid(f"output tensor alias not found in signature: {', '.join(sorted(unknown))}")
        outputs = await self.service.predict(version, name, checked_inputs(inputs, signature))
        response = predict_pb2.PredictResponse(model_spec=_spec(request.model_spec.name, version, name))
        for key in wanted:
            dtype = tf.string if outputs[key].dtype == object else None
            response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key], dtype, outputs[key].shape))
        return response

    @_answering
    async def Classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Runs a signature of the Classify form."""
        version = _version(self.service, request.model_spec)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        labels, scores = await self.service.classify(version, name, _examples(request.input))
        response = classification_pb2.ClassificationResponse(model_spec=_spec(request.model_spec.name, version, name))
        for row in zip(labels, scores, strict=True):
            classes = response.result.classifications.add().classes
            for label, score in zip(*row, strict=True):
                classes.add(label=label.decode(errors="replace"), score=float(score))
        return response

    @_answering
    async def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
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

    async def Regress(self, request: Any, context: Any) -> None:
        """Is for other models."""
        await _unimplemented(context)

    async def MultiInference(self, request: Any, context: Any) -> None:
        """Is for other models."""
        await _unimplemented(context)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus."""

    def __init__(self, service: Service) -> None:
        self.service = service

    @_answering
    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Says which versions are loaded."""
        return self.service.model.status(request.model_spec.name, _number(request.model_spec))

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> None:
        """Is not needed: new versions are found by themselves."""
        await _unimplemented(context)


async def _unimplemented(context: Any) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this server has no such call; TensorFlow Serving has")


def _version(service: Service, spec: model_pb2.ModelSpec) -> LoadedVersion:
    if spec.version_label:
        raise RequestError("INVALID_ARGUMENT", "version labels are not known here")
    return service.model.version(spec.name, _number(spec))


def _number(spec: model_pb2.ModelSpec) -> int | None:
    return spec.version.value if spec.HasField("version") else None


def _spec(name: str, version: LoadedVersion, signature: str) -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec(name=name, version={"value": version.number}, signature_name=signature)


def _examples(request: input_pb2.Input) -> np.ndarray:
    """Serialized tf.Examples (N,), each with the context's features merged in."""
    if request.HasField("example_list_with_context"):
        listed = request.example_list_with_context
        examples = []
        for example in listed.examples:
            merged = type(example)()
            merged.CopyFrom(listed.context)
            merged.MergeFrom(example)
            examples.append(merged)
    else:
        examples = list(request.example_list.examples)
    if not examples:
        raise invalid("Input is empty")
    return np.array([example.SerializeToString() for example in examples], object)
