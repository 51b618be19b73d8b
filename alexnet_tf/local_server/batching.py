"""Requests that come at the same time run as one batch, on one thread.

What waits when the thread becomes free is taken together: a lone request never waits for company, and under load the
batches grow by themselves.
"""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from alexnet_tf.local_server.request_error import RequestError
from alexnet_tf.local_server.served_model import Arrays, LoadedVersion


@dataclass(eq=False)
class Task:
    """One request's pictures; `answer` will hold its outputs."""

    version: LoadedVersion
    signature: str
    inputs: Arrays
    answer: "Future[Arrays]" = field(default_factory=Future)

    @property
    def size(self) -> int:
        """How many pictures."""
        return len(next(iter(self.inputs.values())))

    def fits(self, other: "Task") -> bool:
        """Whether both can run as one batch."""
        return (
            self.version is other.version
            and self.signature == other.signature
            and all(array.shape[1:] == other.inputs[name].shape[1:] for name, array in self.inputs.items())
        )


class Batcher:
    """A thread that runs tasks, as many at a time as fit into a batch."""

    def __init__(self, max_batch: int, max_waiting: int) -> None:
        """Starts the thread.

        Args:
          max_batch: pictures that run together at most; a larger request is run in pieces.
          max_waiting: pictures that may wait; beyond them requests are turned away.
        """
        self.max_batch = max_batch
        self.max_waiting = max_waiting
        self._waiting: deque[Task] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, version: LoadedVersion, signature: str, inputs: Arrays) -> "Future[Arrays]":
        """Queues a request; its answer comes in the future, and a cancelled one is not run.

        Raises:
          RequestError: too much is waiting, or the server stops.
        """
        task = Task(version, signature, inputs)
        with self._changed:
            if self._closed:
                raise RequestError("UNAVAILABLE", "the server is stopping")
            if self._waiting and sum(other.size for other in self._waiting) + task.size > self.max_waiting:
                raise RequestError("UNAVAILABLE", f"more than {self.max_waiting} pictures are waiting; try again later")
            self._waiting.append(task)
            self._changed.notify()
        return task.answer

    def close(self) -> None:
        """Runs what is waiting, then ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            wanted = [task for task in batch if task.answer.set_running_or_notify_cancel()]
            if wanted:
                self._run(wanted)

    def _next_batch(self) -> list[Task]:
        """Waits for work. Empty when the batcher is closed and nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            batch = [self._waiting.popleft()]
            room = self.max_batch - batch[0].size
            for task in list(self._waiting):
                if task.size <= room and task.fits(batch[0]):
                    self._waiting.remove(task)
                    batch.append(task)
                    room -= task.size
            return batch

    def _run(self, batch: list[Task]) -> None:
        try:
            names = batch[0].inputs
            joined = {name: np.concatenate([task.inputs[name] for task in batch]) for name in names}
            answers = self._run_in_pieces(batch[0], joined)
        except Exception as fault:
            if len(batch) > 1:  # one request's fault is not its neighbors'
                for task in batch:
                    self._run([task])
            else:
                batch[0].answer.set_exception(fault)
            return
        start = 0
        for task in batch:
            task.answer.set_result({name: array[start : start + task.size] for name, array in answers.items()})
            start += task.size

    def _run_in_pieces(self, task: Task, inputs: Arrays) -> Arrays:
        count = len(next(iter(inputs.values())))
        pieces = [
            task.version.run(task.signature, {name: a[start : start + self.max_batch] for name, a in inputs.items()})
            for start in range(0, max(count, 1), self.max_batch)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
