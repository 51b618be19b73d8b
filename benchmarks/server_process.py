"""Servers as processes of their own, at free ports of the loopback interface: alexnet_tf.serve, and LitServe."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from alexnet_tf.program.errors import UserError

LITSERVE_STARTS = 60
"""Seconds that LitServe may take to load its model."""


class Started(NamedTuple):
    """A running server: HOST:PORT of each protocol, and the name that it serves its model under."""

    pid: int
    name: str
    rest: str
    grpc: str

    def memory(self, key: str) -> float:
        """Megabytes, from Linux's own account of the process: VmRSS now, VmHWM at most."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        found = re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024 / 1e6


@contextmanager
def started(model: Path, *options: str) -> Iterator[Started]:
    """Serves a model's folder until the context ends.

    Raises:
      UserError: the server does not start.
    """
    command = [sys.executable, "-m", "alexnet_tf.serve", "--model", str(model), "--rest-port=0", "--grpc-port=0"]
    with subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # decoders write there of each file that they cannot read
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.stdout.close()  # what it tells later would fill the pipe
            found = re.search(r"^(\S+) .* at http://(\S+) .* and (\S+) \(gRPC\)", line)
            if found is None:
                raise UserError("the server does not start; try it by itself: " + " ".join(command[1:]))
            yield Started(process.pid, *found.groups())
        finally:
            process.terminate()


@contextmanager
def litserve_started(version: Path) -> Iterator[str]:
    """Serves a version that was exported with `--format onnx` by LitServe until the context ends; gives HOST:PORT.

    Raises:
      UserError: the server does not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.litserve_peer", "--version", str(version), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + LITSERVE_STARTS
            while not _is_healthy(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise UserError("LitServe does not start; try it by itself: " + " ".join(command[1:]))
                time.sleep(0.2)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def _is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
