"""Requests that come at the same time run as one batch, on one thread, and large ones in pieces by turns.

What waits when the thread becomes free is taken together: a lone request never waits for others, and under load the
batches grow by themselves. A request of many pictures gets no more of a batch than the others that fit into it, and
goes to the end of the queue after each of its pieces. One whose sender has left gets no further piece.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from alexnet_tf.local_server.request_error import RequestError, stopping
from alexnet_tf.local_server.screening import Looks, run_screened
from alexnet_tf.local_server.served_model import Arrays, LoadedVersion


@dataclass(eq=False)
class Task:
    """One request's pictures; `answer` will hold its outputs, and nobody waits for it once it is cancelled."""

    version: LoadedVersion
    signature: str
    inputs: Arrays
    needs: np.ndarray
    """Bytes of memory that each picture takes while it runs, (N,)."""
    looks: Looks | None = None
    """What was seen of the pictures' files, if they come as files."""
    answer: "Future[Arrays]" = field(default_factory=Future)
    begun: int = 0
    """How many pictures are done or in the batch that runs."""
    pieces: list[Arrays] = field(default_factory=list)
    """Answers of those that are done."""

    @property
    def size(self) -> int:
        """How many pictures."""
        return len(self.needs)

    @property
    def left(self) -> int:
        """How many pictures wait."""
        return self.size - self.begun

    def fits(self, other: "Task") -> bool:
        """Whether both can run as one batch."""
        return (
            self.version is other.version
            and self.signature == other.signature
            and all(array.shape[1:] == other.inputs[name].shape[1:] for name, array in self.inputs.items())
        )


@dataclass(eq=False)
class Part:
    """Some pictures of a task, for one batch."""

    task: Task
    start: int
    stop: int

    @property
    def inputs(self) -> Arrays:
        """Their arrays."""
        return {name: array[self.start : self.stop] for name, array in self.task.inputs.items()}

    @property
    def looks(self) -> Looks | None:
        """What was seen of their files."""
        return None if self.task.looks is None else self.task.looks[self.start : self.stop]


class Batcher:
    """A thread that runs tasks, as many pictures at a time as fit into a batch."""

    def __init__(
        self,
        max_batch: int,
        max_waiting: int,
        max_bytes: int,
        report_end: Callable[[BaseException], None],
        count_batch: Callable[[int], None] = lambda pictures: None,
    ) -> None:
        """Starts the thread.

        Args:
          max_batch: pictures that run together at most.
          max_waiting: pictures that may wait; beyond them requests are turned away. One request may bring half of them.
          max_bytes: memory that the pictures of a batch may need together; one is always run.
          report_end: called on the thread if it cannot go on; it has turned everybody away by then.
          count_batch: called on the thread with each batch's number of pictures.
        """
        self.max_batch = max_batch
        self.max_waiting = max_waiting
        self.max_share = max(max_batch, max_waiting // 2)
        self.max_bytes = max_bytes
        self.fault: BaseException | None = None
        """Why the thread has ended before its time."""
        self._report_end = report_end
        self._count_batch = count_batch
        self._waiting: deque[Task] = deque()
        self._running: list[Part] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def check_share(self, count: int) -> None:
        """Whether one request may bring so many pictures.

        Raises:
          RequestError: it may not, however little there is to do.
        """
        if count > self.max_share:
            raise RequestError(
                "RESOURCE_EXHAUSTED",
                f"the request holds {count} pictures, and one may hold {self.max_share}, so that others get their turn"
                "; send fewer at a time, or start the server with a higher --max-waiting",
            )

    def submit(
        self, version: LoadedVersion, signature: str, inputs: Arrays, needs: np.ndarray, looks: Looks | None = None
    ) -> "Future[Arrays]":
        """Queues a request; its answer comes in the future, and what is left of a cancelled one is not run.

        Raises:
          RequestError: too much is waiting, or the server stops.
        """
        task = Task(version, signature, inputs, needs, looks)
        self.check_share(task.size)
        with self._changed:
            if self._closed:
                raise stopping()
            if self._left() + task.size > self.max_waiting:
                raise RequestError("UNAVAILABLE", f"more than {self.max_waiting} pictures are waiting; try again later")
            self._waiting.append(task)
            self._changed.notify()
        return task.answer

    def waiting(self) -> int:
        """How many pictures do not run yet."""
        with self._changed:
            return self._left()

    def close(self) -> None:
        """Turns everybody away, and ends the thread after the batch that runs."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._turn_away()

    def join(self) -> None:
        """Waits for the thread's end."""
        self._thread.join()

    def _left(self) -> int:
        tasks = [*self._waiting, *(part.task for part in self._running)]
        return sum(task.left for task in tasks if not task.answer.done())

    def _work(self) -> None:
        try:
            while self._work_once():
                pass
            self._turn_away()
        except BaseException as fault:  # without this thread nobody would ever get an answer
            self.fault = fault
            self.close()
            self._report_end(fault)

    def _work_once(self) -> bool:
        """Runs a batch. False when the batcher is closed. A method, so that no name keeps a batch while none runs."""
        batch = self._next_batch()
        if batch:
            self._count_batch(sum(part.stop - part.start for part in batch))
            self._run(batch)
            self._put_back()
        return bool(batch)

    def _next_batch(self) -> list[Part]:
        """Waits for work. Empty when the batcher is closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return []
                self._waiting = deque(task for task in self._waiting if not task.answer.cancelled())
                if self._waiting:
                    return self._fill_batch()

    def _fill_batch(self) -> list[Part]:
        """The first task and all that fit to it, in equal parts; what they leave free goes to the first of them."""
        tasks = [task for task in self._waiting if task.fits(self._waiting[0])][: self.max_batch]
        parts = [Part(task, task.begun, task.begun) for task in tasks]
        room, memory = self.max_batch, self.max_bytes
        for share in (max(1, self.max_batch // len(parts)), self.max_batch):
            for part in parts:
                most = min(part.start + share, part.stop + room, part.task.size)
                while part.stop < most and (memory >= part.task.needs[part.stop] or room == self.max_batch):
                    memory -= int(part.task.needs[part.stop])
                    part.stop += 1
                    room -= 1
        batch = [part for part in parts if part.stop > part.start or not part.task.size]
        for part in batch:
            part.task.begun = part.stop
            self._waiting.remove(part.task)
        self._running = batch
        return batch

    def _put_back(self) -> None:
        """Tasks of which something is left go to the end of the queue."""
        with self._changed:
            tasks = [part.task for part in self._running]
            self._waiting.extend(task for task in tasks if task.left and not task.answer.done())
            self._running = []

    def _turn_away(self) -> None:
        with self._changed:
            tasks = [part.task for part in self._running] + list(self._waiting)
            self._waiting.clear()
        for task in tasks:
            self._finish(task, stopping())

    def _run(self, batch: list[Part]) -> None:
        first = batch[0].task
        try:
            joined = {name: np.concatenate([part.inputs[name] for part in batch]) for name in first.inputs}
            answers = run_screened(first.version, first.signature, joined, _joined([part.looks for part in batch]))
        except Exception as fault:
            if len(batch) > 1:  # one request's fault is not its neighbors'
                for part in batch:
                    self._run([part])
            else:
                self._finish(first, fault)
            return
        start = 0
        for part in batch:
            stop = start + part.stop - part.start
            part.task.pieces.append({name: array[start:stop] for name, array in answers.items()})
            start = stop
            if not part.task.left:
                pieces = part.task.pieces
                self._finish(part.task, {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]})

    def _finish(self, task: Task, answer: Arrays | Exception) -> None:
        with self._changed:  # close() may turn it away meanwhile
            if task.answer.done() or not task.answer.set_running_or_notify_cancel():
                return
            if isinstance(answer, Exception):
                task.answer.set_exception(answer)
            else:
                task.answer.set_result(answer)


def _joined(looks: list[Looks | None]) -> Looks | None:
    known = [some for some in looks if some is not None]
    return [one for some in known for one in some] if len(known) == len(looks) else None
