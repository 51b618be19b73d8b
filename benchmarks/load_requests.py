"""What the load consists of: kinds of requests, good, bad, slow and given up, and how each is to end."""

import base64
import functools
import gzip
import http.client
import io
import json
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from grpc_health.v1 import health_pb2
from PIL import Image
from tensorflow_serving.apis import classification_pb2, predict_pb2

from benchmarks.server_process import Started

SIGNATURES = ("serving_default", "probabilities", "features", "view")
SEVERAL = 8
"""Pictures of a request that has several."""
PREDICT, CLASSIFY = ":predict", ":classify"


class Pictures:
    """Sound picture files of several kinds and sizes, and files that are refused.

    Args:
      channels: of the pixels that the model takes, 1 or 3; picture files may have either.
    """

    def __init__(self, channels: int) -> None:
        coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)

        def encoded(kind: str, width: int, height: int, mode: str = "RGB", **options: Any) -> bytes:
            buffer = io.BytesIO()
            whole = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            whole.convert(mode).save(buffer, kind, **options)
            return buffer.getvalue()

        self.good = [
            encoded("JPEG", 500, 375), encoded("JPEG", 1600, 1200, progressive=True), encoded("JPEG", 64, 48),
            encoded("JPEG", 300, 400, "L"), encoded("PNG", 500, 375), encoded("PNG", 200, 300, "P"),
            encoded("GIF", 320, 240, "P"),
        ]  # fmt: skip
        whole = self.good[0]
        self.bad = [
            b"", b"text", whole[:1000], whole[:-100], whole[:20], b"\xff\xd8\xff", self.good[4][:-200], b"GIF89a",
            encoded("PNG", 10, 2000), encoded("BMP", 40, 30), whole[:500] + bytes(500) + whole[1000:2000],
        ]  # fmt: skip
        self.swollen = gzip.compress(b" " * 50_000_000, 1)
        """A body that is too large once it is uncompressed."""
        self.pixels = coarse.repeat(6, 0).repeat(6, 1)[None, ..., :channels]


class Client:
    """One client's connections to the server."""

    def __init__(self, server: Started, pictures: Pictures) -> None:
        self.server = server
        self.pictures = pictures
        self.path = f"/v1/models/{server.name}"

    def __enter__(self) -> "Client":
        self.rest = http.client.HTTPConnection(self.server.rest, timeout=60)
        self.channel = grpc.insecure_channel(self.server.grpc, [("grpc.use_local_subchannel_pool", 1)])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.rest.close()
        self.channel.close()

    def ask(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """HTTP status and content, over a connection that is kept."""
        method = "GET" if body is None else "POST"
        try:
            self.rest.request(method, path, body, headers or {})
            response = self.rest.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.rest.close()  # the server closes a connection that has been silent; as browsers do, once more
            self.rest.request(method, path, body, headers or {})
            response = self.rest.getresponse()
        return response.status, response.read()

    def call(self, method: str, request: bytes) -> bytes:
        """A gRPC call's answer. Raises grpc.RpcError."""
        return self.channel.unary_unary(f"/{method}")(request, timeout=60)

    def half_sent(self, body: bytes, share: float) -> socket.socket:
        """A connection over which part of a request for pictures has come."""
        host, _, port = self.server.rest.rpartition(":")
        opened = socket.create_connection((host, int(port)), timeout=60)
        head = f"POST {self.path}{PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        opened.sendall(head.encode() + body[: int(share * len(body))])
        return opened

    def serving_version(self) -> int:
        """The version that serves now."""
        _, answer = self.ask(self.path)
        states = json.loads(answer)["model_version_status"]
        return next(int(state["version"]) for state in states if state["state"] == "AVAILABLE")


@dataclass(frozen=True)
class Kind:
    """One kind of request."""

    name: str
    weight: float
    """How often it is drawn, in comparison with the others."""
    send: Callable[[Client, random.Random], str]
    """Sends one and says how it ended."""
    expected: str


def _json(files: list[bytes], signature: str = "serving_default") -> bytes:
    instances = [{"b64": base64.b64encode(file).decode()} for file in files]
    return json.dumps({"signature_name": signature, "instances": instances}).encode()


def _rest(client: Client, numbers: random.Random, *, compressed: bool = False) -> str:
    body = _json([numbers.choice(client.pictures.good)], numbers.choice(SIGNATURES))
    if compressed:
        status, answer = client.ask(client.path + PREDICT, gzip.compress(body), {"Content-Encoding": "gzip"})
    else:
        status, answer = client.ask(client.path + PREDICT, body)
    return str(status) if json.loads(answer)["predictions"][0]["status"] == "ok" else "refused"


def _rest_several(client: Client, numbers: random.Random) -> str:
    """Good and bad pictures in one request: each has its own status."""
    drawn = [numbers.random() < 0.5 for _ in range(SEVERAL)]
    files = [numbers.choice(client.pictures.good if good else client.pictures.bad) for good in drawn]
    status, answer = client.ask(client.path + PREDICT, _json(files))
    found = [row["status"] == "ok" for row in json.loads(answer)["predictions"]]
    return str(status) if found == drawn else "mixed up"


def _rest_bad(client: Client, numbers: random.Random) -> str:
    path, body = numbers.choice(
        [
            (PREDICT, b"{"), (PREDICT, b""), (PREDICT, b'{"instances": []}'), (PREDICT, b'{"instances": [[1]]}'),
            (PREDICT, _json([b"x"], "nothing")), (PREDICT, b'{"instances": [{"b64": "!"}]}'), (CLASSIFY, _json([b"x"])),
            (PREDICT, b'{"instances": ' + b"[" * 50_000), (PREDICT, b'{"instances": ["\\ud800"]}'),
        ]
    )  # fmt: skip
    return str(client.ask(client.path + path, body)[0])


def _rest_classify(client: Client, numbers: random.Random) -> str:
    image = {"b64": base64.b64encode(numbers.choice(client.pictures.good)).decode()}
    body = json.dumps({"signature_name": "classify", "examples": [{"image": image}]}).encode()
    status, answer = client.ask(client.path + CLASSIFY, body)
    return str(status) if json.loads(answer)["results"][0][0][1] > 0 else "refused"


def _rest_other(client: Client, numbers: random.Random) -> str:
    others = (client.path, f"{client.path}/metadata", "/monitoring/prometheus/metrics", "/")
    return str(client.ask(numbers.choice(others))[0])


def _rest_missing(client: Client, numbers: random.Random) -> str:
    others = ("/v1/models/other", f"{client.path}/versions/999999", "/elsewhere")
    return str(client.ask(numbers.choice(others))[0])


def _too_large(client: Client, numbers: random.Random) -> str:
    return str(client.ask(client.path + PREDICT, client.pictures.swollen, {"Content-Encoding": "gzip"})[0])


def _slow(client: Client, numbers: random.Random) -> str:
    body = _json([numbers.choice(client.pictures.good)])
    with client.half_sent(body, 0.3) as opened:
        for start, stop in ((0.3, 0.5), (0.5, 0.9), (0.9, 1.0)):
            time.sleep(0.1)
            opened.sendall(body[int(start * len(body)) : int(stop * len(body))])
        return opened.recv(12).split()[1].decode()


def _leaving(client: Client, numbers: random.Random) -> str:
    """Gone in the middle of the body, or before the answer."""
    files = numbers.choices(client.pictures.good, k=SEVERAL)
    with client.half_sent(_json(files), numbers.choice((0.5, 1.0))):
        time.sleep(numbers.choice((0.0, 0.01, 0.05)))
    return "left"


def _grpc(method: str, make: Callable[[Client, random.Random], Any], client: Client, numbers: random.Random) -> str:
    made = make(client, numbers)
    request = made if isinstance(made, bytes) else made.SerializeToString()
    try:
        client.call(method, request)
    except grpc.RpcError as fault:
        return fault.code().name
    return "OK"


def _predict(client: Client, signature: str, **inputs: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = client.server.name, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def _grpc_pictures(client: Client, numbers: random.Random) -> Any:
    files = numbers.choices(client.pictures.good + client.pictures.bad, k=numbers.choice((1, 1, 1, SEVERAL)))
    return _predict(client, numbers.choice(SIGNATURES), image_bytes=files)


def _grpc_pixels(client: Client, numbers: random.Random) -> Any:
    pixels = client.pictures.pixels
    return numbers.choice(
        [_predict(client, "images", images=pixels), _predict(client, "float_images", images=pixels.astype(np.float32))]
    )


def _grpc_classify(client: Client, numbers: random.Random) -> Any:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = client.server.name, "classify"
    feature = request.input.example_list.examples.add().features.feature["image"]
    feature.bytes_list.value.append(numbers.choice(client.pictures.good))
    return request


def _grpc_bad(client: Client, numbers: random.Random) -> Any:
    wrong_type = _predict(client, "", image_bytes=[1.5])
    many = _predict(client, "images", images=client.pictures.pixels)
    many.inputs["images"].tensor_shape.dim[0].size = 3
    return numbers.choice([b"\xff", b"\x0a\x7fx", wrong_type, many, _predict(client, "", images=[1])])


def _kinds() -> list[Kind]:
    predict, service = "tensorflow.serving.PredictionService/Predict", "tensorflow.serving.PredictionService"

    def over_grpc(method: str, make: Callable[[Client, random.Random], Any]) -> Callable[[Client, random.Random], str]:
        return functools.partial(_grpc, method, make)

    return [
        Kind("REST, a picture", 25, _rest, "200"),
        Kind("REST, a picture, compressed", 5, functools.partial(_rest, compressed=True), "200"),
        Kind(f"REST, {SEVERAL} pictures, good and bad", 4, _rest_several, "200"),
        Kind("REST, classify", 4, _rest_classify, "200"),
        Kind("REST, status, metadata, metrics, page", 10, _rest_other, "200"),
        Kind("REST, bad request", 8, _rest_bad, "400"),
        Kind("REST, what is not there", 4, _rest_missing, "404"),
        Kind("REST, too large uncompressed", 0.5, _too_large, "413"),
        Kind("REST, slow sender", 3, _slow, "200"),
        Kind("REST, leaves", 6, _leaving, "left"),
        Kind("gRPC, pictures", 20, over_grpc(predict, _grpc_pictures), "OK"),
        Kind("gRPC, pixels", 4, over_grpc(predict, _grpc_pixels), "OK"),
        Kind("gRPC, classify", 3, over_grpc(f"{service}/Classify", _grpc_classify), "OK"),
        Kind("gRPC, bad request", 5, over_grpc(predict, _grpc_bad), "INVALID_ARGUMENT"),
        Kind(
            "gRPC, health", 3,
            over_grpc("grpc.health.v1.Health/Check", lambda client, numbers: health_pb2.HealthCheckRequest()), "OK",
        ),
    ]  # fmt: skip


KINDS = _kinds()
