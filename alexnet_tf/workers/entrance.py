"""Where the first worker lets the others in: a port at which anybody may knock. No TensorFlow here.

Whatever a stranger sends, or does not send, costs the stranger its connection and nobody else anything.
"""

import contextlib
import errno
import os
import selectors
import socket
import time
from typing import Any, NamedTuple

from alexnet_tf.program.errors import FAULT, UserError
from alexnet_tf.settings.cluster import Cluster
from alexnet_tf.workers.peer import Peer

MOST_STRANGERS = 64
"""Connections whose other end has not said yet who it is, beside those of the workers; beyond, the oldest is closed."""
ONCE = "start each worker once, with an index of its own"


class Introduced(NamedTuple):
    """A worker that has come."""

    worker: int
    config: dict[str, Any]
    peer: Peer


class Entrance:
    """An open port, and those who have knocked and not said yet who they are.

    Args:
      cluster: who is expected.
      config: this worker's, as JSON has it.
      port: the port.
      selector: is told of the listener with None, of a stranger with its Peer.
    """

    def __init__(
        self, cluster: Cluster, config: dict[str, Any], port: int, selector: selectors.BaseSelector
    ) -> None:  # fmt: skip
        self.cluster = cluster
        self.config = config
        self.selector = selector
        self.strangers: list[Peer] = []
        self.refused: dict[int, str] = {}
        """Whom those said to be who were not let in, and why they were not."""
        try:
            self.listener = _listen(port, MOST_STRANGERS + cluster.size)
        except OSError as fault:
            raise UserError(
                f"distribute.watch_port: port {port} cannot be opened ({os.strerror(fault.errno or 0)}); name a free "
                "one"
            ) from fault
        self.listener.setblocking(False)
        selector.register(self.listener, selectors.EVENT_READ)

    def accept(self) -> None:
        """Lets the next in line knock."""
        try:
            connection, _ = self.listener.accept()
        except OSError:  # gone again; or this process has too many files open
            if self.strangers:
                self._drop(self.strangers[0])
            else:
                time.sleep(0.1)  # it would be offered again at once
            return
        stranger = Peer(connection)
        self.strangers.append(stranger)
        self.selector.register(connection, selectors.EVENT_READ, stranger)
        if len(self.strangers) > MOST_STRANGERS + self.cluster.size:
            self._drop(self.strangers[0])

    def hear(self, stranger: Peer, present: set[int]) -> Introduced | None:
        """Takes in what a stranger has sent; the worker that it is, if it says so and is not `present` yet."""
        try:
            introduced = self._introduced(stranger, present)
        except Exception:  # of whatever kind: it came of a stranger's bytes
            introduced = None
            stranger.close()
        if introduced is not None:
            self.selector.modify(stranger.connection, selectors.EVENT_READ, introduced.worker)
            self.strangers.remove(stranger)
        elif stranger.closed:
            self._drop(stranger)
        return introduced

    def close(self) -> None:
        """Lets nobody in any more."""
        self.selector.unregister(self.listener)
        self.listener.close()
        for stranger in list(self.strangers):
            self._drop(stranger)

    def _introduced(self, stranger: Peer, present: set[int]) -> Introduced | None:
        for message in stranger.receive():
            index, config = message.get("worker"), message.get("config")
            if not (type(index) is int and 0 < index < self.cluster.size and isinstance(config, dict)):
                stranger.close()
            elif index in present:
                stranger.send(end=f"error: {self.cluster.name(index)} is already there; {ONCE}", status=FAULT)
            elif not self._has_all_fields(config):
                self.refused[index] = (
                    f"{stranger.name} said to be {self.cluster.name(index)}, with a config of other fields than this "
                    "one's: another version of this program, or none of the workers"
                )
                stranger.send(end=f"error: {self.refused[index]}; start all with the same version", status=FAULT)
            else:
                return Introduced(index, config, stranger)
        return None

    def _has_all_fields(self, config: dict[str, Any]) -> bool:
        return config.keys() == self.config.keys() and all(
            isinstance(fields, dict) and fields.keys() == self.config[section].keys()
            for section, fields in config.items()
        )

    def _drop(self, stranger: Peer) -> None:
        self.strangers.remove(stranger)
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(stranger.connection)
        stranger.close()


def _listen(port: int, backlog: int) -> socket.socket:
    """On all of this machine's addresses, of both kinds: the others may know it by another one than it does itself.

    So the first worker needs not even know its own name's address, which a name server may not have yet.
    """
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True)
    except (OSError, ValueError) as fault:
        if isinstance(fault, OSError) and fault.errno in (errno.EADDRINUSE, errno.EACCES):
            raise
    return socket.create_server(("", port), backlog=backlog)  # this machine has no IPv6
