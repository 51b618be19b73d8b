"""Arrays out of JSON and protocol messages, and back, by the rules of TensorFlow Serving's REST and gRPC interfaces."""

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from alexnet_tf.local_server.memory import COPIES, Share
from alexnet_tf.local_server.request_error import invalid
from alexnet_tf.local_server.served_model import Arrays

MAX_DEPTH = 16
"""Brackets within brackets in a JSON body; pictures as lists of numbers in a list of objects need 6."""
_BRACKETS = re.compile(rb'"[^"]*"?|([\[{])|([\]}])')
"""Brackets, and whole strings, whose brackets do not count; escaped quotes are no longer there. The end of a string is
optional, so that no body makes it search anew from every quote; and nothing in it is a repeated group, of which Python
would remember each turn, in 120 bytes."""
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
"""Such as \\ud83d; in pairs they are letters, alone they cannot be written as UTF-8."""


def parse_json(body: bytes) -> dict[str, Any]:
    """A request's JSON object.

    Raises:
      RequestError: no JSON object, or nested too deep.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    _check_depth(body)
    try:
        document = json.loads(body.decode("utf-8-sig"))  # of itself it would read UTF-16 as well, brackets and all
    except UnicodeDecodeError as fault:
        raise invalid(f"JSON Parse error: the document is not UTF-8: {fault.reason}") from fault
    except json.JSONDecodeError as fault:
        raise invalid(f"JSON Parse error: {fault}") from fault
    except ValueError as fault:
        raise invalid("JSON Parse error: a number has thousands of digits") from fault
    if _HALF_PAIR.search(body) and not all(map(_is_unicode, _texts(document))):
        raise invalid("JSON Parse error: a text holds half of a surrogate pair, which is no letter")
    if not isinstance(document, dict):
        raise invalid("JSON Value is not an object")
    return document


def _check_depth(body: bytes) -> None:
    depth = 0
    for bracket in _BRACKETS.finditer(body.replace(b"\\\\", b"").replace(b'\\"', b"")):
        depth += bool(bracket[1]) - bool(bracket[2])
        if depth > MAX_DEPTH:
            raise invalid(f"JSON Parse error: nested deeper than {MAX_DEPTH} brackets")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def pictures_in(document: dict[str, Any]) -> int:
    """How many pictures a request may hold at most, before anything is made of them."""
    inputs = document.get("inputs")
    columns = inputs.values() if isinstance(inputs, dict) else [inputs]
    lists = [document.get("instances"), document.get("examples"), *columns]
    return max(len(values) if isinstance(values, list) else 0 for values in lists)


def inputs_from_json(document: dict[str, Any], signature: meta_graph_pb2.SignatureDef) -> tuple[Arrays, bool]:
    """The inputs of a predict request, and whether it is in the row format (`instances`), not the columns' (`inputs`).

    Raises:
      RequestError: names the input or key that is wrong.
    """
    if ("instances" in document) == ("inputs" in document):
        raise invalid("Missing 'inputs' or 'instances' key, or both are there")
    names = list(signature.inputs)
    rows = "instances" in document
    if rows:
        instances = document["instances"]
        if not isinstance(instances, list) or not instances:
            raise invalid("Expecting 'instances' to be a list with at least one value")
        columns = _columns(instances, names)
    else:
        values = document["inputs"]
        columns = values if _is_named(values) else {names[0]: values}
        if missing := [name for name in names if name not in columns]:  # further ones are left out
            raise invalid(f"Missing named input: {missing[0]} in 'inputs' object")
    arrays = {name: _array(columns[name], signature.inputs[name].dtype, name) for name in names}
    return checked_inputs(arrays, signature), rows


def _columns(instances: list[Any], names: list[str]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for number, instance in enumerate(instances):
        named = instance if _is_named(instance) else {names[0]: instance}
        if set(named) != set(names):
            raise invalid(
                f"Failed to process element: {number} of 'instances' list: its keys must be {', '.join(names)}"
            )
        for name in names:
            columns[name].append(named[name])
    return columns


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}


def _array(values: Any, dtype: int, name: str) -> np.ndarray:
    wanted = tf.dtypes.as_dtype(dtype)
    if wanted == tf.string:
        return _string_array(values, name)
    flat, shape = _flattened(values, name)
    if not set(map(type, flat)) <= {int, float}:
        raise invalid(f"input {name}: expecting numbers")
    array = np.array(flat)
    if array.size and array.dtype.kind not in "iuf":
        raise invalid(f"input {name}: a number has more than 64 bits")
    limits = np.iinfo(wanted.as_numpy_dtype) if wanted.is_integer else None
    if limits and array.size and (array.dtype.kind == "f" or array.min() < limits.min or array.max() > limits.max):
        raise invalid(f"input {name}: expecting whole numbers from {limits.min} to {limits.max}")
    with np.errstate(over="ignore"):  # beyond float32 lies infinity, of which the model says that it is no pixel
        return array.astype(wanted.as_numpy_dtype).reshape(shape)


def _string_array(values: Any, name: str) -> np.ndarray:
    flat, shape = _flattened(values, name)
    array = np.empty(len(flat), object)
    array[:] = [_bytes(value, name) for value in flat]
    return array.reshape(shape)


def _flattened(values: Any, name: str) -> tuple[list[Any], list[int]]:
    """Lists within lists to one list and their shape."""
    shape: list[int] = []
    level = values
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    flat = values if shape else [values]
    for length in shape[1:]:
        if not all(isinstance(one, list) and len(one) == length for one in flat):
            raise invalid(f"input {name}: its lists are not of one length")
        flat = [value for one in flat for value in one]
    if shape and any(isinstance(one, list) for one in flat):
        raise invalid(f"input {name}: its lists are not of one length")
    return flat, shape


def _bytes(value: Any, name: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and isinstance(value.get("b64"), str) and len(value) == 1:
        try:
            return _decoded(value["b64"])
        except ValueError as fault:
            raise invalid(f"input {name}: Unable to base64 decode") from fault
    raise invalid(f'input {name}: expecting a string or {{"b64": ...}}')


def _decoded(text: str) -> bytes:
    """What base64 stands for, as Abseil's Base64Unescape takes it, which TensorFlow Serving calls.

    Space may stand anywhere, and the padding may be missing or made of dots; the URL's alphabet is another one.

    Raises:
      ValueError: it is none.
    """
    data = text.encode("ascii").translate(None, b"\t\n\v\f\r ")
    letters = data.rstrip(b"=.")
    padding = -len(letters) % 4
    if len(data) - len(letters) not in (0, padding):
        raise ValueError("padding of another length")
    return base64.b64decode(letters + b"=" * padding, validate=True)


def checked_inputs(inputs: Arrays, signature: meta_graph_pb2.SignatureDef) -> Arrays:
    """The inputs, if they are what the signature takes.

    Raises:
      RequestError: names the input that is missing, unknown, or of another type or shape.
    """
    _check_names(list(inputs), signature)
    for name, array in inputs.items():
        found = tf.string if array.dtype == object else tf.dtypes.as_dtype(array.dtype)
        _check_type(name, found.as_datatype_enum, list(array.shape), signature.inputs[name])
    if len({len(array) for array in inputs.values()}) != 1:
        raise invalid("the inputs hold different numbers of pictures")
    return inputs


def _check_names(names: list[str], signature: meta_graph_pb2.SignatureDef) -> None:
    if set(names) != set(signature.inputs):
        raise invalid(f"the signature takes the inputs {', '.join(sorted(signature.inputs))}, not {', '.join(names)}")


def _check_type(name: str, dtype: int, found: list[int], wanted: meta_graph_pb2.TensorInfo) -> None:
    shape = [dim.size for dim in wanted.tensor_shape.dim]
    fits = len(shape) == len(found) and all(size in (-1, own) for size, own in zip(shape, found, strict=True))
    if dtype != wanted.dtype or not fits:
        raise invalid(
            f"input {name}: expecting {_type_name(wanted.dtype)} of shape {shape} (-1: any size), "
            f"got {_type_name(dtype)} of shape {found}"
        )


def _type_name(dtype: int) -> str:
    try:
        return tf.dtypes.as_dtype(dtype).name
    except (KeyError, TypeError, ValueError):
        return f"type {dtype}"


def outputs_to_json(outputs: Arrays, rows: bool) -> dict[str, Any]:
    """A predict response, in the format of its request; strings named ..._bytes as base64."""
    columns = {name: _json_values(shortest(array).tolist(), name.endswith("_bytes")) for name, array in outputs.items()}
    if not rows:
        return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    values = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in values]}


def shortest(array: np.ndarray) -> np.ndarray:
    """Numbers of 32 bits as 64-bit ones that Python prints in the fewest digits that read back as the same 32 bits."""
    return array.astype("S24").astype(np.float64) if array.dtype == np.float32 else array


def _json_values(value: Any, as_base64: bool) -> Any:
    if isinstance(value, list):
        return [_json_values(one, as_base64) for one in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()} if as_base64 else value.decode(errors="replace")
    return value


def inputs_from_protos(
    protos: Mapping[str, tensor_pb2.TensorProto], signature: meta_graph_pb2.SignatureDef, share: Share
) -> Arrays:
    """The inputs of a Predict request.

    Args:
      protos: by input name.
      signature: what they must be.
      share: the request's memory; it grows by what the arrays need before they are made, for one number may stand for
        many in this message: a few bytes must not become gigabytes.

    Raises:
      RequestError: names the input that is wrong, or says that there is no room for it.
    """
    _check_names(list(protos), signature)
    for name, proto in protos.items():
        shape = [dim.size for dim in proto.tensor_shape.dim]
        _check_type(name, proto.dtype, shape, signature.inputs[name])
        if min(shape, default=0) < 0:
            raise invalid(f"input {name}: a negative size in its shape {shape}")
        if proto.dtype == tf.string.as_datatype_enum and math.prod(shape) != len(proto.string_val):
            raise invalid(f"input {name}: {len(proto.string_val)} strings for the shape {shape}")
        share.raise_to(share.taken + 2 * math.prod(shape) * tf.dtypes.as_dtype(proto.dtype).size)
    return checked_inputs({name: _array_from_proto(name, proto) for name, proto in protos.items()}, signature)


def _array_from_proto(name: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    misfit = f"input {name}: its values do not fit its type and shape"
    dtype = tf.dtypes.as_dtype(proto.dtype)
    if dtype.is_integer and proto.int_val and not (dtype.min <= min(proto.int_val) <= max(proto.int_val) <= dtype.max):
        raise invalid(misfit)  # the NumPy of TensorFlow 2.15 would take 300 for 44
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, OverflowError) as fault:
        raise invalid(misfit) from fault


def examples_from_json(document: dict[str, Any], share: Share) -> np.ndarray:
    """The tf.Examples of a classify request, serialized: (N,).

    Args:
      document: the request.
      share: its memory; it grows by what the context takes, which each example gets a copy of.

    Raises:
      RequestError: names what is wrong, or says that there is no room for it.
    """
    examples, context = document.get("examples"), document.get("context", {})
    if not isinstance(examples, list) or not examples:
        raise invalid("Expecting 'examples' to be a list with at least one value")
    if not isinstance(context, dict):
        raise invalid("Expecting 'context' to be an object")
    if not all(isinstance(example, dict) for example in examples):
        raise invalid("Example must be JSON object")
    if context:
        share.raise_to(share.taken + len(examples) * COPIES * len(json.dumps(context)))
    return np.array([_example({**context, **example}) for example in examples], object)


def _example(features: dict[str, Any]) -> bytes:
    example = example_pb2.Example()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        feature = example.features.feature[name]
        try:
            if not values:  # neither kind
                continue
            if all(isinstance(one, int) for one in values):  # true and false are 1 and 0
                feature.int64_list.value.extend(map(int, values))
            elif all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
                feature.float_list.value.extend(values)
            else:
                feature.bytes_list.value.extend(_bytes(one, name) for one in values)
        except (ValueError, OverflowError) as fault:  # a number beyond 64 bits
            raise invalid(f"feature {name}: {fault}") from fault
    return example.SerializeToString()
