"""alexnet_tf.serve as a process of its own, at free ports of the loopback interface."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from alexnet_tf.program.errors import UserError


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
