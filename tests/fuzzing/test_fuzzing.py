"""Drawn picture files and requests: whatever comes is answered in words, in little time and memory; nothing fails."""

import asyncio
import contextlib
import http.client
import json
import logging
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
import tensorflow as tf

from alexnet_tf.local_server.options import ServerOptions
from alexnet_tf.local_server.served_model import ServedModel
from alexnet_tf.local_server.server import serve, service_of
from alexnet_tf.program.errors import UserError
from alexnet_tf.serving.exported_model import ExportedModel
from tests.alexnet_tf.serving.conftest import export_of, program, quick_models  # noqa: F401
from tests.alexnet_tf.serving.exported_models import Exported
from tests.fuzzing.picture_recipes import RECIPES, Recipe
from tests.fuzzing.request_recipes import CALLS, RAW_REQUESTS, REST_REQUESTS, Call, RawRequest, RestRequest
from tests.fuzzing.rounds import bounded, run_rounds
from tfrecords.pictures import UnreadablePicture, load_picture

PICTURE_SECONDS, PICTURE_MEGABYTES = 8, 1200
"""For the largest picture that is allowed, on a slow machine. Most take a thousandth."""
REQUEST_SECONDS, REQUEST_MEGABYTES = 10, 1200
HTTP_STATUSES = {200, 400, 403, 404, 405, 408, 413, 429, 501, 503}
GRPC_STATUSES = {
    "OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "UNAVAILABLE",
}  # fmt: skip


class TestPictures:
    def test_converter(self) -> None:
        def check(recipe: Recipe) -> None:
            file = recipe.made()
            with bounded(PICTURE_SECONDS, PICTURE_MEGABYTES):
                try:
                    picture = load_picture(file, 256)
                except UnreadablePicture as fault:
                    assert_one_line(str(fault))
                else:
                    assert picture is not None

        run_rounds(RECIPES, check)

    def test_exported_model(self, program: Exported) -> None:  # noqa: F811
        """With a sound picture in the same batch, which none may disturb."""
        view = program.signature("view")
        sound = Recipe("jpeg", None, [], False).made()
        expected = view(image_bytes=tf.constant([sound]))["png_bytes"].numpy()[0]

        def check(recipe: Recipe) -> None:
            with bounded(PICTURE_SECONDS, PICTURE_MEGABYTES):
                answer = view(image_bytes=tf.constant([recipe.made(), sound]))
            (status, good), (png, others) = answer["status"].numpy(), answer["png_bytes"].numpy()
            assert_one_line(status.decode())
            assert (status == b"ok") == png.startswith(b"\x89PNG") and (status == b"ok" or not png)
            assert good == b"ok" and others == expected

        run_rounds(RECIPES, check)

    def test_predict(self, program: Exported, tmp_path: Path) -> None:  # noqa: F811
        model = ExportedModel(program.models)
        path = tmp_path / "drawn.jpg"

        def check(recipe: Recipe) -> None:
            path.write_bytes(recipe.made())
            with bounded(PICTURE_SECONDS, PICTURE_MEGABYTES):
                try:
                    probabilities = model.classify(path)
                except UserError as fault:
                    assert_one_line(str(fault))
                    assert str(path) in str(fault)
                else:
                    assert abs(probabilities.sum() - 1) < 1e-4

        run_rounds(RECIPES, check)


def assert_one_line(text: str) -> None:
    assert text and text.isprintable() and len(text) < 500, text
    # TensorFlow's, Python's and Pillow's own words.
    assert not any(word in text for word in ("Error", "{{", "decoder", "b'", "literal", "NoneType")), text


class Here(NamedTuple):
    """A server in this process."""

    rest: str
    grpc: str
    reports: list[str]
    """Lines that it told since it listens."""


@pytest.fixture(scope="module")
def here(quick_models: Path) -> Iterator[Here]:  # noqa: F811
    options = ServerOptions(grpc_port=0, max_body=1, max_memory=400, patience=3, grace=2)
    model = ServedModel("alexnet", quick_models)
    listener = socket.create_server(("127.0.0.1", 0))
    last = threading.Timer(0, lambda: None)  # the command's ends its process
    told: list[str] = []
    listens = threading.Event()
    stop: list = []

    def report(line: str) -> None:
        told.append(line)
        listens.set()

    async def run() -> None:
        service = service_of(model, options, report)
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(service.stopping.set))
        await serve(service, listener, options, last, report)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert listens.wait(60)
    grpc_port = told.pop().rpartition(" (gRPC)")[0].rpartition(":")[2]
    log, told_there = logging.getLogger("uvicorn.error"), logging.Handler()  # such as a traceback
    told_there.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(told_there)
    yield Here(f"127.0.0.1:{listener.getsockname()[1]}", f"127.0.0.1:{grpc_port}", told)
    log.removeHandler(told_there)
    stop[0]()
    thread.join(60)
    assert not thread.is_alive()
    assert told == ["stopping: open requests are finished first"]


class TestRequests:
    def test_rest(self, here: Here) -> None:
        def check(drawn: RestRequest) -> None:
            connection = http.client.HTTPConnection(here.rest, timeout=60)
            with bounded(REQUEST_SECONDS, REQUEST_MEGABYTES):
                connection.request(drawn.method, drawn.path, drawn.body(), {"Content-Encoding": drawn.encoding})
                response = connection.getresponse()
                content = response.read()
            connection.close()
            assert response.status in HTTP_STATUSES, (response.status, content)
            if drawn.path.startswith("/v1/") and drawn.method != "HEAD" and response.status != 405:
                answer = json.loads(content.decode())
                assert response.status == 200 or (list(answer) == ["error"] and answer["error"]), answer
            assert not here.reports

        run_rounds(REST_REQUESTS, check)

    def test_raw_http(self, here: Here) -> None:
        host, _, port = here.rest.rpartition(":")

        def check(drawn: RawRequest) -> None:
            answer = b""
            with socket.create_connection((host, int(port)), timeout=60) as opened:
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # it may not read what makes no sense
                    opened.sendall(drawn.made())
                with contextlib.suppress(OSError):
                    opened.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while piece := opened.recv(65_536):
                        answer += piece
            statuses = [int(one) for one in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer)]  # 100: go on with the body
            assert not answer or (answer.startswith(b"HTTP/1.1 ") and set(statuses) <= {100, *HTTP_STATUSES}), answer
            assert not here.reports

        run_rounds(RAW_REQUESTS, check)

    def test_grpc(self, here: Here) -> None:
        with grpc.insecure_channel(here.grpc) as channel:

            def check(drawn: Call) -> None:
                with bounded(REQUEST_SECONDS, REQUEST_MEGABYTES):
                    try:
                        channel.unary_unary(f"/{drawn.method}")(drawn.data(), timeout=60)
                        status = "OK"
                    except grpc.RpcError as fault:
                        status = fault.code().name
                        assert fault.details()
                assert status in GRPC_STATUSES, status
                assert not here.reports

            run_rounds(CALLS, check)
