"""Requests that are no request, to alexnet_tf.serve: each is told its fault, and none makes the server fail."""

import http.client
import json
import socket
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.alexnet_tf.serving.grpc_requests import one_for_all, predict_request, status_of
from tests.alexnet_tf.serving.servers import Server

PREDICT, CLASSIFY = "/v1/models/alexnet:predict", "/v1/models/alexnet:classify"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (PREDICT, b'{"instances": ["\\ud800"]}', 400),
        (PREDICT, b'{"instances": [{"\\udfff": "x"}]}', 400),
        (PREDICT, b'{"signature_name": "\\ud83d", "instances": ["x"]}', 400),
        (CLASSIFY, b'{"signature_name": "classify", "examples": [{"image": "\\ud83d"}]}', 400),
        (CLASSIFY, b'{"signature_name": "classify", "examples": [{"\\ud83d": "x"}]}', 400),
        (PREDICT, b'{"instances": ["\\ud83d\\ude00"]}', 200),  # a whole pair is a letter
        (PREDICT, b'\xef\xbb\xbf{"instances": ["x"]}', 200),
        (PREDICT, ('{"instances": ' + "[" * 100_000 + "]" * 100_000 + "}").encode("utf-16"), 400),
        (PREDICT, '{"instances": ["x"]}'.encode("utf-16-le"), 400),
        (PREDICT, '{"instances": ["x"]}'.encode("utf-32"), 400),
        (PREDICT, {"signature_name": "images", "instances": [[[[1, 2, 2**70]]]]}, 400),
        (PREDICT, {"signature_name": "images", "instances": [[[[1, 2, True]]]]}, 400),
        (PREDICT, b'{"signature_name": "float_images", "instances": [[[[1, 2, 1e999]]]]}', 200),
        (PREDICT, b'{"signature_name": "float_images", "instances": [[[[1, 2, 1e300]]]]}', 200),
        (PREDICT, b'{"instances": [' + b"9" * 5000 + b"]}", 400),
        ("/v1/models/alexnet/versions/" + "9" * 5000, None, 400),
        ("/v1/models/alexnet/versions/" + "9" * 5000 + ":predict", {"instances": ["x"]}, 400),
        ("/v1/models/alexnet/versions/99999999999999999999/metadata", None, 400),
        ("/v1/models/alexnet/versions/" + "0" * 5000 + "1", None, 200),
        (PREDICT, b'{"instances": ["' + b'[\\"' * 50 + b'"]}', 200),  # brackets in a text, behind escaped quotes
        (PREDICT, b'{"instances": ["\\\\", ' + b"[" * 50 + b"]" * 50 + b"]}", 400),  # behind an escaped backslash
        ("/v1/models/alexnet/versions/%D9%A1", None, 400),  # an Arabic 1
    ],
)
def test_rest(server: Server, path: str, body: Any, status: int) -> None:
    found, answer = server.call(path, body)
    assert found == status and (status == 200 or answer["error"]), answer


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET ?v1/models/alexnet HTTP/1.0", 404),  # once a redirection to any host
        ("GET * HTTP/1.1", 404),
        ("OPTIONS * HTTP/1.1", 404),
        ("OPTIONS /v1/models/alexnet:predict HTTP/1.1", 405),
        ("POST / HTTP/1.1", 404),
    ],
)
def test_lines_that_ask_for_nothing(server: Server, line: str, status: int) -> None:
    host, _, port = server.rest.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as opened:
        opened.sendall(f"{line}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: opened.recv(10_000), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()) and b"location" not in head.lower(), answer
    assert list(json.loads(content)) == ["error"]


def test_a_body_that_is_no_http(server: Server) -> None:
    """It is answered once, and the log gets no traceback: the fixture looks at it when the server ends."""
    host, _, port = server.rest.rpartition(":")
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for asked in (head, head.replace(b"localhost", b"elsewhere")):
        with socket.create_connection((host, int(port)), timeout=60) as opened:
            opened.sendall(asked + b"no number\r\n")
            answer = b"".join(iter(lambda: opened.recv(10_000), b""))
        assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1, answer


def test_grpc(server: Server) -> None:
    whole = tf.make_tensor_proto(np.zeros((1, 2, 2, 3), np.uint8))
    requests = []
    for dtype in (0, 14, 19, 20, 21, 22, 23, 120, 121, 122, 999):
        requests.append(predict_request("images", images=whole))
        requests[-1].inputs["images"].dtype = dtype
    for values in ([300], [-1], [2**31 - 1], [1] * 13):
        requests.append(predict_request("images", images=one_for_all(tf.uint8, [1, 2, 2, 3])))
        requests[-1].inputs["images"].int_val[:] = values
    for sizes in ([1, 2, -2, 3], [1, -2, -2, 3], [2**62, 2, 2, 3], [1] * 100, []):
        requests.append(predict_request("images", images=one_for_all(tf.uint8, sizes)))
    requests.append(predict_request("images", images=whole))
    requests[-1].inputs["images"].tensor_content = b"x" * 11
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for number, request in enumerate(requests):
            found = status_of(stub.Predict, request)
            assert found in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"), f"{number}: {found}"


def test_bytes_that_are_no_message(server: Server) -> None:
    noise = np.random.default_rng(0)
    deep = b""
    for _ in range(200):  # a tensor in a tensor's variant ...
        deep = b"\x7a" + bytes([len(deep) % 100]) + deep
    with grpc.insecure_channel(server.grpc) as channel:
        for name in ("Predict", "Classify", "GetModelMetadata"):
            call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{name}")
            cut, group, many = b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x12" * 99
            for data in [b"\xff", cut, group, many, deep, *map(noise.bytes, range(1, 60))]:
                assert status_of(call, data) in ("INVALID_ARGUMENT", "NOT_FOUND"), data


def test_only_this_servers_names_are_answered(server: Server) -> None:
    ours = ["localhost", "LOCALHOST:8501", "127.0.0.1", "[::1]:8501", "192.168.1.7:80", socket.gethostname()]
    others = ["evil.example", "localhost.evil.example:8501", "127.0.0.1.evil", "", "localhost@evil.example"]
    for host in [*ours, *others]:
        connection = http.client.HTTPConnection(server.rest)
        connection.putrequest("GET", "/v1/models/alexnet", skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        response = connection.getresponse()
        text = response.read()
        assert response.status == (200 if host in ours else 403), (host, text)
        assert host in ours or f"not known as {host or 'a server without a name'}; start".encode() in text
        connection.close()
