"""Requests over gRPC, and how they end."""

from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2


def predict_request(signature: str, **inputs: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "alexnet", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(value)
    return request


def one_for_all(dtype: tf.DType, shape: list[int]) -> Any:
    """A tensor of one value that stands for all of its shape."""
    proto = tf.make_tensor_proto(np.zeros(1), dtype)
    proto.tensor_content = b""
    (proto.int_val if dtype.is_integer else proto.float_val).append(7)
    del proto.tensor_shape.dim[:]
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def status_of(call: Any, request: Any) -> str:
    try:
        call(request, timeout=60)
    except grpc.RpcError as fault:
        assert fault.details()
        return fault.code().name
    return "OK"
