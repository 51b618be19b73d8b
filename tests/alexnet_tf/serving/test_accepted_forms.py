"""Forms of requests and answers that TensorFlow Serving has beside the usual ones; metrics and health."""

import base64
import gzip
import http.client
import json
import re
import textwrap
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import classification_pb2, prediction_service_pb2_grpc

from alexnet_tf.local_server.tensors import shortest
from tests.alexnet_tf.serving.grpc_requests import predict_request, status_of
from tests.alexnet_tf.serving.servers import Server

PREDICT, CLASSIFY = "/v1/models/alexnet:predict", "/v1/models/alexnet:classify"


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as opened:
        yield opened


class TestBase64:
    def test_lines_and_missing_padding(self, any_server: Server, stored_pictures: list[bytes]) -> None:
        lengths = set()
        for cut in range(3):
            file = stored_pictures[0] + bytes(cut)  # what follows a JPEG's end is nobody's
            text = base64.b64encode(file).decode()
            lengths.add(text.count("="))
            forms = [text, "\n".join(textwrap.wrap(text, 76)) + "\n", text.rstrip("="), text.replace("=", " = ")]
            answers = [any_server.call(PREDICT, {"instances": [{"b64": form}]}) for form in forms]
            assert all(status == 200 for status, _ in answers)
            assert all(answer["predictions"][0]["status"] == "ok" for _, answer in answers)
        assert lengths == {0, 1, 2}

    @pytest.mark.parametrize("text", ["_w==", "_-_-", "/w=", "/w===", "/", "//8==", "/w==/w==", "=", "é", "/w\0=="])
    def test_what_is_none_is_told(self, any_server: Server, text: str) -> None:
        status, answer = any_server.call(PREDICT, {"instances": [{"b64": text}]})
        assert status == 400 and "base64" in answer["error"]


class TestGzip:
    def test_a_compressed_body(self, any_server: Server, stored_pictures: list[bytes]) -> None:
        one = {"b64": base64.b64encode(stored_pictures[0]).decode()}
        status, answer = compressed(any_server, gzip.compress(json.dumps({"instances": [one]}).encode()))
        assert status == 200 and answer["predictions"][0]["status"] == "ok"
        # More than is uncompressed at a time, and exactly as much.
        for padding in (2_000_000, (1 << 20) - 19):
            body = b'{"instances":["x"]}' + b" " * padding
            status, answer = compressed(any_server, gzip.compress(body))
            assert status == 200 and answer["predictions"][0]["status"] == "no JPEG, PNG or GIF file"

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda body: body[:-1], "ends too early"),
            (lambda body: body[:10], "ends too early"),
            (lambda body: b"", "ends too early"),
            (lambda body: gzip.decompress(body), "no gzip"),
            (lambda body: body[:-5] + b"\0" + body[-4:], "damaged"),
            (lambda body: body + body, "goes on behind"),
        ],
    )
    def test_what_is_none_is_told(self, server: Server, change, told: str) -> None:
        status, answer = compressed(server, change(gzip.compress(b'{"instances": ["x"]}')))
        assert status == 400 and told in answer["error"]

    def test_other_encodings_are_told(self, server: Server) -> None:
        status, answer = compressed(server, b"x", "br")
        assert status == 400 and answer["error"].startswith("Content-Encoding br is not understood")


def compressed(server: Server, body: bytes, encoding: str = "gzip") -> tuple[int, dict]:
    connection = http.client.HTTPConnection(server.rest, timeout=60)
    connection.request("POST", PREDICT, body, {"Content-Encoding": encoding})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def test_inputs_may_hold_further_keys(any_server: Server) -> None:
    status, answer = any_server.call(PREDICT, {"inputs": {"image_bytes": ["x"], "comment": 7}})
    assert status == 200 and answer["outputs"]["status"] == ["no JPEG, PNG or GIF file"]
    status, answer = any_server.call(PREDICT, {"inputs": {"comment": 7}})
    assert status == 400 and "Missing named input: image_bytes" in answer["error"]
    status, _ = any_server.call(PREDICT, {"instances": [{"image_bytes": "x", "comment": 7}]})  # there they may not
    assert status == 400


def test_features_of_an_example(any_server: Server) -> None:
    values = [True, False, 7, [True, 1], 1.5, [1.5, 2.5], "x", ["x"], []]
    body = {"signature_name": "classify", "examples": [{"image": "x", "other": value} for value in values]}
    status, answer = any_server.call(CLASSIFY, body)
    assert status == 200
    assert [row[0] for row in answer["results"]] == [["no JPEG, PNG or GIF file", 0.0]] * len(values)
    status, answer = any_server.call(CLASSIFY, {"signature_name": "classify", "examples": [{"image": []}]})
    assert status == 200 and answer["results"][0][0] == ["empty file", 0.0]


def test_unknown_signatures(any_server: Server) -> None:
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name, classify.model_spec.signature_name = "alexnet", "nothing"
    classify.input.example_list.examples.add()
    with grpc.insecure_channel(any_server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_request("nothing", image_bytes=tf.make_tensor_proto([b"x"]))
        assert status_of(stub.Predict, request) == "FAILED_PRECONDITION"
        assert status_of(stub.Classify, classify) == "INVALID_ARGUMENT"
    for path, body in ((PREDICT, {"instances": ["x"]}), (CLASSIFY, {"examples": [{"image": "x"}]})):
        status, answer = any_server.call(path, {"signature_name": "nothing", **body})
        assert status == 400 and "nothing" in answer["error"]


class TestNumbers:
    def test_digits_read_back_and_are_no_more_than_needed(self) -> None:
        bits = np.random.default_rng(0).bytes(4 * 20_000)
        values = np.frombuffer(bits + np.float32([0, 1, 0.1, 1 / 3, 1e-45, 3.4028235e38]).tobytes(), np.float32)
        values = values[np.isfinite(values)]
        read = json.loads(json.dumps(shortest(values).tolist()), parse_float=np.float32)
        assert np.array_equal(np.array(read, np.float32), values)
        with np.errstate(over="ignore"):
            for value, text in zip(values, map(repr, shortest(values).tolist()), strict=True):
                needed = next(count for count in range(1, 10) if np.float32(f"{value:.{count - 1}e}") == value)
                assert len(digits(text)) <= needed
        whole = np.arange(3, dtype=np.int64)
        assert shortest(whole) is whole

    def test_a_servers_digits(self, any_server: Server, stored_pictures: list[bytes]) -> None:
        picture = {"b64": base64.b64encode(stored_pictures[0]).decode()}
        for path, key, body in (
            (PREDICT, "predictions", {"signature_name": "probabilities", "instances": [picture]}),
            (CLASSIFY, "results", {"signature_name": "classify", "examples": [{"image": picture}]}),
        ):
            request = http.client.HTTPConnection(any_server.rest, timeout=60)
            request.request("POST", path, json.dumps(body))
            text = request.getresponse().read().decode()
            request.close()
            found = re.findall(r"(?<=[ \[,:])-?[0-9]+\.[0-9]+(?:e-?[0-9]+)?", text)
            assert key in text and len(found) >= 5 and all(len(digits(one)) <= 9 for one in found), found


def digits(text: str) -> str:
    """Those that matter."""
    return text.partition("e")[0].lstrip("-").replace(".", "").strip("0")


class TestMetrics:
    def test_requests_batches_memory_and_version(self, server: Server, channel: grpc.Channel) -> None:
        before = samples(server)
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert server.call(PREDICT, {"instances": ["x", "y"]})[0] == 200
        assert server.call(PREDICT, b"{")[0] == 400
        assert server.call("/v1/models/other:predict", {"instances": ["x"]})[0] == 404
        assert server.call("/elsewhere")[0] == 404
        assert status_of(stub.Predict, predict_request("", image_bytes=tf.make_tensor_proto([b"x"]))) == "OK"
        assert status_of(stub.Predict, predict_request("no", image_bytes=tf.make_tensor_proto([b"x"]))) != "OK"
        until = time.monotonic() + 30
        while True:  # a call is counted once its answer is on its way
            after = samples(server)
            grown = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
            requests = sum(value for (name, _), value in grown.items() if name.endswith("request_count"))
            if requests == 6 or time.monotonic() > until:
                break

        def counted(model: str, method: str, entrypoint: str, status: str) -> tuple:
            labels = {"model_name": model, "API": method, "entrypoint": entrypoint, "status": status}
            return ":tensorflow:serving:request_count", tuple(sorted(labels.items()))

        expected = [
            ("alexnet", "predict", "REST", "OK"), ("alexnet", "predict", "REST", "INVALID_ARGUMENT"),
            ("", "predict", "REST", "NOT_FOUND"), ("", "", "REST", "NOT_FOUND"),
            ("alexnet", "Predict", "GRPC", "OK"), ("alexnet", "Predict", "GRPC", "FAILED_PRECONDITION"),
        ]  # fmt: skip
        assert all(grown[counted(*key)] == 1 for key in expected)
        assert requests == 6
        labels = (("API", "predict"), ("entrypoint", "REST"), ("model_name", "alexnet"))
        assert grown[":tensorflow:serving:request_latency_count", labels] == 1
        assert 10 < grown[":tensorflow:serving:request_latency_sum", labels] < 6e7  # microseconds
        assert grown["alexnet_batch_pictures_count", ()] == 2 and grown["alexnet_batch_pictures_sum", ()] == 3
        assert after["alexnet_served_version", ()] == 1 and after["alexnet_failed_versions", ()] == 0
        assert after["process_resident_memory_bytes", ()] > 1e8
        assert after["alexnet_request_memory_bytes", ()] == 0 < after["alexnet_request_memory_limit_bytes", ()]
        assert after["alexnet_open_requests", ()] == after["alexnet_waiting_pictures", ()] == 0

    def test_names_that_senders_make_up_are_not_kept(self, server: Server) -> None:
        size = len(samples(server))
        for number in range(20):
            server.call(f"/v1/models/made-up-{number}:predict", {"instances": ["x"]})
            server.call(f"/made-up-{number}")
        assert len(samples(server)) <= size + 2


def samples(server: Server) -> dict[tuple[str, tuple], float]:
    connection = http.client.HTTPConnection(server.rest, timeout=60)
    connection.request("GET", "/monitoring/prometheus/metrics")
    response = connection.getresponse()
    assert response.status == 200 and response.headers["Content-Type"].startswith("text/plain")
    text = response.read().decode()
    connection.close()
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for one in found}


def test_health(server: Server, channel: grpc.Channel) -> None:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    for name in ("", "PredictionService", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
        assert check(health_pb2.HealthCheckRequest(service=name), timeout=20).status == 1  # SERVING
    assert status_of(check, health_pb2.HealthCheckRequest(service="other")) == "NOT_FOUND"
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    known, unknown = (watch(health_pb2.HealthCheckRequest(service=name), timeout=60) for name in ("", "other"))
    assert next(known).status == 1 and next(unknown).status == 3  # SERVICE_UNKNOWN; both stay open
    known.cancel()
    unknown.cancel()
    assert check(health_pb2.HealthCheckRequest(), timeout=20).status == 1


def test_watchers_keep_nobody_out(server: Server) -> None:
    """A watch lasts as long as its caller likes."""
    with grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        watches = [watch(b"", timeout=60) for _ in range(150)]
        told = []
        for one in watches:
            try:
                next(one)
            except grpc.RpcError as fault:
                told.append(fault.code().name)
        assert told == ["RESOURCE_EXHAUSTED"] * 50
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=20) == b"\x08\x01"
        for one in watches:
            one.cancel()
