"""Runs the shards of a conversion in several processes, and ends them all when one has to stop.

Processes are spawned, not forked: a fork of a process in which a library has started threads can hang, and TFDS, as a
source, brings TensorFlow.
"""

import contextlib
import errno
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.interrupts import SIGNALS
from tfrecords.plan import Advance, Report, ShardResult, ShardTask
from tfrecords.shards import write_shard

POLL_SECONDS = 0.2


def run_shards(
    tasks: Sequence[ShardTask],
    workers: int,
    report: Report,
    collect: Callable[[ShardResult], None],
) -> None:
    """Writes every shard; with one worker in this very process, else in so many others.

    Args:
      tasks: the shards; the order in which they finish is not theirs.
      workers: number of processes.
      report: called here with every advance of every shard; may raise to stop everything.
      collect: called here with each finished shard.

    Raises:
      UserError: from a worker, or because one ended without a message.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        for task in tasks:
            collect(write_shard(task, report))
        return
    try:
        _run_in_processes(tasks, workers, report, collect)
    except BrokenProcessPool as fault:
        raise UserError(
            "a worker process ended unexpectedly (killed for want of memory?): try fewer --workers"
        ) from fault


def _run_in_processes(
    tasks: Sequence[ShardTask],
    workers: int,
    report: Report,
    collect: Callable[[ShardResult], None],
) -> None:
    finished: queue.SimpleQueue[Future[ShardResult]] = queue.SimpleQueue()
    with _telling_of_processes(), _signals_held_back():  # from the process that keeps count of locks, too
        context = multiprocessing.get_context("spawn")
        reports: Any = context.Queue()
        stop = context.Event()
        pool = ProcessPoolExecutor(workers, context, _start_worker, (reports, stop))
    try:
        with _telling_of_processes(), _signals_held_back():
            for task in tasks:
                pool.submit(_write_shard, task).add_done_callback(finished.put)
        pictures, shards = sum(len(task.items) for task in tasks), len(tasks)
        while pictures or shards:
            with contextlib.suppress(queue.Empty):
                if pictures:
                    advance = reports.get(timeout=POLL_SECONDS)
                    pictures -= advance.pictures
                    report(advance)
            # Looked at however little is reported, for a shard may have failed; waited for once nothing else is left.
            with contextlib.suppress(queue.Empty):
                while shards:
                    collect(finished.get(block=not pictures, timeout=POLL_SECONDS).result())
                    shards -= 1
    finally:
        # Workers look at `stop` several times a second, remove their unfinished shard and return.
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _telling_of_processes() -> Iterator[None]:
    """A fault here is of the processes and what they share, not of the folder that is written.

    Raises:
      UserError: names what is full, read-only or used up.
    """
    try:
        yield
    except OSError as fault:
        # Locks between processes are files in /dev/shm, though the exception does not say so.
        full = fault.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EPERM)
        what = "/dev/shm, where processes share their locks, cannot be used" if full else "no process can be started"
        raise UserError(f"{what} ({fault.strerror}): mend that, or convert with --workers 1") from fault


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Processes started meanwhile never get the signals that end a command; this one gets them later.

    Ctrl-C goes to every process of the terminal. Only the parent may act on it: it stops the
    workers, which then clean up.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Stopped(Exception):
    """Ends the shard of a worker after another process has asked it to stop."""


_in_worker: dict[str, Any] = {}
"""A worker's ends of the connections to its parent."""


def _start_worker(reports: Any, stop: Any) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # records need no GPU, and a training may be using it
    # A worker that ends must not wait until somebody has read all its reports.
    reports.cancel_join_thread()
    _in_worker.update(reports=reports, stop=stop)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """Ends this process when the parent is gone, even if it was killed outright."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write_shard(task: ShardTask) -> ShardResult:
    def report(advance: Advance) -> None:
        _in_worker["reports"].put(advance)
        if _in_worker["stop"].is_set():
            raise _Stopped

    return write_shard(task, report)
