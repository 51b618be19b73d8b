"""Starts model servers as processes of their own, and asks them over real sockets."""

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[3]


class Server(NamedTuple):
    """A running server and the addresses it serves at."""

    process: subprocess.Popen
    rest: str
    grpc: str

    def call(self, path: str, body: Any = None) -> tuple[int, Any]:
        """HTTP status and JSON of a GET, or of a POST where there is a body (bytes, or what becomes JSON)."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.rest}{path}", data)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as fault:
            with fault:
                return fault.code, json.load(fault)


@contextmanager
def local_server(models: Path, *options: str) -> Iterator[Server]:
    """alexnet_tf.serve at free ports."""
    command = [sys.executable, "-m", "alexnet_tf.serve", "--model", str(models), "--rest-port=0", "--grpc-port=0"]
    process = subprocess.Popen(
        [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        process.stdout.close()  # nobody reads on, and the server must not mind
        found = re.search(r"serves at http://(\S+) .* and (\S+) \(gRPC\)", line)
        assert found, line
        yield Server(process, found[1], found[2])
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in errors, errors
    finally:
        process.kill()
        process.communicate()


@contextmanager
def tensorflow_model_server(models: Path) -> Iterator[Server]:
    """The real TensorFlow Serving."""
    program = shutil.which("tensorflow_model_server")
    assert program is not None
    command = [program, "--model_name=alexnet", f"--model_base_path={models}", "--port=8500", "--rest_api_port=8501"]
    process = subprocess.Popen(command)
    server = Server(process, "127.0.0.1:8501", "127.0.0.1:8500")
    try:
        for _ in range(600):
            assert process.poll() is None
            try:
                if server.call("/v1/models/alexnet")[1]["model_version_status"][0]["state"] == "AVAILABLE":
                    break
            except OSError:
                pass
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)


def b64(file: bytes) -> dict[str, str]:
    """A file as JSON has it, by TensorFlow Serving's form."""
    return {"b64": base64.b64encode(file).decode()}
