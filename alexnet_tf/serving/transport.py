"""How the client reaches a model server: over gRPC or REST, with a deadline, and retries while it is unavailable."""

import base64
import contextlib
import ipaddress
import json
import random
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import httpx

from alexnet_tf.program.errors import UserError

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between tries: doubled each time, less up to a half at random, so that clients do not retry together."""
SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Answer:
    """The server's answer for one picture; labels, classes and scores are empty or 0 unless status is "ok"."""

    labels: list[str]
    classes: list[str]
    scores: list[float]
    status: str


class Unavailable(Exception):
    """The server cannot answer now, and may soon; the message says why."""


def on_this_machine(server: str) -> bool:
    """Whether HOST:PORT is the machine's own loopback, which no proxy can reach."""
    host = server.rpartition(":")[0].strip("[]").lower().rstrip(".")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


class Transport(ABC):
    """One protocol to one server. Use as a context manager."""

    overhead: int
    """Bytes of a request beside its pictures, at most."""

    def __init__(self, server: str, model: str, version: int | None, timeout: float, retries: int) -> None:
        """Prepares the connection, which is made with the first request.

        Args:
          server: HOST:PORT.
          model: its name at the server.
          version: None for the one that the server takes.
          timeout: seconds for a request with all its retries.
          retries: further tries while the server is unavailable.
        """
        self.server = server
        self.model = model
        self.version = version
        self.timeout = timeout
        self.retries = retries

    def predict(self, files: list[bytes]) -> list[Answer]:
        """Answers for picture files, in one request.

        Raises:
          UserError: says what the server refused, or that it cannot be reached, and what to do.
        """
        deadline = time.monotonic() + self.timeout
        pause = FIRST_PAUSE
        for left in range(self.retries, -1, -1):
            try:
                return self._try(files, max(0.001, deadline - time.monotonic()))
            except Unavailable as fault:
                wait = pause * random.uniform(0.5, 1)
                if not left or time.monotonic() + wait >= deadline:
                    raise UserError(
                        f"server {self.server} is unavailable ({fault}); is it running, is this its "
                        f"{self.protocol} port? Raise --retries or --timeout for a server that is starting"
                    ) from fault
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE)
        raise AssertionError("the last try returns or raises")

    protocol: str

    @abstractmethod
    def wire_size(self, file: bytes) -> int:
        """Bytes that a picture takes in a request."""

    @abstractmethod
    def _try(self, files: list[bytes], seconds: float) -> list[Answer]:
        """One try. Raises Unavailable where another may help, UserError elsewhere."""

    @abstractmethod
    def __enter__(self) -> "Transport": ...

    @abstractmethod
    def __exit__(self, *exception: object) -> None: ...

    def _refused(self, kind: str, message: str) -> UserError:
        """What each status code means for whoever runs the client. `kind` is gRPC's name for it."""
        advice = {
            "NOT_FOUND": f"it has no model {self.model!r}, or not this version; see --model and --version",
            "DEADLINE_EXCEEDED": f"no answer in {self.timeout:g} s; raise --timeout or lower --batch",
            "RESOURCE_EXHAUSTED": "the request or its answer is too large for it, or it is overloaded; lower --batch",
            "INVALID_ARGUMENT": "it takes other inputs; was the model made by alexnet-tf export?",
            "FAILED_PRECONDITION": "it takes other inputs; was the model made by alexnet-tf export?",
            "UNIMPLEMENTED": "it is no TensorFlow Serving, or speaks the other protocol at this port",
            "PERMISSION_DENIED": "it does not let you in",
            "UNAUTHENTICATED": "it does not let you in",
        }.get(kind, "see the server's log")
        return UserError(f"server {self.server} answers {kind}: {advice} ({' '.join(message.split())[:300]})")


class RestTransport(Transport):
    """TensorFlow Serving's REST interface. Pictures travel as base64, a third larger than they are."""

    protocol = "REST"
    overhead = 200

    def wire_size(self, file: bytes) -> int:
        """Base64 and the brackets around it."""
        return 4 * -(-len(file) // 3) + 40

    def __enter__(self) -> "RestTransport":
        self.http = httpx.Client(base_url=f"http://{self.server}", trust_env=False)  # without http_proxy's proxy
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()

    def _try(self, files: list[bytes], seconds: float) -> list[Answer]:
        version = "" if self.version is None else f"/versions/{self.version}"
        instances = [{"image_bytes": {"b64": base64.b64encode(file).decode()}} for file in files]
        try:
            response = self.http.post(
                f"/v1/models/{self.model}{version}:predict",
                content=json.dumps({"signature_name": SIGNATURE, "instances": instances}),
                headers={"Content-Type": "application/json"},
                timeout=seconds,
            )
        except httpx.TimeoutException as fault:
            raise self._refused("DEADLINE_EXCEEDED", type(fault).__name__) from fault
        except httpx.TransportError as fault:  # no connection, or a broken one
            raise Unavailable(str(fault) or type(fault).__name__) from fault
        return self._answers(response)

    def _answers(self, response: httpx.Response) -> list[Answer]:
        try:
            content = response.json()
        except ValueError:
            content = {"error": response.text}
        message = str(content.get("error", content) if isinstance(content, dict) else content)
        if response.status_code == 503:
            raise Unavailable(message)
        if response.status_code != 200:
            kinds = {
                400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
                413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED", 501: "UNIMPLEMENTED", 504: "DEADLINE_EXCEEDED",
            }  # fmt: skip
            raise self._refused(kinds.get(response.status_code, f"HTTP {response.status_code}"), message)
        try:
            return [Answer(**{key: row[key] for key in Answer.__annotations__}) for row in content["predictions"]]
        except (KeyError, TypeError) as fault:
            raise self._refused("INVALID_ARGUMENT", f"its answer lacks {fault}") from fault


class GrpcTransport(Transport):
    """TensorFlow Serving's gRPC interface: smaller messages than REST's, and the server's statuses as they are."""

    protocol = "gRPC"
    overhead = 200

    def wire_size(self, file: bytes) -> int:
        """The file, its tag and its length."""
        return len(file) + 6

    def __enter__(self) -> "GrpcTransport":
        # Late, for TensorFlow Serving's messages are made of TensorFlow's, whose import takes seconds.
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        # gRPC's own limit of 4 MB is for what this side receives; the requests' size is this client's to bound.
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if on_this_machine(self.server):
            options.append(("grpc.enable_http_proxy", 0))  # gRPC would ask http_proxy's even for localhost
        self.grpc = grpc
        self.channel = grpc.insecure_channel(self.server, options)
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        return self

    def __exit__(self, *exception: object) -> None:
        self.channel.close()

    def _try(self, files: list[bytes], seconds: float) -> list[Answer]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = SIGNATURE
        if self.version is not None:
            request.model_spec.version.value = self.version
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files, tf.string))
        try:
            response = self.stub.Predict(request, timeout=seconds)
        except self.grpc.RpcError as fault:
            kind, message = fault.code().name, fault.details() or ""
            if kind == "UNAVAILABLE":
                raise Unavailable(message) from fault
            raise self._refused(kind, message) from fault
        missing = set(Answer.__annotations__) - set(response.outputs)
        if missing:
            raise self._refused("INVALID_ARGUMENT", f"its answer lacks {', '.join(sorted(missing))}")
        return self._answers({key: tf.make_ndarray(response.outputs[key]) for key in Answer.__annotations__})

    def _answers(self, outputs: dict[str, Any]) -> list[Answer]:
        texts = {key: [[text.decode() for text in row] for row in outputs[key]] for key in ("labels", "classes")}
        statuses = [status.decode() for status in outputs["status"]]
        rows = zip(texts["labels"], texts["classes"], outputs["scores"].tolist(), statuses, strict=True)
        return [Answer(*row) for row in rows]
