"""The workers of this machine as processes: started together, read from, ended together. No TensorFlow here."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import IO

from alexnet_tf.program.errors import DONE, STOPPED_AFTER_SAVING, UserError
from alexnet_tf.program.interrupts import answered
from alexnet_tf.workers.signs_of_work import SignsOfWork

LOOPBACK = "127.0.0.1"
GRACE_SECONDS = 180.0
"""Once one has failed, another is killed after so long without a sign of work: it may be saving."""
FROZEN_SECONDS = 15.0
"""The same for one that is stopped (SIGSTOP), which cannot even try."""
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
"""Of Linux' prctl: the signal that a process gets when its parent dies."""


class LocalWorkers:
    """The workers of this machine, as processes.

    Args:
      workers: host:port of all workers.
      here: the indices of those to start.
      command: what each runs.
    """

    def __init__(self, workers: tuple[str, ...], here: list[int], command: list[str]) -> None:
        self.workers = workers
        self.here = here
        self.command = command
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.printing = threading.Lock()
        self.forwarded = 0
        """The latest signal that went to all."""

    def run(self) -> int:
        """Starts them and returns the exit status when the last has ended: 0, or that of the first to fail."""
        with answered(self._forward):
            try:
                printers = [printer for index in self.here for printer in self._start(index)]
                status = self._wait()
                for printer in printers:
                    printer.join()
            finally:
                for process in self.processes.values():
                    if process.poll() is None:
                        _signal_all(process, signal.SIGKILL)
        return status

    def _start(self, index: int) -> Iterator[threading.Thread]:
        task = {"cluster": {"worker": self.workers}, "task": {"type": "worker", "index": index}}
        try:
            process = subprocess.Popen(
                self.command, env={**os.environ, "TF_CONFIG": json.dumps(task), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                start_new_session=True,  # Ctrl-C comes from here alone, once
                preexec_fn=_end_with_parent,
            )  # fmt: skip
        except OSError as fault:
            raise UserError(
                f"{self.command[0]} cannot be started: {fault.strerror}; correct the command after --"
            ) from fault
        self.processes[index] = process
        if self.forwarded:  # in between
            _signal_all(process, self.forwarded)
        for pipe, stream in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            printer = threading.Thread(target=self._print, args=(index, pipe, stream), daemon=True)
            printer.start()
            yield printer

    def _wait(self) -> int:
        status = DONE
        running = dict(self.processes)
        signs: dict[int, SignsOfWork] = {}
        while running:
            ended = {index: process.poll() for index, process in running.items() if process.poll() is not None}
            running = {index: process for index, process in running.items() if index not in ended}
            failures = [self._status(code) for code in ended.values() if code]
            if failures and not status:
                # Of those that end at once, the cause: 75 is what the watch ends the others with.
                status = next((code for code in failures if code != STOPPED_AFTER_SAVING), failures[0])
                signs = {index: SignsOfWork(process.pid) for index, process in running.items()}
            for index, process in running.items():
                if index in signs and signs[index].absent_for(GRACE_SECONDS, FROZEN_SECONDS):
                    _signal_all(process, signal.SIGKILL)
            time.sleep(0.05)
        return status

    def _status(self, code: int) -> int:
        if -code == self.forwarded:
            return STOPPED_AFTER_SAVING  # it had not begun yet: there was nothing to save
        return code if code > 0 else 128 - code  # killed by a signal: as a shell tells it

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.forwarded = signal.SIGTERM if number == signal.SIGHUP else number
        for process in self.processes.values():
            if process.returncode is None:
                _signal_all(process, self.forwarded)

    def _print(self, index: int, pipe: IO[str], stream: IO[str]) -> None:
        with pipe:
            for line in pipe:
                with self.printing:
                    print(f"[{index}] {line}", end="" if line.endswith("\n") else "\n", file=stream, flush=True)


def _signal_all(process: subprocess.Popen[str], number: int) -> None:
    """Sends a signal to a worker and to what it has started itself, such as the Python behind a shell."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def free_addresses(count: int) -> tuple[str, ...]:
    """Addresses on this machine alone; the port after the last is free as well, for the workers' watch."""
    for first in range(20_000 + os.getpid() % 10_000, 60_000, count + 1):
        with contextlib.ExitStack() as opened, contextlib.suppress(OSError):
            for port in range(first, first + count + 1):
                opened.enter_context(socket.create_server((LOOPBACK, port)))
            return tuple(f"{LOOPBACK}:{first + index}" for index in range(count))
    raise UserError(f"--local: no {count + 1} free ports in a row on this machine")


def _end_with_parent() -> None:
    """Makes the kernel end this process when its parent has ended, however that happened."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
