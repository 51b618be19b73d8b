"""The local server against requests made to hold it: memory, time, silence, a stop; each over real sockets."""

import base64
import contextlib
import gzip
import http.client
import json
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, prediction_service_pb2_grpc

from tests.alexnet_tf.serving.conftest import export_of, program, quick_models, stored_pictures  # noqa: F401
from tests.alexnet_tf.serving.grpc_requests import one_for_all, predict_request, status_of
from tests.alexnet_tf.serving.servers import Server, b64, local_server
from tests.faults.hostile_pictures import noisy_png
from tfrecords.picture_limits import MUCH_PNG_DATA

PREDICT, CLASSIFY = "/v1/models/alexnet:predict", "/v1/models/alexnet:classify"
HEAD = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\n"
MEMORY = 400
"""Megabytes that the server may take for requests."""
REFUSED = {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}


@pytest.fixture(scope="module")
def server(quick_models: Path) -> Iterator[Server]:  # noqa: F811
    """One server with small limits for all of this file; the last test stops it."""
    limits = [f"--max-memory={MEMORY}", "--max-batch=4", "--max-body=4", "--patience=1.5", "--grace=1", "--poll=0.2"]
    with local_server(quick_models, *limits) as started:
        yield started


@pytest.fixture(scope="module")
def many(stored_pictures: list[bytes]) -> bytes:  # noqa: F811
    """A body of 300 good pictures, a minute of work or more."""
    small = tf.io.encode_jpeg(tf.io.decode_jpeg(stored_pictures[0])[:64, :64]).numpy()
    return json.dumps({"signature_name": "ten_view", "instances": [b64(small)] * 300}).encode()


@contextlib.contextmanager
def stub_of(server: Server) -> Iterator[prediction_service_pb2_grpc.PredictionServiceStub]:
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(server.grpc, options) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


@contextlib.contextmanager
def growth_below(server: Server, megabytes: float) -> Iterator[None]:
    """The server's resident memory meanwhile never exceeds what it was by more than this."""
    status = Path(f"/proc/{server.process.pid}/status")

    def read(key: str) -> int:
        return int(status.read_text().partition(f"{key}:")[2].split()[0]) // 1000

    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak is now what is in use
    before = read("VmRSS")
    yield
    assert read("VmHWM") - before < megabytes


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_well(server: Server) -> bool:
    status, answer = server.call(PREDICT, {"instances": ["text"]})
    return status == 200 and answer["predictions"][0]["status"] == "no JPEG, PNG or GIF file"


class TestMemory:
    @pytest.mark.parametrize(
        ("signature", "dtype", "shape"),
        [
            ("images", tf.uint8, [1, 7000, 7600, 3]),
            ("images", tf.uint8, [1, 2000, 2200, 3]),  # alone it is taken
            ("images", tf.uint8, [40, 1000, 1000, 3]),
            ("float_images", tf.float32, [1, 1500, 1500, 3]),
            ("network", tf.float32, [1000, 224, 224, 3]),
        ],
    )
    def test_one_value_for_a_whole_tensor(self, server: Server, signature: str, dtype: tf.DType, shape: list) -> None:
        key = "views" if signature == "network" else "images"
        request = predict_request(signature, **{key: one_for_all(dtype, shape)})
        assert request.ByteSize() < 100
        with growth_below(server, 1.25 * MEMORY), stub_of(server) as stub, ThreadPoolExecutor(16) as pool:
            found = set(pool.map(lambda _: status_of(stub.Predict, request), range(16)))
        assert found <= {"OK", *REFUSED} and (found & REFUSED)
        assert is_well(server)

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b'{"instances":[' + b"[]," * 1_300_000 + b"[]]}", id="empty lists"),
            pytest.param(b'{"instances":[' + b"{}," * 1_300_000 + b"{}]}", id="empty objects"),
            pytest.param(b'{"instances":[' + b'{"a":{}},' * 400_000 + b"{}]}", id="objects in objects"),
            pytest.param(b'{"instances":["' + b"x" * 2_000_000 + b'"' + b',"y"' * 400_000 + b"]}", id="texts"),
            pytest.param(
                b'{"signature_name":"images","instances":[[["' + b"x" * 500_000 + b'"' + b",1" * 500_000 + b"]]]}",
                id="a long text among numbers",
            ),
            pytest.param(b'{"instances":["' + b'\\"' * 1_900_000 + b'"]}', id="escaped quotes"),
            pytest.param(('{"instances":["\U0001f600' + "x" * 3_500_000 + '"]}').encode(), id="one wide letter"),
        ],
    )
    def test_json_that_grows(self, server: Server, body: bytes) -> None:
        with growth_below(server, 1.25 * MEMORY), ThreadPoolExecutor(8) as pool:
            found = {status for status, _ in pool.map(lambda _: server.call(PREDICT, body), range(8))}
        assert found <= {200, 400, 429, 503}
        assert is_well(server)

    def test_compressed_bodies_that_grow(self, server: Server) -> None:
        start = b'{"instances":["x"]}'
        large = gzip.compress(start + bytes(100_000_000))
        allowed = gzip.compress(start + b" " * 3_900_000)

        def send(body: bytes) -> int:
            connection = http.client.HTTPConnection(server.rest, timeout=60)
            connection.request("POST", PREDICT, body, {"Content-Encoding": "gzip"})
            status = connection.getresponse().status
            connection.close()
            return status

        with growth_below(server, 1.25 * MEMORY), ThreadPoolExecutor(16) as pool:
            assert set(pool.map(send, [large] * 16)) <= {413, 429, 503}
            assert set(pool.map(send, [allowed] * 16)) <= {200, 429, 503}
        assert send(allowed) == 200 and is_well(server)

    def test_messages_that_grow(self, server: Server) -> None:
        strings = predict_request("probabilities", image_bytes=tf.make_tensor_proto([b""] * 1_500_000))
        names = predict_request("probabilities", **{f"{n}": tf.make_tensor_proto([b""]) for n in range(20_000)})
        listed = classification_pb2.ClassificationRequest()
        listed.model_spec.name, listed.model_spec.signature_name = "alexnet", "classify"
        context = classification_pb2.ClassificationRequest.FromString(listed.SerializeToString())
        for _ in range(500_000):
            listed.input.example_list.examples.add()
        for _ in range(500):
            context.input.example_list_with_context.examples.add()
        feature = context.input.example_list_with_context.context.features.feature["image"]
        feature.bytes_list.value.append(b"x" * 3_500_000)
        with growth_below(server, 1.25 * MEMORY), stub_of(server) as stub, ThreadPoolExecutor(8) as pool:
            for call, request in (
                (stub.Predict, strings), (stub.Predict, names), (stub.Classify, listed), (stub.Classify, context)
            ):  # fmt: skip
                found = set(pool.map(lambda _, call=call, request=request: status_of(call, request), range(8)))
                assert found <= {"INVALID_ARGUMENT", *REFUSED}, found
        assert is_well(server)


class TestTime:
    def test_many_empty_pictures_are_refused_at_once(self, server: Server) -> None:
        start = time.monotonic()
        status, answer = server.call(PREDICT, {"instances": [""] * 20_000})
        assert status == 429 and "the request holds 20000 pictures, and one may hold 512" in answer["error"]
        with stub_of(server) as stub:
            request = predict_request("", image_bytes=tf.make_tensor_proto([b""] * 20_000))
            assert status_of(stub.Predict, request) == "RESOURCE_EXHAUSTED"
            nothing = tf.make_tensor_proto(np.zeros((1_000_000, 0, 0, 3), np.uint8))
            pixels = predict_request("images", images=nothing)
            assert status_of(stub.Predict, pixels) == "RESOURCE_EXHAUSTED"
        assert time.monotonic() - start < 10
        status, answer = server.call(PREDICT, {"instances": [""] * 500})
        assert status == 200 and {row["status"] for row in answer["predictions"]} == {"empty file"}

    def test_a_picture_whose_data_go_on_behind_its_pixels(self, server: Server) -> None:
        """The model itself would be busy for 2 s with each compressed megabyte."""
        file = noisy_png(600, 300_000, megabytes=700)
        assert len(file) < 1_100_000
        start = time.monotonic()
        status, answer = server.call(PREDICT, {"instances": [b64(file)] * 2})
        assert status == 200 and [row["status"] for row in answer["predictions"]] == [MUCH_PNG_DATA] * 2
        assert time.monotonic() - start < 2

    def test_others_get_their_turn(self, server: Server, many: bytes, stored_pictures: list[bytes]) -> None:  # noqa: F811
        one = b64(stored_pictures[0])
        with half_sent(server, f"{HEAD}Content-Length: {len(many)}", many) as large:
            time.sleep(0.5)
            for signature in ("serving_default", "ten_view"):  # the latter could be joined to it
                assert server.call(PREDICT, {"signature_name": signature, "instances": [one]})[0] == 200
            assert is_open(large)  # and has no answer yet

    @pytest.mark.parametrize("protocol", ["REST", "gRPC"])
    def test_nobody_works_for_a_sender_who_has_left(self, server: Server, many: bytes, protocol: str) -> None:
        if protocol == "REST":
            leaving = half_sent(server, f"{HEAD}Content-Length: {len(many)}", many)
            time.sleep(1)
            leaving.close()
        else:
            files = [base64.b64decode(one["b64"]) for one in json.loads(many)["instances"]]
            with stub_of(server) as stub:
                call = stub.Predict.future(predict_request("ten_view", image_bytes=tf.make_tensor_proto(files)))
                time.sleep(1)
                assert not call.done() and call.cancel()
        time.sleep(1)  # for the batch that runs
        before = cpu_seconds(server)
        time.sleep(1)
        assert cpu_seconds(server) - before < 0.3
        assert is_well(server)


class TestSilence:
    def test_silent_connections_keep_nobody_out(self, server: Server) -> None:
        silent = [socket.create_connection(address_of(server.rest)) for _ in range(400)]
        silent += [half_sent(server, "POST /v1/mod", end="") for _ in range(400)]
        silent += [half_sent(server, f"{HEAD}Content-Length: 9", b"{") for _ in range(300)]
        try:
            for _ in range(20):
                assert server.call("/v1/models/alexnet")[0] == 200
            assert is_well(server)
            time.sleep(3)
            open_now = sum(is_open(one) for one in silent)
            assert open_now == 0
        finally:
            for one in silent:
                one.close()

    def test_a_body_that_does_not_come_is_told(self, server: Server) -> None:
        start = time.monotonic()
        with half_sent(server, f"{HEAD}Content-Length: 9", b"{") as waiting:
            answer = all_from(waiting)
        assert b" 408 " in answer and b"does not come, or too slowly" in answer and time.monotonic() - start < 10

    def test_a_slow_sender_is_heard(self, server: Server) -> None:
        body = json.dumps({"instances": ["x" * 100_000]}).encode()
        head = f"{HEAD}Content-Length: {len(body)}"
        with half_sent(server, head) as slow:
            for start in range(0, len(body), 20_000):
                slow.sendall(body[start : start + 20_000])
                time.sleep(0.5)  # longer in all than the server's patience
            assert b" 200 " in slow.recv(1000)

    def test_silent_calls_keep_nobody_out(self, server: Server) -> None:
        def silent() -> Iterator[bytes]:
            over.wait()
            yield from ()

        over = threading.Event()
        try:
            with grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                call = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
                calls = [call.future(silent()) for _ in range(127)]
                time.sleep(0.5)
                with stub_of(server) as stub:
                    request = predict_request("", image_bytes=tf.make_tensor_proto([b"x"]))
                    stub.Predict(request, timeout=20)
                over.set()
                for one in calls:
                    one.cancel()
        finally:
            over.set()

    def test_silent_connections_over_grpc_keep_nobody_out(self, server: Server) -> None:
        """They speak HTTP/2, and then make no call; there are more than the server has files for."""
        number = server.process.pid
        before = resource.prlimit(number, resource.RLIMIT_NOFILE)
        resource.prlimit(number, resource.RLIMIT_NOFILE, (1200, before[1]))
        greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\4\1\0\0\0\0"
        silent = []
        try:
            for _ in range(1300):
                silent.append(socket.create_connection(address_of(server.grpc)))
                with contextlib.suppress(ConnectionError):  # there are too many
                    silent[-1].sendall(greeting)
            assert server.call("/v1/models/alexnet")[0] == 200 and is_well(server)
            time.sleep(3)
            with stub_of(server) as stub:
                request = predict_request("", image_bytes=tf.make_tensor_proto([b"x"]))
                stub.Predict(request, timeout=20)
            for one in silent:
                with contextlib.suppress(ConnectionError):
                    one.settimeout(20)
                    while one.recv(1000):  # until the server closes it
                        pass
        finally:
            resource.prlimit(number, resource.RLIMIT_NOFILE, before)
            for one in silent:
                one.close()

    def test_a_client_that_reads_no_answer_is_cut_off(self, server: Server) -> None:
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.connect(address_of(server.rest))
        opened.settimeout(20)
        with opened, pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(100_000):
                opened.sendall(b"GET /v1/models/alexnet/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert is_well(server)


def test_a_stop_holds_whatever_is_running(server: Server, many: bytes) -> None:
    """SIGTERM in the middle of a long request, half-sent bodies and headers, and calls without a message."""
    running = half_sent(server, f"{HEAD}Content-Length: {len(many)}", many)
    silent = [
        socket.create_connection(address_of(server.rest)), half_sent(server, "POST /v1/mod", end=""),
        half_sent(server, f"{HEAD}Content-Length: 9", b"{"), socket.create_connection(address_of(server.grpc)),
    ]  # fmt: skip
    over = threading.Event()
    with grpc.insecure_channel(server.grpc) as channel:
        health = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert next(health) == b"\x08\x01"  # SERVING
        call = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        waiting = call.future(iter(over.wait, True))
        time.sleep(0.5)
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        answer = all_from(running)
        server.process.wait(timeout=30)
        assert time.monotonic() - start < 1 + 5 + 2  # the grace, what may come after it, and a slow machine
        assert b" 503 " in answer and b"the server is stopping" in answer
        assert list(health) == [b"\x08\x02"]  # NOT_SERVING
        over.set()
        assert waiting.exception(timeout=10) is not None
    for one in [running, *silent]:
        one.close()
    assert server.process.returncode == 0


def half_sent(server: Server, head: str, body: bytes = b"", end: str = "\r\n\r\n") -> socket.socket:
    opened = socket.create_connection(address_of(server.rest))
    opened.sendall((head + end).encode() + body)
    return opened


def all_from(connection: socket.socket) -> bytes:
    """What comes until the other side closes it."""
    connection.settimeout(60)
    return b"".join(iter(lambda: connection.recv(10_000), b""))


def address_of(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host, int(port)


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has neither sent anything nor closed it."""
    connection.setblocking(False)
    try:
        return connection.recv(1) is None
    except BlockingIOError:
        return True
    except OSError:
        return False
