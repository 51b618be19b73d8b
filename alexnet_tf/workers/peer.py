"""A connection to another worker that carries JSON objects, one a line; `watch` is built on it."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

LONGEST_MESSAGE = 1 << 20
"""Bytes; a config has a few thousand."""


class Peer:
    """A connection, and the time at which something last arrived over it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.heard = time.monotonic()
        self.closed = False
        self.name = "somebody who is gone"
        """Its address."""
        with contextlib.suppress(OSError):
            self.name = str(connection.getpeername()[0])
        self._unread = b""

    def send(self, **message: Any) -> None:
        """Sends a message; that the other end is gone is noticed when reading."""
        with contextlib.suppress(OSError):
            self.connection.settimeout(1.0)
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Iterator[dict[str, Any]]:
        """The messages that have arrived."""
        try:
            self.connection.setblocking(False)
            chunk = self.connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self.closed = not chunk or len(self._unread) > LONGEST_MESSAGE
        self.heard = time.monotonic()
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError, MemoryError):  # no JSON, or brackets without end
                message = None
            if isinstance(message, dict):
                yield message
            else:  # not one of our workers
                self.close()
                return

    def wait_for_close(self, until: float) -> None:
        """Reads until the other end has closed; closing first could destroy what it has not read yet."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (left := until - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(1 << 16):
                    break
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self.closed = True
        self.connection.close()
