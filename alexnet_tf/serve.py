"""Serves an exported model on this machine, by TensorFlow Serving's own REST and gRPC interfaces.

For trying things out, for tests, and for machines on which TensorFlow Serving cannot run; production belongs on
TensorFlow Serving itself. New versions in the model's folder are taken up without a failed request.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from alexnet_tf.program.arguments import at_least
from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern

if TYPE_CHECKING:
    from alexnet_tf.local_server.service import Service

MEGABYTE = 1_000_000


def main(argv: list[str]) -> int:
    """Serves until SIGINT or SIGTERM, then finishes what it has begun."""
    arguments = _parser().parse_args(argv)
    refuse_pattern("--model", arguments.model)

    from alexnet_tf.local_server.batching import Batcher  # late, so that --help needs no TensorFlow
    from alexnet_tf.local_server.served_model import ServedModel
    from alexnet_tf.local_server.service import Service

    listener = _listen(arguments.host, arguments.rest_port)
    with listener:
        model = ServedModel(arguments.name or arguments.model.resolve().name, arguments.model)
        for failure in model.failures:
            _report(f"warning: {failure}")
        batcher = Batcher(arguments.max_batch, arguments.max_waiting)
        service = Service(model, batcher, int(arguments.max_body * MEGABYTE), arguments.max_requests)
        stop = threading.Event()
        watcher = threading.Thread(target=model.watch, args=(stop, arguments.poll, _report), daemon=True)
        watcher.start()
        try:
            asyncio.run(_serve(service, listener, arguments))
        finally:
            stop.set()
            batcher.close()
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m alexnet_tf.serve", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="MODELS/alexnet", help="a folder of versions, from export.py")
    add("--name", help="the model's name (default: the folder's)")
    add("--host", default="127.0.0.1", help="address to listen at (127.0.0.1: this machine only)")
    add("--rest-port", type=int, default=8501, help="0 takes any free one (8501)")
    add("--grpc-port", type=int, default=8500, help="0 takes any free one (8500)")
    add("--max-batch", type=at_least(1), default=32, metavar="N", help="pictures that run together at most (32)")
    add("--max-waiting", type=at_least(1), default=1024, metavar="N", help="pictures that may wait (1024)")
    add("--max-body", type=float, default=40, metavar="MB", help="largest request (40)")
    add("--max-requests", type=at_least(1), default=128, metavar="N", help="at a time, over either protocol (128)")
    add("--poll", type=float, default=2.0, metavar="SECONDS", help="time between looks for new versions (2)")
    add("--grace", type=float, default=30.0, metavar="SECONDS", help="time for open requests after SIGTERM (30)")
    return parser


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as fault:
        raise UserError(f"--rest-port {port}: cannot listen at {host}: {fault}; choose another") from fault
    # Connections inherit it. Without it an answer's body waits 40 ms until the client has confirmed the header.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _serve(service: "Service", listener: socket.socket, arguments: argparse.Namespace) -> None:
    from alexnet_tf.local_server.rest import rest_app
    from alexnet_tf.local_server.rpc import rpc_server

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    rpc = rpc_server(service)
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    try:
        grpc_port = rpc.add_insecure_port(f"{host}:{arguments.grpc_port}")
    except (RuntimeError, OverflowError) as fault:
        raise UserError(f"--grpc-port {arguments.grpc_port}: cannot listen at {host}; choose another") from fault
    await rpc.start()
    rest = _Rest(
        uvicorn.Config(
            rest_app(service), log_level="warning", access_log=False, lifespan="off",
            limit_concurrency=arguments.max_requests, timeout_graceful_shutdown=int(arguments.grace),
        )
    )  # fmt: skip
    serving = asyncio.create_task(rest.serve([listener]))
    version = service.model.version(service.model.name, None).number
    _report(
        f"{service.model.name} version {version} serves at http://{host}:{listener.getsockname()[1]} (REST and a page) "
        f"and {host}:{grpc_port} (gRPC)"
    )
    await asyncio.wait([serving, asyncio.create_task(stopped.wait())], return_when=asyncio.FIRST_COMPLETED)
    _report("stopping: open requests are finished first")
    rest.should_exit = True
    await asyncio.gather(serving, rpc.stop(arguments.grace))


class _Rest(uvicorn.Server):
    """Leaves signals to this module, for gRPC has to stop as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _report(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever read the first line may be gone; the server goes on
        print(line, flush=True)


if __name__ == "__main__":
    run_command(main)
