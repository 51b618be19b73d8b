"""The port of the first worker's watch: anybody may connect, only workers are admitted. No TensorFlow here.

Whatever else connects, and whatever it sends or does not send, loses its own connection and does no other harm.
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

MOST_UNKNOWN = 64
"""Connections that have not said yet which worker they are, beside one for each worker; of more, the oldest goes."""
ONCE = "start each worker once, with an index of its own"


class Admitted(NamedTuple):
    """A worker that has connected and said which one it is."""

    worker: int
    config: dict[str, Any]
    peer: Peer


class Admission:
    """An open port, and the connections that have not said yet which worker they are.

    Args:
      cluster: the workers that are expected.
      config: this worker's, as JSON.
      port: the port.
      selector: the listening socket is registered with it, with data None, and each new connection with its Peer.
    """

    def __init__(
        self, cluster: Cluster, config: dict[str, Any], port: int, selector: selectors.BaseSelector
    ) -> None:  # fmt: skip
        self.cluster = cluster
        self.config = config
        self.selector = selector
        self.unknown: list[Peer] = []
        self.refused: dict[int, str] = {}
        """By worker: why a connection that claimed to be this worker was refused."""
        try:
            self.listener = _listen(port, MOST_UNKNOWN + cluster.size)
        except OSError as fault:
            raise UserError(
                f"distribute.watch_port: port {port} cannot be opened ({os.strerror(fault.errno or 0)}); name a free "
                "one"
            ) from fault
        self.listener.setblocking(False)
        selector.register(self.listener, selectors.EVENT_READ)

    def accept(self) -> None:
        """Accepts the next connection."""
        try:
            connection, _ = self.listener.accept()
        except OSError:  # it is closed already, or this process has too many open files
            if self.unknown:
                self._drop(self.unknown[0])
            else:
                time.sleep(0.1)  # select would return at once
            return
        peer = Peer(connection)
        self.unknown.append(peer)
        self.selector.register(connection, selectors.EVENT_READ, peer)
        if len(self.unknown) > MOST_UNKNOWN + self.cluster.size:
            self._drop(self.unknown[0])

    def read(self, peer: Peer, present: set[int]) -> Admitted | None:
        """Reads what an unknown connection has sent; returns the worker that it is, if that is not `present` yet."""
        try:
            admitted = self._admitted(peer, present)
        except Exception:  # whatever it is, bytes from outside have caused it
            admitted = None
            peer.close()
        if admitted is not None:
            self.selector.modify(peer.connection, selectors.EVENT_READ, admitted.worker)
            self.unknown.remove(peer)
        elif peer.closed:
            self._drop(peer)
        return admitted

    def close(self) -> None:
        """Closes the port and all connections that are still unknown."""
        self.selector.unregister(self.listener)
        self.listener.close()
        for peer in list(self.unknown):
            self._drop(peer)

    def _admitted(self, peer: Peer, present: set[int]) -> Admitted | None:
        for message in peer.receive():
            index, config = message.get("worker"), message.get("config")
            if not (type(index) is int and 0 < index < self.cluster.size and isinstance(config, dict)):
                peer.close()
            elif index in present:
                peer.send(end=f"error: {self.cluster.name(index)} is already there; {ONCE}", status=FAULT)
            elif not self._has_all_fields(config):
                self.refused[index] = (
                    f"{peer.name} said to be {self.cluster.name(index)}, with a config of other fields than this "
                    "one's: another version of this program, or none of the workers"
                )
                peer.send(end=f"error: {self.refused[index]}; start all with the same version", status=FAULT)
            else:
                return Admitted(index, config, peer)
        return None

    def _has_all_fields(self, config: dict[str, Any]) -> bool:
        """Whether it is a config of this version; what `model` holds beside the preset is up to the preset."""
        return config.keys() == self.config.keys() and all(
            isinstance(fields, dict) and (fields.keys() == self.config[section].keys() or section == "model")
            for section, fields in config.items()
        )

    def _drop(self, peer: Peer) -> None:
        self.unknown.remove(peer)
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(peer.connection)
        peer.close()


def _listen(port: int, backlog: int) -> socket.socket:
    """Listens on all addresses of this machine, IPv4 and IPv6: other workers may know it by any of them.

    So the first worker need not resolve its own name, which a name server may not know yet.
    """
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True)
    except (OSError, ValueError) as fault:
        if isinstance(fault, OSError) and fault.errno in (errno.EADDRINUSE, errno.EACCES):
            raise
    return socket.create_server(("", port), backlog=backlog)  # this machine has no IPv6
