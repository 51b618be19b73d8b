"""The client against real servers, and against scripted ones that refuse, stall and come back."""

import base64
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from alexnet_tf import client
from alexnet_tf.program.errors import UserError
from alexnet_tf.serving import transport
from alexnet_tf.serving.asking import batches
from tests.alexnet_tf.serving.exported_models import Exported
from tests.alexnet_tf.serving.servers import ROOT, Server
from tests.alexnet_tf.serving.test_answers import NO_FILE
from tests.closeness import WHOLE_NETWORK, assert_close

PROTOCOLS = ["--grpc", "--rest"]
ANSWER = {"labels": ["n1", "n2"], "classes": ["one", "two"], "scores": [0.75, 0.25], "status": "ok"}


@pytest.fixture
def pictures(stored_pictures: list[bytes], tmp_path: Path) -> list[str]:
    """Paths of seven good pictures."""
    paths = [tmp_path / f"{number}.jpg" for number in range(7)]
    for path, file in zip(paths, stored_pictures, strict=False):
        path.write_bytes(file)
    return [str(path) for path in paths]


def address(server: Server, protocol: str) -> list[str]:
    return ["--server", server.rest if protocol == "--rest" else server.grpc, protocol]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_names_every_picture_in_batches(
    any_server: Server, program: Exported, pictures: list[str], stored_pictures: list[bytes], protocol: str, capsys
) -> None:
    arguments = [*address(any_server, protocol), "--batch", "3", "--top", "2", "--version", "1"]
    assert client.main([*pictures, *arguments, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    expected = program.signature("serving_default")(image_bytes=tf.constant(stored_pictures[:7]))
    assert list(answers) == pictures
    for number, top in enumerate(answers.values()):
        assert [one["name"] for one in top] == [name.decode() for name in expected["classes"].numpy()[number, :2]]
        assert [one["label"] for one in top] == [name.decode() for name in expected["labels"].numpy()[number, :2]]
        found = [one["probability"] for one in top]
        assert_close(found, expected["scores"].numpy()[number, :2], WHOLE_NETWORK)
    assert client.main([*pictures[:1], *arguments]) == 0
    assert capsys.readouterr().out.startswith(f"{pictures[0]}\n  ")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_bad_picture_is_told_and_the_others_are_named(
    any_server: Server, pictures: list[str], tmp_path: Path, protocol: str, capsys
) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    os.mkfifo(tmp_path / "pipe")
    notes, pipe, missing = (str(tmp_path / name) for name in ("notes.jpg", "pipe", "missing.jpg"))
    with Image.open(pictures[1]) as stored:
        stored.save(tmp_path / "1.webp", lossless=True)
    pictures[1] = str(tmp_path / "1.webp")  # which no server reads
    images = [pictures[0], missing, notes, pipe, str(tmp_path / "*.webp")]
    assert client.main([*images, "--json", *address(any_server, protocol)]) == 1
    printed = capsys.readouterr()
    assert list(json.loads(printed.out)) == pictures[:2]
    assert sorted(printed.err.splitlines()) == sorted([
        f"error: picture {missing} cannot be read: No such file or directory; correct the path, or restore the file",
        f"error: picture {pipe} cannot be read: {NO_FILE}",
        f"error: picture {notes}: no JPEG, PNG or GIF file",
    ])  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_the_server_refuses_is_told(any_server: Server, pictures: list[str], protocol: str) -> None:
    for wrong in (["--model", "other"], ["--version", "7"]):
        with pytest.raises(UserError, match=r"answers NOT_FOUND: it has no model .* see --model and --version"):
            client.main([pictures[0], *address(any_server, protocol), *wrong])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_larger_than_the_server_takes_are_told(
    server: Server, pictures: list[str], tmp_path: Path, protocol: str, capsys
) -> None:
    (tmp_path / "large.jpg").write_bytes(b"x" * 4_200_000)
    large = str(tmp_path / "large.jpg")
    with pytest.raises(UserError, match=r"answers RESOURCE_EXHAUSTED: .*lower --batch"):
        client.main([large, *address(server, protocol)])
    assert client.main([large, pictures[0], *address(server, protocol), "--max-message", "4", "--json"]) == 1
    printed = capsys.readouterr()
    assert list(json.loads(printed.out)) == pictures[:1]
    assert re.fullmatch(
        r"error: picture \S+large\.jpg takes \d+ bytes, --max-message allows 4000000; raise it or shrink it\n",
        printed.err,
    )


@pytest.mark.parametrize("kind", [transport.GrpcTransport, transport.RestTransport])
def test_batches_keep_within_the_message(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    with kind("127.0.0.1:1", "alexnet", 12, 1, 0) as made:
        files = [(str(size), b"\xff" * size) for size in (1, 900, 40, 1000, 3, 3, 3, 700, 2)]
        found = list(batches(files, 3, 1700, made))
        assert [file for batch in found for file in batch] == files
        assert max(len(batch) for batch in found) == 3 and len(found) < len(files)

        def request_size(*arguments: Any, **options: Any) -> Any:
            sent.append(arguments[0].ByteSize() if not options.get("content") else len(options["content"]))
            raise UserError("seen")

        if kind is transport.GrpcTransport:
            monkeypatch.setattr(made.stub, "Predict", request_size)
        else:
            monkeypatch.setattr(made.http, "post", request_size)
        for batch in found:
            with pytest.raises(UserError, match="seen"):
                made.predict([file for _, file in batch])
    assert max(sent) <= 1700


@contextmanager
def scripted_grpc(answer: Callable[[int, Any], predict_pb2.PredictResponse]) -> Iterator[str]:
    """A server whose n-th call is answered by answer(n, context)."""
    calls = iter(range(100))

    class Scripted(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:
            return answer(next(calls), context)

    server = grpc.server(ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Scripted(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


@contextmanager
def scripted_rest(answer: Callable[[int], tuple[int, Any]]) -> Iterator[str]:
    """The same for REST; answer(n) gives status and JSON."""
    calls = iter(range(100))

    class Scripted(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, content = answer(next(calls))
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def good_response() -> predict_pb2.PredictResponse:
    response = predict_pb2.PredictResponse()
    for key, value in ANSWER.items():
        dtype = tf.float32 if key == "scores" else tf.string
        response.outputs[key].CopyFrom(tf.make_tensor_proto([value], dtype))
    return response


def test_unavailable_is_tried_again_over_grpc(pictures: list[str], capsys) -> None:
    def answer(number: int, context: Any) -> Any:
        return context.abort(grpc.StatusCode.UNAVAILABLE, "starting") if number < 2 else good_response()

    with scripted_grpc(answer) as server:
        assert client.main([pictures[0], "--server", server, "--grpc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[pictures[0]][0] == {"label": "n1", "name": "one", "probability": 0.75}
    with scripted_grpc(answer) as server, pytest.raises(UserError, match=r"is unavailable \(starting\).*--retries"):
        client.main([pictures[0], "--server", server, "--grpc", "--retries", "1"])


def test_unavailable_is_tried_again_over_rest(pictures: list[str], capsys) -> None:
    def answer(number: int) -> tuple[int, Any]:
        return (503, {"error": "starting"}) if number < 2 else (200, {"predictions": [ANSWER]})

    with scripted_rest(answer) as server:
        assert client.main([pictures[0], "--server", server, "--rest", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[pictures[0]][1]["name"] == "two"
    with scripted_rest(answer) as server, pytest.raises(UserError, match=r"is unavailable \(starting\)"):
        client.main([pictures[0], "--server", server, "--rest", "--retries", "1"])


def test_what_has_been_answered_is_printed_before_a_fault(pictures: list[str], capsys) -> None:
    def answer(number: int) -> tuple[int, Any]:
        return (404, {"error": "gone"}) if number else (200, {"predictions": [ANSWER]})

    with scripted_rest(answer) as server, pytest.raises(UserError, match="NOT_FOUND"):
        client.main([*pictures[:2], "--server", server, "--rest", "--batch", "1", "--json"])
    assert list(json.loads(capsys.readouterr().out)) == pictures[:1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_server_at_all_is_told(pictures: list[str], protocol: str) -> None:
    with pytest.raises(UserError, match=r"server 127\.0\.0\.1:1 is unavailable .*is it running"):
        client.main([pictures[0], "--server", "127.0.0.1:1", protocol, "--retries", "1"])
    for server in ("localhost", "http://localhost:8501", "localhost:8501/v1"):
        with pytest.raises(UserError, match="give HOST:PORT"):
            client.main([pictures[0], "--server", server, protocol])


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("PERMISSION_DENIED", "does not let you in"),
        ("UNAUTHENTICATED", "does not let you in"),
        ("UNIMPLEMENTED", "no TensorFlow Serving"),
        ("FAILED_PRECONDITION", "takes other inputs"),
        ("RESOURCE_EXHAUSTED", "lower --batch"),
        ("INTERNAL", "the server's log"),
    ],
)
def test_each_status_of_grpc_has_its_advice(pictures: list[str], code: str, advice: str) -> None:
    with (
        scripted_grpc(lambda number, context: context.abort(grpc.StatusCode[code], "why\nso")) as server,
        pytest.raises(UserError, match=rf"answers {code}: .*{advice}.*\(why so\)"),
    ):
        client.main([pictures[0], "--server", server, "--grpc"])


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (401, {"error": "who"}, "UNAUTHENTICATED: it does not let you in"),
        (403, b"<html>", r"PERMISSION_DENIED: .*\(<html>\)"),
        (500, {"error": "oops"}, r"HTTP 500: see the server's log \(oops\)"),
        (200, {"predictions": [[1, 2]]}, "INVALID_ARGUMENT: it takes other inputs"),
        (200, b"no JSON", "INVALID_ARGUMENT"),
        (200, {}, r"INVALID_ARGUMENT.*lacks 'predictions'"),
    ],
)
def test_each_status_of_rest_has_its_advice(pictures: list[str], status: int, content: Any, told: str) -> None:
    with scripted_rest(lambda number: (status, content)) as server, pytest.raises(UserError, match=told):
        client.main([pictures[0], "--server", server, "--rest"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_deadline_holds(pictures: list[str], protocol: str) -> None:
    def stall(*arguments: Any) -> Any:
        time.sleep(1.5)
        return (200, {}) if protocol == "--rest" else good_response()

    start = time.monotonic()
    with (
        (scripted_rest if protocol == "--rest" else scripted_grpc)(stall) as server,
        pytest.raises(UserError, match=r"DEADLINE_EXCEEDED: no answer in 0\.3 s; raise --timeout"),
    ):
        client.main([pictures[0], "--server", server, protocol, "--timeout", "0.3"])
    assert time.monotonic() - start < 4


def test_rest_needs_no_tensorflow(server: Server, pictures: list[str]) -> None:
    code = (
        "import sys; from alexnet_tf import client; status = client.main(sys.argv[1:]);"
        "assert 'tensorflow' not in sys.modules; sys.exit(status)"
    )
    arguments = [pictures[0], "--server", server.rest, "--rest"]
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)


def test_base64_is_what_was_counted() -> None:
    with transport.RestTransport("127.0.0.1:1", "alexnet", None, 1, 0) as made:
        for size in range(0, 10):
            assert made.wire_size(b"x" * size) >= len(base64.b64encode(b"x" * size)) + len(
                '{"image_bytes": {"b64": ""}}, '
            )
