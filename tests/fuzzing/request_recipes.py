"""Requests as somebody might send them: JSON documents, protocol messages and raw HTTP, right, nearly so and wrong."""

import base64
import gzip
import json
from typing import Any, NamedTuple

from hypothesis import strategies as st
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, model_pb2, predict_pb2

from tests.fuzzing.picture_recipes import EDITS, FILES, RECIPES, Edit

SIGNATURES = [
    "", "serving_default", "probabilities", "ten_view", "features", "view", "feature_maps", "grad_cam", "images",
    "float_images", "classify", "network", "nothing",
]  # fmt: skip
KEYS = ["image_bytes", "images", "inputs", "views", "image", "b64", "instances", "examples", "context", "\ud800", ""]
SHORT_TEXT = st.text(st.characters(exclude_categories=[]), max_size=12)

# REST

FILE = st.one_of(RECIPES.map(lambda recipe: recipe.made()[:20_000]), st.sampled_from(sorted(FILES)).map(FILES.get))
B64 = st.one_of(
    FILE.map(lambda file: {"b64": base64.b64encode(file).decode()}), SHORT_TEXT.map(lambda text: {"b64": text})
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(0, 255), st.integers(), st.sampled_from([2**63, -(2**63) - 1, 10**400]),
    st.floats(), SHORT_TEXT, B64,
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(KEYS), SHORT_TEXT), inner, max_size=3)
    ),
    max_leaves=12,
)
PIXELS = st.builds(
    lambda height, width, samples, value: [[[value] * samples] * width] * height,
    st.integers(0, 3), st.integers(0, 3), st.integers(1, 4), st.one_of(st.integers(-1, 256), st.floats(), SCALARS),
)  # fmt: skip
PICTURES = st.lists(st.one_of(B64, B64, PIXELS, VALUES), max_size=4)
NAMED = st.one_of(PICTURES, PICTURES, st.dictionaries(st.sampled_from(KEYS), PICTURES, max_size=2), VALUES)
DOCUMENTS = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "signature_name": st.one_of(st.sampled_from(SIGNATURES), VALUES),
            "instances": st.one_of(PICTURES, st.lists(st.dictionaries(st.sampled_from(KEYS), SCALARS), max_size=3)),
            "inputs": NAMED,
            "examples": st.one_of(
                st.lists(st.dictionaries(st.sampled_from(KEYS), st.one_of(B64, PICTURES, SCALARS), max_size=2)), VALUES
            ),
            "context": VALUES,
        },
    ),
    st.fixed_dictionaries({"signature_name": st.sampled_from(SIGNATURES), "instances": PICTURES}),
    VALUES,
)  # fmt: skip
PATHS = st.one_of(
    st.sampled_from(["/v1/models/alexnet:predict", "/v1/models/alexnet:classify"]),
    st.sampled_from([
        "/v1/models/alexnet", "/v1/models/alexnet/metadata", "/v1/models/alexnet/versions/1", "/", "/v1/models/",
        "/v1/models/alexnet/versions/1:predict", "/v1/models/alexnet/versions/2:predict", "/v1/models/alexnet:regress",
        "/v1/models/other:predict", "/monitoring/prometheus/metrics", "/v1/models/alexnet/versions/00001/metadata",
    ]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20).map("/v1/models/".__add__),
)  # fmt: skip


class RestRequest(NamedTuple):
    """One request."""

    method: str
    path: str
    document: Any
    ascii: bool
    encoding: str
    edits: list[Edit]
    """Of the body that is sent."""

    def body(self) -> bytes:
        """What is sent."""
        text = json.dumps(self.document, ensure_ascii=self.ascii)
        body = text.encode("utf-8", "surrogatepass")
        if self.encoding == "gzip":
            body = gzip.compress(body, mtime=0)
        for edit in self.edits:
            body = edit.made(body)
        return body


REST_REQUESTS = st.builds(
    RestRequest,
    method=st.sampled_from(["POST"] * 8 + ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"]),
    path=PATHS,
    document=DOCUMENTS,
    ascii=st.booleans(),
    encoding=st.sampled_from(["identity"] * 6 + ["gzip", "gzip", "br", ""]),
    edits=st.one_of(st.just([]), st.just([]), st.lists(EDITS, max_size=3)),
)


class RawRequest(NamedTuple):
    """Bytes to a socket: a sound request with edits."""

    line: str
    headers: list[str]
    body: bytes
    edits: list[Edit]

    def made(self) -> bytes:
        """What is sent."""
        sent = "\r\n".join([self.line, *self.headers, "", ""]).encode() + self.body
        for edit in self.edits:
            sent = edit.made(sent)
        return sent


RAW_REQUESTS = st.builds(
    RawRequest,
    line=st.sampled_from([
        "POST /v1/models/alexnet:predict HTTP/1.1", "GET /v1/models/alexnet HTTP/1.0", "GET / HTTP/1.1",
        "POST /v1/models/alexnet:predict HTTP/9.9", "OPTIONS * HTTP/1.1", "CONNECT x:1 HTTP/1.1", "PRI * HTTP/2.0",
    ]),
    headers=st.lists(
        st.sampled_from([
            "Host: localhost", "Host:", "Host: localhost\r\nHost: other", "Content-Length: 19", "Content-Length: 0",
            "Content-Length: -1", "Content-Length: 99999999999999999999", "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip", "Connection: close", "Connection: Upgrade\r\nUpgrade: websocket",
            "Expect: 100-continue", "Content-Encoding: gzip", "X: " + "y" * 500, " folded", "Content-Type: x/y; =",
        ]), max_size=5,
    ),
    body=st.sampled_from(
        [b"", b'{"instances":["x"]}', b'13\r\n{"instances":["x"]}\r\n0\r\n\r\n', b"0\r\n\r\n", b"zz\r\n"]
    ),
    edits=st.lists(EDITS, max_size=2),
)  # fmt: skip

# gRPC

DIMS = st.lists(st.one_of(st.integers(-2, 4), st.sampled_from([2**20, 2**31, 2**40, 2**62])), max_size=5)
NUMBERS = st.integers(-(2**31), 2**31 - 1)


def _tensor(dtype: int, dims: list[int], content: bytes, **values: list[Any]) -> tensor_pb2.TensorProto:
    tensor = tensor_pb2.TensorProto(dtype=dtype, tensor_content=content, **values)
    for size in dims:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


TENSORS = st.builds(
    _tensor,
    dtype=st.one_of(st.sampled_from([1, 4, 7]), st.integers(-1, 130)),
    dims=DIMS,
    content=st.one_of(st.just(b""), st.binary(max_size=40)),
    int_val=st.lists(NUMBERS, max_size=4),
    float_val=st.lists(st.floats(width=32), max_size=4),
    string_val=st.lists(FILE, max_size=3),
    half_val=st.lists(st.integers(0, 65_535), max_size=2),
)
SOUND_TENSORS = st.one_of(
    st.lists(FILE, max_size=4).map(lambda files: _tensor(7, [len(files)], b"", string_val=files)),
    st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 4)).map(
        lambda size: _tensor(4, [*size, 3], bytes(size[0] * size[1] * size[2] * 3))
    ),
)
SPECS = st.builds(
    lambda name, signature, version, label: model_pb2.ModelSpec(
        name=name, signature_name=signature, **({} if version is None else {"version": {"value": version}}),
        **({} if label is None else {"version_label": label}),
    ),
    name=st.sampled_from(["alexnet"] * 8 + ["other", ""]),
    signature=st.sampled_from(SIGNATURES),
    version=st.one_of(st.none(), st.none(), st.integers(-1, 3), st.sampled_from([2**62])),
    label=st.one_of(st.none(), st.none(), st.none(), st.just("stable")),
)  # fmt: skip
FEATURES = st.dictionaries(
    st.sampled_from(["image", "other", ""]),
    st.one_of(
        st.lists(FILE, max_size=2).map(lambda files: feature_pb2.Feature(bytes_list={"value": files})),
        st.lists(NUMBERS, max_size=2).map(lambda values: feature_pb2.Feature(int64_list={"value": values})),
        st.just(None).map(lambda _: feature_pb2.Feature()),
    ),
    max_size=2,
)


def _example(features: dict[str, Any]) -> example_pb2.Example:
    example = example_pb2.Example()
    for name, feature in features.items():
        example.features.feature[name].CopyFrom(feature)
    return example


def _predict(spec: Any, inputs: dict[str, Any], wanted: list[str]) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec=spec, output_filter=wanted)
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tensor)
    return request


def _classify(spec: Any, examples: list[Any], context: Any) -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest(model_spec=spec)
    place = request.input.example_list
    if context is not None:
        place = request.input.example_list_with_context
        place.context.CopyFrom(context)
    for example in examples:
        place.examples.add().CopyFrom(example)
    return request


EXAMPLES = FEATURES.map(_example)
MESSAGES = st.one_of(
    st.builds(
        _predict,
        SPECS,
        st.dictionaries(
            st.sampled_from(["image_bytes"] * 5 + ["images", "views", "inputs", "other"]),
            st.one_of(SOUND_TENSORS, TENSORS), max_size=2,
        ),
        st.lists(st.sampled_from(["scores", "status", "probabilities", "nothing"]), max_size=2),
    ),
    st.builds(_classify, SPECS, st.lists(EXAMPLES, max_size=3), st.one_of(st.none(), EXAMPLES)),
    st.builds(
        lambda spec, fields: get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=fields),
        SPECS, st.lists(st.sampled_from(["signature_def", "other"]), max_size=2),
    ),
)  # fmt: skip
OWN_CALLS = {
    "PredictRequest": "tensorflow.serving.PredictionService/Predict",
    "ClassificationRequest": "tensorflow.serving.PredictionService/Classify",
    "GetModelMetadataRequest": "tensorflow.serving.PredictionService/GetModelMetadata",
}
OTHER_CALLS = [
    "tensorflow.serving.PredictionService/MultiInference", "tensorflow.serving.ModelService/GetModelStatus",
    "grpc.health.v1.Health/Check", "tensorflow.serving.PredictionService/Nothing",
]  # fmt: skip


class Call(NamedTuple):
    """One message to one method."""

    message: Any
    other: str | None
    edits: list[Edit]

    @property
    def method(self) -> str:
        """The message's own method, or another."""
        return self.other or OWN_CALLS[type(self.message).__name__]

    def data(self) -> bytes:
        """What is sent."""
        data = self.message.SerializeToString(deterministic=True)
        for edit in self.edits:
            data = edit.made(data)
        return data


CALLS = st.builds(
    Call,
    message=MESSAGES,
    other=st.one_of(st.none(), st.none(), st.none(), st.sampled_from([*OWN_CALLS.values(), *OTHER_CALLS])),
    edits=st.one_of(st.just([]), st.just([]), st.lists(EDITS, max_size=3)),
)
