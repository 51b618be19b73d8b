"""Connections that bring no request or read no answer are closed, so that they cannot keep others out.

uvicorn has a limit of time between requests (`timeout_keep_alive`), and none for the first request and for a header
that does not end; its limit on connections counts silent ones and turns everybody else away.
"""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from alexnet_tf.local_server.service import SLOWEST

PER_REQUEST = 8
"""Times as many connections as requests each protocol may have."""
OTHER_FILES = 200
"""Files that the server itself has open at most: the model's, standard streams, pipes within TensorFlow and gRPC."""


def most_connections(max_requests: int) -> int:
    """How many connections each of the two protocols may have, so that neither takes all open files from the other.

    The limit on open files is raised as far as this process may, for shells often give 1024 where 20,000 are allowed.
    """
    wanted = PER_REQUEST * max_requests
    try:
        import resource  # not on Windows, where sockets are no files
    except ImportError:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(min(wanted, (soft - OTHER_FILES) // 2), 1)


class TimedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 connection, closed when it has brought no whole header for `patience` seconds.

    Likewise when its client does not read the answer, or more slowly than SLOWEST.

    Beyond `max_connections` the one that has waited longest without a request makes room for a new one.
    """

    patience: float
    max_connections: int

    @classmethod
    def limited(cls, patience: float, max_connections: int) -> type["TimedProtocol"]:
        """The class with its limits, for uvicorn makes the connections itself."""
        return type("LimitedProtocol", (cls,), {"patience": patience, "max_connections": max_connections})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._writing = self.loop.call_later(0, lambda: None)
        self._wait_for_header()
        if len(self.connections) > self.max_connections:
            silent = [one for one in self.connections if isinstance(one, TimedProtocol) and not one._is_answering()]
            min(silent, key=lambda one: one.silent_since, default=self)._give_up()

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        super().data_received(data)
        if self._is_answering():
            self._timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP. A request before it that is still being answered gets this for its answer.

        Its own would be one too many: without the mark, uvicorn writes a traceback into the log.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """The connection is free for another request."""
        self._wait_for_header()
        super().on_response_complete()  # may find the next one already here
        if self._is_answering():
            self._timer.cancel()

    def pause_writing(self) -> None:
        """The client reads more slowly than the server writes."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._writing.cancel()
        self._writing = self.loop.call_later(self.patience, self._check_reader)

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        self._writing.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._timer.cancel()
        self._writing.cancel()
        super().connection_lost(exc)

    def _check_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < SLOWEST * self.patience:
            self._give_up()
        else:
            self._unread = unread
            self._writing = self.loop.call_later(self.patience, self._check_reader)

    def _wait_for_header(self) -> None:
        self.silent_since = time.monotonic()
        self._timer = self.loop.call_later(self.patience, self._give_up)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _give_up(self, *_: Any) -> None:
        self.transport.abort()
