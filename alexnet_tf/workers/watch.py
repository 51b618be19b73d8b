"""Workers keep watch over each other: one that is lost ends all others within distribute.timeout, and is named.

TensorFlow's collective operations wait for a frozen worker without end, and of a killed one they tell in terms of
sockets. Here a thread of every worker talks to the first worker over a connection of its own, a line of JSON at a time:

    {"worker": 2, "config": {...}}       to the first worker: I have come, with this config
    {"beat": [...]}                      both ways: I am alive, and this is what my main thread does (pulse.Report)
    {"end": "why", "status": 75}         both ways: it is over, for all
    {"done": 1}                          to the first worker: my work is complete

It is meant for a network on which nobody else is, as are TensorFlow's own connections. No TensorFlow here, so that a
worker that does not come is told before any is loaded.
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
from alexnet_tf.program.errors import FAULT, STOPPED_AFTER_SAVING, StoppedBySignal, UserError, WorkerLost
from alexnet_tf.program.pulse import PULSE, Report
from alexnet_tf.program.stop_signals import StoppedAtOnce
from alexnet_tf.settings.cluster import ALONE, Cluster, host_of, watch_port
from alexnet_tf.settings.config import Config
from alexnet_tf.workers.entrance import Entrance
from alexnet_tf.workers.peer import Peer
from alexnet_tf.workers.verdict import AGAIN, Ended, as_exception, end_process, judge_pulses, lost

SILENCE = 0.75
"""Of distribute.timeout: a worker that is silent for so long is lost. The rest is for telling the others."""
LEAVE_SECONDS = 2.0
"""In which a worker may end by itself after another's fault, for it is often the same one."""
LONGEST_SHOWN = 200
"""Characters of another's value in a message."""
OWN_TO_A_WORKER = {
    "data.dir", "data.statistics", "train.init_from", "devices.towers", "devices.threads",
    "distribute.workers", "distribute.index",
}  # fmt: skip
"""Fields in which workers may differ: paths, devices, and names by which machines see each other."""


def keep_watch(cluster: Cluster, config: Config) -> contextlib.AbstractContextManager[Any]:
    """A context in which all workers of a cluster are there; of one process alone, nothing.

    Entered, it waits until every worker has come. If one is lost meanwhile, this process ends: one line, status 75.

    Raises:
      WorkerLost: on entering, a worker did not come.
      UserError: on entering, the workers' configs differ, or the port for the watch is taken.
    """
    if cluster is ALONE:
        return contextlib.nullcontext()
    if os.environ[LOG_LEVEL] == "2":
        os.environ[LOG_LEVEL] = "3"  # of a lost worker TensorFlow tells, as an error, in terms of sockets
    return FirstWorkersWatch(cluster, config) if cluster.index == 0 else OtherWorkersWatch(cluster, config)


class Watch:
    """One worker's part in the watch: `_turn` is called over and over, in a thread once all have come."""

    def __init__(self, cluster: Cluster, config: Config) -> None:
        self.cluster = cluster
        self.config = config.model_dump(mode="json")
        self.timeout = config.distribute.timeout
        self.limit = SILENCE * self.timeout
        self.beat = min(1.0, self.timeout / 20)
        self.beat_at = 0.0
        self.stall_timeout = config.distribute.stall_timeout
        self.address = host_of(cluster.workers[0]), watch_port(cluster.workers, config.distribute)
        self.own_pulse = PULSE.look()
        self.peers: dict[int, Peer] = {}
        """Connections by the worker at the other end."""
        self.leaving = threading.Event()
        """This worker's work has ended, well or not."""
        self.verdict = threading.Event()
        """Another's end is known."""
        self.thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        try:
            self._gather()
        except WorkerLost as lost:
            self._tell(str(lost), STOPPED_AFTER_SAVING)
            raise
        except StoppedAtOnce as stopped:
            self._tell(f"{self._own_name} was {stopped}", STOPPED_AFTER_SAVING)
            raise
        except UserError as fault:
            self._tell(f"error: {fault}", FAULT)
            raise
        PULSE.reach("the arrival of all workers")
        self.own_pulse = PULSE.look()
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        own = fault is None or isinstance(fault, UserError | StoppedBySignal | WorkerLost)
        if not own and self.verdict.wait(LEAVE_SECONDS):
            # TensorFlow's complaint about a broken connection: the thread has the reason, and is about to end all this.
            self.thread.join()
        self.leaving.set()
        self.thread.join()
        if isinstance(fault, StoppedAtOnce):
            self._tell(f"{self._own_name} was {fault}", STOPPED_AFTER_SAVING)
        elif isinstance(fault, WorkerLost):
            self._tell(str(fault), STOPPED_AFTER_SAVING)
        elif fault is None or isinstance(fault, StoppedBySignal):
            self._part()
        else:
            reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
            status = STOPPED_AFTER_SAVING if isinstance(fault, KeyboardInterrupt) else FAULT
            self._tell(f"error: {self._own_name} failed: {reason}", status)

    def _watch(self) -> None:
        try:
            while not self.leaving.is_set():
                self._turn()
                self._judge()
        except Ended as end:
            self._end(end)
        except Exception as fault:  # unwatched, the work could wait for ever
            reason = str(fault) or type(fault).__name__
            self._end(Ended(f"error: {self._own_name} cannot keep watch any more: {reason}; {AGAIN}", FAULT))

    def _end(self, end: Ended) -> None:
        self.verdict.set()
        if end.lost is not None:
            self.peers.pop(end.lost, None)  # it will not answer
        self._tell(end.line, end.status)
        if end.status == FAULT and self.leaving.wait(LEAVE_SECONDS):
            return
        end_process(end, self.stall_timeout)

    def _judge(self) -> None:
        """Judges whether the main threads of all get on: the first worker does, for all."""

    def _turn(self) -> None:
        """Hears what has come in, sends a beat, and judges who has been silent for too long.

        Raises:
          Ended: a worker is lost, or another has told that it is over.
        """
        before = time.monotonic()
        self._listen(max(0.0, self.beat_at - before))
        now = time.monotonic()
        if now - before > self.limit:
            raise lost(None, f"{self._own_name}, this one, stood still for {now - before:.0f} s and was given up")
        for index, peer in list(self.peers.items()):
            if now - peer.heard > self.limit:
                raise lost(index, f"{self.cluster.name(index)} was lost: no heartbeat for {now - peer.heard:.0f} s")
        if now >= self.beat_at:  # and not whenever one comes in: two would answer each other without end
            self.beat_at = now + self.beat
            self.own_pulse = PULSE.look()
            for peer in self.peers.values():
                peer.send(beat=self.own_pulse)

    def _turn_of_gathering(self) -> None:
        """The same in the main thread, whose work this is."""
        PULSE.reach("the start")
        with as_exception():
            self._turn()

    def _hear(self, index: int) -> None:
        """Takes in what a peer has sent."""
        peer = self.peers[index]
        for message in peer.receive():
            if "end" in message:
                raise Ended(str(message["end"]), int(message["status"]))
            self._heard(index, message)
        if peer.closed and index in self.peers:
            raise lost(index, f"{self.cluster.name(index)} was lost: its connection broke")

    def _tell(self, line: str, status: int) -> None:
        """Tells the others that it is over, and waits a moment for them to have read it."""
        for peer in self.peers.values():
            peer.send(end=line, status=status)
        until = time.monotonic() + LEAVE_SECONDS
        for peer in self.peers.values():
            peer.wait_for_close(until)

    @property
    def _own_name(self) -> str:
        return self.cluster.name(self.cluster.index)

    def _gather(self) -> None:
        """Returns when every worker has come."""
        raise NotImplementedError

    def _listen(self, seconds: float) -> None:
        """Waits so long at most for messages, and hears them."""
        raise NotImplementedError

    def _heard(self, index: int, message: dict[str, Any]) -> None:
        """Acts on a message."""

    def _part(self) -> None:
        """Leaves after the work is complete."""
        raise NotImplementedError


class FirstWorkersWatch(Watch):
    """The first worker's: all others are connected to it, so it sees first who is lost, and tells the rest."""

    def __init__(self, cluster: Cluster, config: Config) -> None:
        super().__init__(cluster, config)
        self.selector = selectors.DefaultSelector()
        self.configs: dict[int, dict[str, Any]] = {}
        """The others', by worker."""
        self.pulses: dict[int, Report] = {}
        """The others' latest, by worker."""

    def _gather(self) -> None:
        self.entrance = Entrance(self.cluster, self.config, self.address[1], self.selector)
        until = time.monotonic() + self.timeout
        while missing := [index for index in range(1, self.cluster.size) if index not in self.peers]:
            if time.monotonic() > until:
                names = ", ".join(self.cluster.name(index) for index in missing)
                refused = "".join(f"; {why}" for index, why in self.entrance.refused.items() if index in missing)
                raise WorkerLost(f"{names} did not connect within {self.timeout:g} s{refused}; {AGAIN}")
            self._turn_of_gathering()
        self.entrance.close()
        for index, theirs in self.configs.items():  # now that there is nobody left who would not hear of it
            self._check_config(index, theirs)
        for peer in self.peers.values():
            peer.send(welcome=1)

    def _listen(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            if key.data is None:
                self.entrance.accept()
            elif isinstance(key.data, int):
                self._hear(key.data)
            elif key.data in self.entrance.strangers:  # not dropped a moment ago
                introduced = self.entrance.hear(key.data, set(self.peers))
                if introduced is not None:
                    self.peers[introduced.worker] = introduced.peer
                    self.configs[introduced.worker] = introduced.config

    def _check_config(self, index: int, theirs: dict[str, Any]) -> None:
        for section, fields in self.config.items():
            for key, value in fields.items():
                name, other = f"{section}.{key}", theirs[section][key]
                if name not in OWN_TO_A_WORKER and other != value:
                    raise UserError(
                        f"{name} is {value} on {self._own_name} and {str(other)[:LONGEST_SHOWN]} on "
                        f"{self.cluster.name(index)}; start all with the same config"
                    )

    def _judge(self) -> None:
        judge_pulses(self.cluster, {0: self.own_pulse, **self.pulses}, self.stall_timeout)

    def _heard(self, index: int, message: dict[str, Any]) -> None:
        if "beat" in message:
            self.pulses[index] = Report.of(message["beat"])
        if "done" in message:
            peer = self.peers.pop(index)
            self.pulses.pop(index, None)
            self.selector.unregister(peer.connection)
            peer.close()

    def _hear(self, index: int) -> None:
        if index in self.peers:
            super()._hear(index)

    def _part(self) -> None:
        # The others need this end until their own work is complete.
        until = time.monotonic() + self.timeout
        with contextlib.suppress(Ended):
            while self.peers and time.monotonic() < until:
                self._turn()


class OtherWorkersWatch(Watch):
    """That of a worker other than the first: it watches the first, and hears from it of all others."""

    def _gather(self) -> None:
        self.peers = {0: Peer(self._connect())}
        self.peers[0].send(worker=self.cluster.index, config=self.config)
        self.welcome = False
        while not self.welcome:
            self._turn_of_gathering()

    def _connect(self) -> socket.socket:
        until = time.monotonic() + self.timeout
        why = "did not connect"
        while (left := until - time.monotonic()) > 0:
            try:
                connection = socket.create_connection(self.address, timeout=left)
                if connection.getsockname() != connection.getpeername():
                    return connection
                connection.close()  # a port of this machine may be connected with itself while nobody listens
            except socket.gaierror as fault:  # its name may be known a little later
                why = f"has a name that could not be resolved ({fault.strerror})"
            except OSError:  # not there yet
                why = "did not connect"
            except UnicodeError as fault:
                raise UserError(f"distribute.workers: {self.cluster.name(0)} is no name of a host: {fault}") from fault
            time.sleep(0.2)
        raise WorkerLost(f"{self.cluster.name(0)} {why} within {self.timeout:g} s; {AGAIN}")

    def _listen(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.peers[0].connection, selectors.EVENT_READ)
            if selector.select(seconds):
                self._hear(0)

    def _heard(self, index: int, message: dict[str, Any]) -> None:
        self.welcome |= "welcome" in message

    def _part(self) -> None:
        self.peers[0].send(done=1)
        self.peers[0].wait_for_close(time.monotonic() + LEAVE_SECONDS)
