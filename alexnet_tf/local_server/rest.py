"""TensorFlow Serving's REST interface, and a page to try the model on, as an ASGI application.

Paths, bodies and errors are those of TensorFlow Serving's "RESTful API" page, less version labels and regress.
"""

import asyncio
import contextlib
import ipaddress
import json
import re
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from alexnet_tf.local_server.bodies import read_body
from alexnet_tf.local_server.memory import Share, json_needs
from alexnet_tf.local_server.metrics import METRICS_PATH, Ending
from alexnet_tf.local_server.page_routes import page_routes
from alexnet_tf.local_server.request_error import HTTP_STATUS, LONGEST, RequestError, invalid, stopping
from alexnet_tf.local_server.served_model import DEFAULT_SIGNATURE, LoadedVersion
from alexnet_tf.local_server.service import Service
from alexnet_tf.local_server.tensors import (
    examples_from_json,
    inputs_from_json,
    outputs_to_json,
    parse_json,
    pictures_in,
    shortest,
)

CALL = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]+))?:(predict|classify)", re.IGNORECASE)
STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]+))?(/metadata)?", re.IGNORECASE)
PIECE = 250_000
"""Bytes of an answer that are sent at once."""
KINDS = {status: kind for kind, status in reversed(HTTP_STATUS.items())}
KINDS |= {200: "OK", 413: "RESOURCE_EXHAUSTED", 499: "CANCELLED"}
"""By HTTP status: the names that metrics give them."""
MAX_DIGITS = 18
"""Of a version: as many always fit into the 64 bits that versions have."""


def rest_app(service: Service, report: Callable[[str], None], hosts: Collection[str]) -> Starlette:
    """The application. Every fault becomes {"error": ...} with TensorFlow Serving's HTTP status."""

    async def metrics(request: Request) -> Response:
        return Response(service.metrics_page(), media_type=CONTENT_TYPE_LATEST)

    async def unknown(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, HTTPException)  # no route, or none of this method
        return _error(fault.status_code, f"{fault.detail}: {request.method} {request.scope['path']}"[:LONGEST])

    app = Starlette(
        routes=[
            *page_routes(service),
            Route(METRICS_PATH, metrics, methods=["GET"]),
            Route("/{path:path}", Models(service, report), methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
        ],
        middleware=[Middleware(HostCheck, hosts=hosts)],
        exception_handlers={HTTPException: unknown},
    )
    app.router.redirect_slashes = False  # a request for no path at all would be sent to whatever its Host header names
    return app


class Models:
    """What lies under /v1: a request's memory is its own until its answer is sent."""

    def __init__(self, service: Service, report: Callable[[str], None]) -> None:
        self.service = service
        self.report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        with self.service.budget.share() as share:
            with self.service.metrics.request("REST") as ending:
                response = await self._response(Request(scope, receive), share, ending)
                ending.status = KINDS.get(response.status_code, "UNKNOWN")
            with contextlib.suppress(asyncio.CancelledError):  # the client does not read it, and the server ends
                await response(scope, receive, send)

    async def _response(self, request: Request, share: Share, ending: Ending) -> Response:
        try:
            return await _answer(self.service, request, share, ending)
        except RequestError as fault:
            # Nobody waits for the rest of a request that is given up.
            unread = fault.kind == "DEADLINE_EXCEEDED" or self.service.stopping.is_set()
            return _error(fault.http_status, str(fault), close=unread)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except asyncio.CancelledError:  # by the server, whose time to finish is over
            return _error(503, str(stopping()), close=True)
        except Exception as fault:
            self.report(f"warning: a request failed: {type(fault).__name__}: {fault}")
            return _error(500, "the server failed on this request; its log says how")


class PacedResponse(Response):
    """Sent in pieces, each once the one before is on its way: a client that does not read gets no more of them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, max(len(self.body), 1), PIECE):
            piece = bytes(self.body[start : start + PIECE])
            more = start + PIECE < len(self.body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})


class HostCheck:
    """Refuses requests that were sent to another name than this server's.

    A page from elsewhere can let its own name point to 127.0.0.1 once it is open (DNS rebinding); to the browser this
    server is then the page's own, whose answers it may read. An address in place of a name cannot be used for that.
    Starlette's TrustedHostMiddleware takes no addresses as such and says nothing of what to do.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with 403, or lets the application answer."""
        names = [value.decode("latin-1") for key, value in scope.get("headers", []) if key == b"host"]
        others = [name for name in names if not self._is_ours(name)]
        if not others:
            await self.app(scope, receive, send)
        else:
            name = others[0] or "a server without a name"
            message = f"this server is not known as {name}; start it with --allow-host NAME if it should be"
            await _error(403, message[:LONGEST])(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name = re.sub(r":[0-9]*$", "", host).lower().rstrip(".")
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in self.hosts or "*" in self.hosts
        return True


async def _answer(service: Service, request: Request, share: Share, ending: Ending) -> Response:
    path = request.scope["path"]
    if request.method == "POST" and (call := CALL.fullmatch(path)):
        name, number, method = call.groups()
        ending.method = method.lower()
        version = service.model.version(name, _number(number))
        ending.model = name
        body = await read_body(service, request, share)
        if body is None:
            return _error(413, f"the body is larger than {service.max_bytes} bytes")
        with service.counted():
            return await _unless_left(request, _work(service, version, ending.method, body, share))
    if request.method == "GET" and (status := STATUS.fullmatch(path)):
        name, number, metadata = status.groups()
        ending.method = "metadata" if metadata else "status"
        if metadata:
            return JSONResponse(_metadata(service.model.version(name, _number(number)), name))
        return JSONResponse(_status(service, name, _number(number)))
    if not path.startswith("/v1/"):
        return _error(404, f"Not Found: {path}")
    raise invalid(f"Malformed request: {request.method} {path}")


async def _work(service: Service, version: LoadedVersion, method: str, body: bytes, share: Share) -> Response:
    share.raise_to(json_needs(body))
    document = await asyncio.to_thread(parse_json, body)
    service.batcher.check_share(pictures_in(document))
    content = await (_predict if method == "predict" else _classify)(service, version, document, share)
    return PacedResponse(await asyncio.to_thread(_dumps, content), media_type="application/json")


async def _unless_left(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """The work's answer; as soon as the client leaves, the work is given up.

    Raises:
      ClientDisconnect: it has left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())  # the body is here, so nothing but the end can come
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _predict(service: Service, version: LoadedVersion, document: dict[str, Any], share: Share) -> dict[str, Any]:
    name = _signature_name(document)
    inputs, rows = await asyncio.to_thread(inputs_from_json, document, version.signature(name))
    return await asyncio.to_thread(outputs_to_json, await service.predict(version, name, inputs, share), rows)


async def _classify(service: Service, version: LoadedVersion, document: dict[str, Any], share: Share) -> dict[str, Any]:
    examples = await asyncio.to_thread(examples_from_json, document, share)
    labels, scores = await service.classify(version, _signature_name(document), examples, share)
    return {
        "results": [
            [[label.decode(errors="replace"), score] for label, score in zip(*row, strict=True)]
            for row in zip(labels, shortest(scores).tolist(), strict=True)
        ]
    }


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value")
    return name or DEFAULT_SIGNATURE


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.lstrip("0") or "0"  # Python reads no number of thousands of digits, zeros or not
    if len(digits) > MAX_DIGITS:
        raise invalid(f"no version has a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _status(service: Service, name: str, number: int | None) -> dict[str, Any]:
    status = service.model.status(name, number)
    return {
        "model_version_status": [
            {
                "version": str(one.version),
                "state": one.State.Name(one.state),
                "status": {
                    "error_code": "UNKNOWN" if one.status.error_code else "OK",
                    "error_message": one.status.error_message,
                },
            }
            for one in status.model_version_status
        ]
    }


def _metadata(version: LoadedVersion, name: str) -> dict[str, Any]:
    def tensor(info: meta_graph_pb2.TensorInfo) -> dict[str, Any]:
        dims = [{"size": str(dim.size), "name": dim.name} for dim in info.tensor_shape.dim]
        shape = {"dim": dims, "unknown_rank": info.tensor_shape.unknown_rank}
        return {"dtype": types_pb2.DataType.Name(info.dtype), "tensor_shape": shape, "name": info.name}

    signatures = {
        key: {
            "inputs": {one: tensor(info) for one, info in signature.inputs.items()},
            "outputs": {one: tensor(info) for one, info in signature.outputs.items()},
            "method_name": signature.method_name,
        }
        for key, signature in version.signatures.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version.number)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _dumps(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _error(status: int, message: str, *, close: bool = False) -> Response:
    return JSONResponse({"error": message}, status_code=status, headers={"Connection": "close"} if close else None)
