"""Serves an exported model on this machine, by TensorFlow Serving's own REST and gRPC interfaces.

For trying things out, for tests, and for machines on which TensorFlow Serving cannot run; production belongs on
TensorFlow Serving itself. New versions in the model's folder are taken up without a failed request.
"""

import argparse
import asyncio
import contextlib
import math
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from alexnet_tf.program.arguments import at_least
from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from alexnet_tf.program.interrupts import heard
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.serving.versions import model_name

if TYPE_CHECKING:
    from alexnet_tf.local_server.served_model import ServedModel
    from alexnet_tf.local_server.service import Service

MEGABYTE = 1_000_000
AFTER_GRACE = 5.0
"""Seconds for what is in the middle of something when the grace is over; then the process ends as it is."""
CONNECTIONS = 8
"""Times as many connections as requests may be open."""


def main(argv: list[str]) -> int:
    """Serves until SIGINT or SIGTERM, then finishes what it has begun, if the grace is long enough for it."""
    arguments = parser().parse_args(argv)
    refuse_pattern("--model", arguments.model)

    from alexnet_tf.local_server.served_model import ServedModel  # late, so that --help needs no TensorFlow

    listener = _listen(arguments.host, arguments.rest_port)
    with listener:
        model = ServedModel(arguments.name or model_name(arguments.model), arguments.model)
        for failure in model.failures:
            _report(f"warning: {failure}")
        stop = threading.Event()
        watcher = threading.Thread(target=model.watch, args=(stop, arguments.poll, _report), daemon=True)
        watcher.start()
        last = threading.Timer(arguments.grace + AFTER_GRACE, _end_at_once)  # to be started with the grace
        last.daemon = True
        try:
            return asyncio.run(_serve(model, listener, arguments, last))
        finally:
            stop.set()
            watcher.join()  # inside TensorFlow it would abort the process at Python's end; `last` does not wait for it
            last.cancel()


def parser() -> argparse.ArgumentParser:
    """Of the command."""
    made = argparse.ArgumentParser(prog="python -m alexnet_tf.serve", description=__doc__)
    add = made.add_argument
    add("--model", type=Path, required=True, metavar="MODELS/alexnet", help="a folder of versions, from export.py")
    add("--name", help="the model's name (default: the folder's)")
    add("--host", default="127.0.0.1", help="address to listen at (127.0.0.1: this machine only)")
    add("--allow-host", action="append", default=[], metavar="NAME",
        help="a further name to ask REST under, beside localhost and this machine's; * for any")  # fmt: skip
    add("--rest-port", type=int, default=8501, help="0 takes any free one (8501)")
    add("--grpc-port", type=int, default=8500, help="0 takes any free one (8500)")
    add("--max-batch", type=at_least(1), default=32, metavar="N", help="pictures that run together at most (32)")
    add("--max-waiting", type=at_least(1), default=1024, metavar="N",
        help="pictures that may wait, half of them in one request (1024)")  # fmt: skip
    add("--max-memory", type=at_least(100), default=2000, metavar="MB",
        help="for requests: half of it for those that wait, half for the batch that runs (2000)")  # fmt: skip
    add("--max-body", type=float, default=40, metavar="MB", help="largest request (40)")
    add("--max-requests", type=at_least(1), default=128, metavar="N", help="at a time, over both protocols (128)")
    add("--poll", type=float, default=2.0, metavar="SECONDS", help="time between looks for new versions (2)")
    add("--patience", type=float, default=10.0, metavar="SECONDS",
        help="time for a request's header, and until its body must come at 20 kB/s (10)")  # fmt: skip
    add("--grace", type=float, default=30.0, metavar="SECONDS", help="time for open requests after SIGTERM (30)")
    return made


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as fault:
        raise UserError(f"--rest-port {port}: cannot listen at {host}: {fault}; choose another") from fault
    # Connections inherit it. Without it an answer's body waits 40 ms until the client has confirmed the header.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _serve(
    model: "ServedModel", listener: socket.socket, arguments: argparse.Namespace, last: threading.Timer
) -> int:
    loop = asyncio.get_running_loop()
    service = service_of(model, arguments, _report)
    for number in heard():
        loop.add_signal_handler(number, service.stopping.set)
    await serve(service, listener, arguments, last, _report)
    return FAULT if service.batcher.fault else DONE


async def serve(
    service: "Service",
    listener: socket.socket,
    arguments: argparse.Namespace,
    last: threading.Timer,
    report: Callable[[str], None],
) -> None:
    """Serves until `service.stopping` is set, and then for the grace.

    Args:
      service: what is served.
      listener: REST's socket.
      arguments: of the command.
      last: ends the process; started with the grace.
      report: gets a line when the server listens, when it stops, and for each failure.

    Raises:
      UserError: it cannot listen at gRPC's port.
    """
    from alexnet_tf.local_server.rpc import rpc_server

    rpc = rpc_server(service, report)
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    try:
        grpc_port = rpc.add_insecure_port(f"{host}:{arguments.grpc_port}")
    except (RuntimeError, OverflowError) as fault:
        raise UserError(f"--grpc-port {arguments.grpc_port}: cannot listen at {host}; choose another") from fault
    await rpc.start()
    rest = _rest(service, arguments, report)
    serving = asyncio.create_task(rest.serve([listener]))
    report(
        f"{service.model.name} version {service.model.number} serves at http://{host}:{listener.getsockname()[1]} "
        f"(REST and a page) and {host}:{grpc_port} (gRPC)"
    )
    stopped = asyncio.create_task(service.stopping.wait())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    service.stopping.set()
    last.start()
    await _stop(service, rest, serving, rpc, arguments.grace, report)


def service_of(model: "ServedModel", arguments: argparse.Namespace, report: Callable[[str], None]) -> "Service":
    """A model with the command's limits, and the thread that runs it; to be made in the loop that serves it."""
    from alexnet_tf.local_server.batching import Batcher
    from alexnet_tf.local_server.memory import Budget
    from alexnet_tf.local_server.metrics import Metrics
    from alexnet_tf.local_server.service import Service

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def report_end(fault: BaseException) -> None:
        report(f"error: the thread that runs the model has ended: {type(fault).__name__}: {fault}; the server ends")
        loop.call_soon_threadsafe(stopping.set)

    half = arguments.max_memory * MEGABYTE // 2
    metrics = Metrics()
    batcher = Batcher(arguments.max_batch, arguments.max_waiting, half, report_end, metrics.count_batch)
    max_bytes = int(arguments.max_body * MEGABYTE)
    return Service(
        model, batcher, Budget(half), metrics, max_bytes, arguments.max_requests, arguments.patience, stopping
    )


def _rest(service: "Service", arguments: argparse.Namespace, report: Callable[[str], None]) -> "_Rest":
    from alexnet_tf.local_server.connections import TimedProtocol
    from alexnet_tf.local_server.rest import rest_app

    hosts = ["localhost", socket.gethostname(), arguments.host, *arguments.allow_host]
    return _Rest(
        uvicorn.Config(
            rest_app(service, report, hosts), log_level="error", access_log=False, lifespan="off", ws="none",
            http=TimedProtocol.limited(arguments.patience, CONNECTIONS * arguments.max_requests),
            timeout_graceful_shutdown=math.ceil(arguments.grace) + 1,
        )
    )  # fmt: skip


async def _stop(
    service: "Service",
    rest: "_Rest",
    serving: asyncio.Task[Any],
    rpc: Any,
    grace: float,
    report: Callable[[str], None],
) -> None:
    """Finishes open requests within the grace, and turns away the others."""
    report("stopping: open requests are finished first")
    rest.should_exit = True
    ending = asyncio.gather(serving, rpc.stop(grace))
    done, _ = await asyncio.wait([ending], timeout=grace)
    if not done:
        report(f"requests that were not finished in {grace:g} s are turned away")
    service.batcher.close()
    await ending
    await asyncio.to_thread(service.batcher.join)


def _end_at_once() -> None:
    """Whatever is in the middle of something, TensorFlow for one, cannot be stopped in another way."""
    _report("what is still running is given up")
    os._exit(DONE)


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
