"""TensorFlow Serving's REST interface, and a page to try the model on, as an ASGI application.

Paths, bodies and errors are those of TensorFlow Serving's "RESTful API" page, less version labels and regress.
"""

import asyncio
import html
import json
import re
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from alexnet_tf.local_server.request_error import RequestError
from alexnet_tf.local_server.served_model import DEFAULT_SIGNATURE, LoadedVersion
from alexnet_tf.local_server.service import Service
from alexnet_tf.local_server.tensors import (
    examples_from_json,
    inputs_from_json,
    invalid,
    outputs_to_json,
    parse_json,
)

PAGE = Path(__file__).with_name("page.html")
# Nothing but itself and its own server: no script, font or picture from elsewhere.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
)
DRAINED = 8
"""Times the largest body, how much of a larger one is read before the connection is cut."""
CALL = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:(predict|classify)", re.IGNORECASE)
STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?", re.IGNORECASE)


def rest_app(service: Service) -> Starlette:
    """The application. Every fault becomes {"error": ...} with TensorFlow Serving's HTTP status."""

    async def page(request: Request) -> Response:
        text = PAGE.read_text(encoding="utf-8").replace("@MODEL@", html.escape(service.model.name))
        return HTMLResponse(text, headers={"Content-Security-Policy": PAGE_POLICY})

    async def models(request: Request) -> Response:
        try:
            return await _answer(service, request)
        except RequestError as fault:
            return _error(fault.http_status, str(fault))
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it

    return Starlette(
        routes=[
            Route("/", page, methods=["GET"]),
            Route("/{path:path}", models, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
        ]
    )


async def _answer(service: Service, request: Request) -> Response:
    path = request.scope["path"]
    if request.method == "POST" and (call := CALL.fullmatch(path)):
        body = await _body(request, service.max_bytes)
        if body is None:
            return _error(413, f"the body is larger than {service.max_bytes} bytes")
        name, number, method = call.groups()
        version = service.model.version(name, _number(number))
        document = await asyncio.to_thread(parse_json, body)
        content = await (_predict if method.lower() == "predict" else _classify)(service, version, document)
        return Response(await asyncio.to_thread(_dumps, content), media_type="application/json")
    if request.method == "GET" and (status := STATUS.fullmatch(path)):
        name, number, metadata = status.groups()
        if metadata:
            return JSONResponse(_metadata(service.model.version(name, _number(number)), name))
        return JSONResponse(_status(service, name, _number(number)))
    if not path.startswith("/v1/"):
        return _error(404, f"Not Found: {path}")
    raise invalid(f"Malformed request: {request.method} {path}")


async def _predict(service: Service, version: LoadedVersion, document: dict[str, Any]) -> dict[str, Any]:
    name = _signature_name(document)
    inputs, rows = await asyncio.to_thread(inputs_from_json, document, version.signature(name))
    return await asyncio.to_thread(outputs_to_json, await service.predict(version, name, inputs), rows)


async def _classify(service: Service, version: LoadedVersion, document: dict[str, Any]) -> dict[str, Any]:
    examples = await asyncio.to_thread(examples_from_json, document)
    labels, scores = await service.classify(version, _signature_name(document), examples)
    return {
        "results": [
            [[label.decode(errors="replace"), float(score)] for label, score in zip(*row, strict=True)]
            for row in zip(labels, scores, strict=True)
        ]
    }


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value")
    return name or DEFAULT_SIGNATURE


async def _body(request: Request, limit: int) -> bytes | None:
    """The request's body; None where it is larger than allowed.

    Such a body is read on for a while and thrown away: a client that is still sending would not see the answer.
    """
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            body.clear()
            if size > DRAINED * limit:
                break
        else:
            body += chunk
    return bytes(body) if size <= limit else None


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


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


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status_code=status)
