"""A REST request's body: it comes in time, within its size, and is uncompressed within its memory."""

import asyncio
import functools
import time
import zlib

from starlette.requests import ClientDisconnect, Request

from alexnet_tf.local_server.memory import Share
from alexnet_tf.local_server.request_error import invalid
from alexnet_tf.local_server.service import SLOWEST, Service
from alexnet_tf.program.inflation import INFLATED, inflated

DRAINED = 8
"""Times the largest body, how much of a larger one is read before the connection is cut."""
GZIP = 16 + zlib.MAX_WBITS
"""What zlib calls the format."""


async def read_body(service: Service, request: Request, share: Share) -> bytes | None:
    """The request's body, uncompressed where it came as gzip; None where it is larger than allowed.

    Args:
      service: its limits.
      request: its headers have come.
      share: the memory that the request holds; it grows with the body.

    Raises:
      RequestError: the body does not come in time, there is no room for it, it is no gzip, or the server stops.
      ClientDisconnect: it does not come at all.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise invalid(f"Content-Encoding {encoding} is not understood; send the body as it is, or as gzip")
    body = await _received(service, request, share)
    if body is None or encoding == "identity":
        return body
    return await asyncio.to_thread(_inflated, body, service.max_bytes, share)


async def _received(service: Service, request: Request, share: Share) -> bytes | None:
    """What comes over the wire.

    What is too large is read on for a while and thrown away: a client that is still sending would not see the answer.
    """
    body = bytearray()
    size = 0
    start = time.monotonic()
    more = True
    while more:
        deadline = start + service.patience + size / SLOWEST
        message = await service.received(request.receive(), functools.partial(float, deadline))
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        size += len(message.get("body", b""))
        if size > service.max_bytes:
            body.clear()
            if size > DRAINED * service.max_bytes:
                break
        else:
            share.raise_to(2 * size)  # for a moment as it grows, and then as bytes
            body += message.get("body", b"")
    return bytes(body) if size <= service.max_bytes else None


def _inflated(body: bytes, most: int, share: Share) -> bytes | None:
    """A gzip body uncompressed; None where that has more than `most` bytes. Each piece's memory is taken beforehand."""
    stream = zlib.decompressobj(GZIP)
    found = bytearray()
    share.raise_to(len(body) + 2 * INFLATED)
    try:
        for piece in inflated([body], stream):
            found += piece
            if len(found) > most:
                return None
            share.raise_to(len(body) + 2 * (len(found) + INFLATED))  # for a moment as it grows, and then as bytes
    except zlib.error as fault:
        raise invalid("the body is no gzip, as its Content-Encoding says, or it is damaged") from fault
    if not stream.eof:
        raise invalid("the body's gzip ends too early")
    if stream.unused_data:
        raise invalid("the body goes on behind the end of its gzip")
    return bytes(found)
