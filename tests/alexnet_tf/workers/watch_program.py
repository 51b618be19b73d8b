"""Real processes that watch over each other and do nothing else, for the tests of the watch."""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.heard_signals import hear_signals

ROOT = Path(__file__).resolve().parents[3]
LONG, SHORT = 40, 2
"""Timeouts in seconds: where none is to run out, and where nobody need come in time."""
PROGRAM = """
import os, sys, time
from pathlib import Path
from alexnet_tf import quiet_start
from alexnet_tf.settings.cluster import find_cluster
from alexnet_tf.settings.config import parse_config
from alexnet_tf.program.errors import UserError, run_command
from alexnet_tf.program.activity import ACTIVITY
from alexnet_tf.program.stop_signals import STOP
from alexnet_tf.workers.watch import keep_watch

def obey(word, *rest):
    if word == "fail":
        raise UserError("a label is wrong")
    if word == "break":
        raise RuntimeError("Socket closed")
    if word == "stand":  # still
        time.sleep(60)
    if word == "load":  # TensorFlow, for a long time
        with quiet_start():
            time.sleep(60)
    if word == "wait":  # for the others, who do not come
        with ACTIVITY.together():
            time.sleep(60)
    if word == "compile":
        with ACTIVITY.together(compiled=False):
            busy(float(rest[0]))
    if word == "steps":
        for step in range(int(rest[0])):
            time.sleep(0.2)
            ACTIVITY.reach(f"step {step}")
    if word == "save":
        file, seconds = rest
        with ACTIVITY.saving():
            time.sleep(float(seconds))
            Path(file).write_text("whole")

def busy(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass

def main(argv):
    with STOP:
        config, cluster = find_cluster(parse_config("", "test", argv[1:]))
        print("gathering", flush=True)
        with keep_watch(cluster, config):
            print("together", flush=True)
            for line in sys.stdin:
                obey(*line.split())
    assert "tensorflow" not in sys.modules
    return 0

run_command(main)
"""
"""A worker that waits for words on its standard input."""


class Worker:
    """One of several on this machine; its host is known to all by `hosts[index]`."""

    def __init__(
        self, index: int, ports: list[int], *overrides: str, hosts: dict[int, str] | None = None,
        before: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        hosts = hosts or {}
        names = [f"{hosts.get(place, '127.0.0.1')}:{port}" for place, port in enumerate(ports)]
        self.port = ports[index]
        self.name = f"worker {index} ({names[index]})"
        task = {"cluster": {"worker": names}, "task": {"index": index}}
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", PROGRAM, "-", "data.batch_size=12", *overrides],
            cwd=ROOT, env={**os.environ, "TF_CONFIG": json.dumps(task)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_signals,
        )  # fmt: skip

    def wait_for_others(self) -> None:
        self.wait_for("together")

    def wait_for(self, word: str) -> None:
        for line in self.process.stdout:
            if line == f"{word}\n":
                return
        raise AssertionError(self.process.stderr.read())

    def say(self, word: str) -> None:
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Its exit status and what it wrote to stderr."""
        return self.process.wait(timeout=30), self.process.stderr.read()


Start = Callable[..., list[Worker]]


@contextlib.contextmanager
def starter() -> Iterator[Start]:
    """Starts workers of these indices; they are killed in the end."""
    started: list[Worker] = []
    ports = free_ports(3)

    def workers(
        *indices: int, timeout: float = LONG, overrides: tuple[str, ...] = (), count: int = 3, **options: Any
    ) -> list[Worker]:
        own = (f"distribute.timeout={timeout}", *overrides)
        new = [Worker(index, ports[:count], *own, **options) for index in indices]
        started.extend(new)
        return new

    try:
        yield workers
    finally:
        for worker in started:
            worker.process.kill()
            with contextlib.suppress(BrokenPipeError), worker.process:  # closes its pipes, one with a word never read
                pass


def together(start: Start, timeout: float = LONG, **options: Any) -> list[Worker]:
    workers = start(0, 1, 2, timeout=timeout, **options)
    for worker in workers:
        worker.wait_for_others()
    return workers


def free_ports(count: int) -> list[int]:
    """Neighbors, with one more free after them; from below those that the system gives to whoever asks for any port,
    so that no other process takes one in the seconds before the workers open theirs."""
    while True:
        first = random.randrange(10_000, 32_000)
        with contextlib.ExitStack() as opened, contextlib.suppress(OSError):
            for port in range(first, first + count + 1):
                opened.enter_context(socket.create_server(("127.0.0.1", port)))
            return list(range(first, first + count))
