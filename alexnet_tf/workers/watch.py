"""Workers keep watch over each other: one that is lost ends all others within distribute.timeout, and is named.

TensorFlow's collective operations wait forever for a frozen worker, and report a killed one in terms of sockets. Here a
thread of every worker talks to the first worker over a connection of its own, a line of JSON at a time:

    {"worker": 2, "config": {...}}       to the first worker: I have connected, with this config
    {"beat": [...]}                      both ways: heartbeat, and what my main thread does (activity.Report)
    {"end": "why", "status": 75}         both ways: the work of all has ended
    {"done": 1}                          to the first worker: my work is complete

It is meant for a private network, as are TensorFlow's own connections. No TensorFlow here, so that a worker that does
not connect is reported before TensorFlow is loaded.
"""

import contextlib
import os
import selectors
import socket
import threading
import time
from types import TracebackType
from typing import Any

from alexnet_tf import LOG_LEVEL
from alexnet_tf.program.activity import ACTIVITY, Report
from alexnet_tf.program.errors import FAULT, STOPPED_AFTER_SAVING, StoppedBySignal, UserError, WorkerLost
from alexnet_tf.program.stop_signals import StoppedAtOnce
from alexnet_tf.settings.cluster import ALONE, Cluster, host_of, watch_port
from alexnet_tf.settings.config import Config, by_name, in_force
from alexnet_tf.workers.admission import Admission
from alexnet_tf.workers.ending import AGAIN, Ended, as_exception, check_activity, end_process, lost
from alexnet_tf.workers.peer import Peer

SILENCE = 0.75
"""Share of distribute.timeout after which a silent worker is lost. The rest is for informing the others."""
LEAVE_SECONDS = 2.0
"""Time in which a worker may end by itself after another's fault, for it often has the same fault."""
LONGEST_SHOWN = 200
"""Characters of another's value in a message."""
OWN_TO_A_WORKER = {
    "data.dir", "data.statistics", "train.init_from", "devices.towers", "devices.threads",
    "distribute.workers", "distribute.index",
}  # fmt: skip
"""Fields in which workers may differ: paths, devices, and names by which machines see each other."""


def keep_watch(cluster: Cluster, config: Config) -> contextlib.AbstractContextManager[Any]:
    """A context in which all workers of a cluster are connected; of a single process, a context that does nothing.

    On entering, it waits until all have connected. If one is lost later, this process ends: one line, status 75.

    Raises:
      WorkerLost: on entering, a worker did not connect.
      UserError: on entering, the workers' configs differ, or the port for the watch is taken.
    """
    if cluster is ALONE:
        return contextlib.nullcontext()
    if os.environ[LOG_LEVEL] == "2":
        os.environ[LOG_LEVEL] = "3"  # TensorFlow logs a lost worker as an error, in terms of sockets
    return FirstWorkersWatch(cluster, config) if cluster.index == 0 else OtherWorkersWatch(cluster, config)


class Watch:
    """One worker's part in the watch: `_poll` is called over and over, in a thread once all have connected."""

    def __init__(self, cluster: Cluster, config: Config) -> None:
        self.cluster = cluster
        self.config = config.model_dump(mode="json")
        self.timeout = config.distribute.timeout
        self.limit = SILENCE * self.timeout
        self.beat = min(1.0, self.timeout / 20)
        self.beat_at = 0.0
        self.stall_timeout = config.distribute.stall_timeout
        self.address = host_of(cluster.workers[0]), watch_port(cluster.workers, config.distribute)
        self.own_activity = ACTIVITY.look()
        self.peers: dict[int, Peer] = {}
        """Connections by the worker at the other end."""
        self.leaving = threading.Event()
        """This worker's work has ended, well or not."""
        self.ended = threading.Event()
        """It is known that another worker has ended the work."""
        self.thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        try:
            self._gather()
        except WorkerLost as lost:
            self._announce_end(str(lost), STOPPED_AFTER_SAVING)
            raise
        except StoppedAtOnce as stopped:
            self._announce_end(f"{self._own_name} was {stopped}", STOPPED_AFTER_SAVING)
            raise
        except UserError as fault:
            self._announce_end(f"error: {fault}", FAULT)
            raise
        ACTIVITY.reach("the arrival of all workers")
        self.own_activity = ACTIVITY.look()
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        own = fault is None or isinstance(fault, UserError | StoppedBySignal | WorkerLost)
        if not own and self.ended.wait(LEAVE_SECONDS):
            # TensorFlow complains about a broken connection: the thread knows why, and is about to end this process.
            self.thread.join()
        self.leaving.set()
        self.thread.join()
        if isinstance(fault, StoppedAtOnce):
            self._announce_end(f"{self._own_name} was {fault}", STOPPED_AFTER_SAVING)
        elif isinstance(fault, WorkerLost):
            self._announce_end(str(fault), STOPPED_AFTER_SAVING)
        elif fault is None or isinstance(fault, StoppedBySignal):
            self._leave()
        else:
            reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
            status = STOPPED_AFTER_SAVING if isinstance(fault, KeyboardInterrupt) else FAULT
            self._announce_end(f"error: {self._own_name} failed: {reason}", status)

    def _watch(self) -> None:
        try:
            while not self.leaving.is_set():
                self._poll()
                self._check_activity()
        except Ended as end:
            self._end(end)
        except Exception as fault:  # without the watch, the work could wait forever
            reason = str(fault) or type(fault).__name__
            self._end(Ended(f"error: {self._own_name} cannot keep watch any more: {reason}; {AGAIN}", FAULT))

    def _end(self, end: Ended) -> None:
        self.ended.set()
        if end.lost is not None:
            self.peers.pop(end.lost, None)  # it will not answer
        self._announce_end(end.line, end.status)
        if end.status == FAULT and self.leaving.wait(LEAVE_SECONDS):
            return
        end_process(end, self.stall_timeout)

    def _check_activity(self) -> None:
        """Checks that the main threads of all workers make progress; only the first worker does this, for all."""

    def _poll(self) -> None:
        """Handles what has arrived, sends a heartbeat when one is due, and looks for silent workers.

        Raises:
          Ended: a worker is lost, or another one has ended the work.
        """
        before = time.monotonic()
        self._wait_for_messages(max(0.0, self.beat_at - before))
        now = time.monotonic()
        if now - before > self.limit:
            raise lost(None, f"{self._own_name}, this one, stood still for {now - before:.0f} s and was given up")
        for index, peer in list(self.peers.items()):
            if now - peer.heard > self.limit:
                raise lost(index, f"{self.cluster.name(index)} was lost: no heartbeat for {now - peer.heard:.0f} s")
        if now >= self.beat_at:  # not whenever one arrives: two workers would answer each other without end
            self.beat_at = now + self.beat
            self.own_activity = ACTIVITY.look()
            for peer in self.peers.values():
                peer.send(beat=self.own_activity)

    def _poll_while_gathering(self) -> None:
        """`_poll` in the main thread, before the thread of the watch is started."""
        ACTIVITY.reach("the start")
        with as_exception():
            self._poll()

    def _receive(self, index: int) -> None:
        """Handles the messages that a peer has sent."""
        peer = self.peers[index]
        for message in peer.receive():
            if "end" in message:
                raise Ended(str(message["end"]), int(message["status"]))
            self._handle(index, message)
        if peer.closed and index in self.peers:
            raise lost(index, f"{self.cluster.name(index)} was lost: its connection broke")

    def _announce_end(self, line: str, status: int) -> None:
        """Tells the others that the work has ended, and gives them a moment to read it."""
        for peer in self.peers.values():
            peer.send(end=line, status=status)
        until = time.monotonic() + LEAVE_SECONDS
        for peer in self.peers.values():
            peer.wait_for_close(until)

    @property
    def _own_name(self) -> str:
        return self.cluster.name(self.cluster.index)

    def _gather(self) -> None:
        """Returns when every worker has connected."""
        raise NotImplementedError

    def _wait_for_messages(self, seconds: float) -> None:
        """Waits for messages, at most so many seconds, and handles them."""
        raise NotImplementedError

    def _handle(self, index: int, message: dict[str, Any]) -> None:
        """Handles one message, other than an end."""

    def _leave(self) -> None:
        """Leaves the watch after the work is complete."""
        raise NotImplementedError


class FirstWorkersWatch(Watch):
    """The first worker's watch. All others are connected to it, so it notices a lost one first and informs the rest."""

    def __init__(self, cluster: Cluster, config: Config) -> None:
        super().__init__(cluster, config)
        self.selector = selectors.DefaultSelector()
        self.configs: dict[int, dict[str, Any]] = {}
        """The configs of the others, by worker."""
        self.activity: dict[int, Report] = {}
        """The latest reports of the others, by worker."""

    def _gather(self) -> None:
        self.admission = Admission(self.cluster, self.config, self.address[1], self.selector)
        until = time.monotonic() + self.timeout
        while missing := [index for index in range(1, self.cluster.size) if index not in self.peers]:
            if time.monotonic() > until:
                names = ", ".join(self.cluster.name(index) for index in missing)
                refused = "".join(f"; {why}" for index, why in self.admission.refused.items() if index in missing)
                raise WorkerLost(f"{names} did not connect within {self.timeout:g} s{refused}; {AGAIN}")
            self._poll_while_gathering()
        self.admission.close()
        for index, theirs in self.configs.items():  # only now, so that every worker gets to know the difference
            self._check_config(index, theirs)
        for peer in self.peers.values():
            peer.send(welcome=1)

    def _wait_for_messages(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            if key.data is None:
                self.admission.accept()
            elif isinstance(key.data, int):
                self._receive(key.data)
            elif key.data in self.admission.unknown:  # it may just have been dropped
                admitted = self.admission.read(key.data, set(self.peers))
                if admitted is not None:
                    self.peers[admitted.worker] = admitted.peer
                    self.configs[admitted.worker] = admitted.config

    def _check_config(self, index: int, theirs: dict[str, Any]) -> None:
        own, other = in_force(by_name(self.config)), in_force(by_name(theirs))
        for name in {**own, **other}:
            if name not in OWN_TO_A_WORKER and own.get(name) != other.get(name):
                raise UserError(
                    f"{name} is {own.get(name)} on {self._own_name} and {str(other.get(name))[:LONGEST_SHOWN]} on "
                    f"{self.cluster.name(index)}; start all with the same config"
                )

    def _check_activity(self) -> None:
        check_activity(self.cluster, {0: self.own_activity, **self.activity}, self.stall_timeout)

    def _handle(self, index: int, message: dict[str, Any]) -> None:
        if "beat" in message:
            self.activity[index] = Report.of(message["beat"])
        if "done" in message:
            peer = self.peers.pop(index)
            self.activity.pop(index, None)
            self.selector.unregister(peer.connection)
            peer.close()

    def _receive(self, index: int) -> None:
        if index in self.peers:
            super()._receive(index)

    def _leave(self) -> None:
        # The others need this end until their own work is complete.
        until = time.monotonic() + self.timeout
        with contextlib.suppress(Ended):
            while self.peers and time.monotonic() < until:
                self._poll()


class OtherWorkersWatch(Watch):
    """The watch of any other worker: it watches the first, which informs it about all others."""

    def _gather(self) -> None:
        self.peers = {0: Peer(self._connect())}
        self.peers[0].send(worker=self.cluster.index, config=self.config)
        self.welcome = False
        while not self.welcome:
            self._poll_while_gathering()

    def _connect(self) -> socket.socket:
        until = time.monotonic() + self.timeout
        why = "did not connect"
        while (left := until - time.monotonic()) > 0:
            try:
                connection = socket.create_connection(self.address, timeout=left)
                if connection.getsockname() != connection.getpeername():
                    return connection
                connection.close()  # a port of this machine may be connected with itself while nobody listens
            except socket.gaierror as fault:  # the name server may know it a little later
                why = f"has a name that could not be resolved ({fault.strerror})"
            except OSError:  # the first worker does not listen yet
                why = "did not connect"
            except UnicodeError as fault:
                raise UserError(f"distribute.workers: {self.cluster.name(0)} is no name of a host: {fault}") from fault
            time.sleep(0.2)
        raise WorkerLost(f"{self.cluster.name(0)} {why} within {self.timeout:g} s; {AGAIN}")

    def _wait_for_messages(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.peers[0].connection, selectors.EVENT_READ)
            if selector.select(seconds):
                self._receive(0)

    def _handle(self, index: int, message: dict[str, Any]) -> None:
        self.welcome |= "welcome" in message

    def _leave(self) -> None:
        self.peers[0].send(done=1)
        self.peers[0].wait_for_close(time.monotonic() + LEAVE_SECONDS)
