"""The server from its start to its end: a model is loaded, both protocols listen, requests end, the process ends."""

import asyncio
import contextlib
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from alexnet_tf.local_server.batching import Batcher
from alexnet_tf.local_server.connections import TimedProtocol, most_connections
from alexnet_tf.local_server.memory import MEGABYTE, Budget
from alexnet_tf.local_server.metrics import Metrics
from alexnet_tf.local_server.options import ServerOptions
from alexnet_tf.local_server.rest import rest_app
from alexnet_tf.local_server.rpc import rpc_server
from alexnet_tf.local_server.served_model import ServedModel
from alexnet_tf.local_server.service import Service
from alexnet_tf.program.errors import DONE, FAULT, UserError

AFTER_GRACE = 5.0
"""Seconds for what is in the middle of something when the grace is over; then the process ends as it is."""

Report = Callable[[str], None]
"""Takes a line for whoever runs the server."""


def serve_model(folder: Path, name: str, options: ServerOptions, report: Report) -> int:
    """Serves until SIGINT or SIGTERM, then finishes what it has begun, if the grace is long enough for it.

    Args:
      folder: of the model's versions.
      name: the model's, as requests call it.
      options: where to listen, and the limits.
      report: gets a line when the server listens, when it stops, for each new version and each failure.

    Returns:
      The exit status.

    Raises:
      UserError: a port cannot be had, or there is no version to serve.
    """
    listener = _listen(options.host, options.rest_port)
    with listener:
        model = ServedModel(name, folder)
        for failure in model.failures:
            report(f"warning: {failure}")
        stop = threading.Event()
        watcher = threading.Thread(target=model.watch, args=(stop, options.poll, report), daemon=True)
        watcher.start()
        last = threading.Timer(options.grace + AFTER_GRACE, _end_at_once, (report,))  # to be started with the grace
        last.daemon = True
        try:
            return asyncio.run(_until_stopped(model, listener, options, last, report))
        finally:
            stop.set()
            watcher.join()  # inside TensorFlow it would abort the process at Python's end; `last` does not wait for it
            last.cancel()


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as fault:
        raise UserError(f"--rest-port {port}: cannot listen at {host}: {fault}; choose another") from fault
    # Connections inherit it. Without it an answer's body waits 40 ms until the client has confirmed the header.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _until_stopped(
    model: ServedModel, listener: socket.socket, options: ServerOptions, last: threading.Timer, report: Report
) -> int:
    loop = asyncio.get_running_loop()
    service = service_of(model, options, report)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, service.stopping.set)
    await serve(service, listener, options, last, report)
    return FAULT if service.batcher.fault else DONE


async def serve(
    service: Service, listener: socket.socket, options: ServerOptions, last: threading.Timer, report: Report
) -> None:
    """Serves until `service.stopping` is set, and then for the grace.

    Args:
      service: what is served.
      listener: REST's socket.
      options: as of `serve_model`.
      last: ends the process; started with the grace.
      report: as of `serve_model`.

    Raises:
      UserError: it cannot listen at gRPC's port.
    """
    connections = most_connections(options.max_requests)
    rpc = rpc_server(service, connections, report)
    host = f"[{options.host}]" if ":" in options.host else options.host
    try:
        grpc_port = rpc.add_insecure_port(f"{host}:{options.grpc_port}")
    except RuntimeError as fault:
        raise UserError(f"--grpc-port {options.grpc_port}: cannot listen at {host}; choose another") from fault
    await rpc.start()
    rest = _rest(service, options, connections, report)
    serving = asyncio.create_task(rest.serve([listener]))
    report(
        f"{service.model.name} version {service.model.number} serves at http://{host}:{listener.getsockname()[1]} "
        f"(REST and a page) and {host}:{grpc_port} (gRPC)"
    )
    stopped = asyncio.create_task(service.stopping.wait())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    service.stopping.set()
    last.start()
    await _stop(service, rest, serving, rpc, options.grace, report)


def service_of(model: ServedModel, options: ServerOptions, report: Report) -> Service:
    """A model with its limits, and the thread that runs it; to be made in the loop that serves it."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def report_end(fault: BaseException) -> None:
        report(f"error: the thread that runs the model has ended: {type(fault).__name__}: {fault}; the server ends")
        loop.call_soon_threadsafe(stopping.set)

    half = options.max_memory * MEGABYTE // 2
    metrics = Metrics()
    batcher = Batcher(options.max_batch, options.max_waiting, half, report_end, metrics.count_batch)
    max_bytes = int(options.max_body * MEGABYTE)
    return Service(model, batcher, Budget(half), metrics, max_bytes, options.max_requests, options.patience, stopping)


def _rest(service: Service, options: ServerOptions, connections: int, report: Report) -> "_Rest":
    hosts = ["localhost", socket.gethostname(), options.host, *options.allow_host]
    return _Rest(
        uvicorn.Config(
            rest_app(service, report, hosts), log_level="error", access_log=False, lifespan="off", ws="none",
            http=TimedProtocol.limited(options.patience, connections),
            timeout_graceful_shutdown=math.ceil(options.grace) + 1,
        )
    )  # fmt: skip


async def _stop(
    service: Service, rest: "_Rest", serving: asyncio.Task[Any], rpc: Any, grace: float, report: Report
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


def _end_at_once(report: Report) -> None:
    """Whatever is in the middle of something, TensorFlow for one, cannot be stopped in another way."""
    report("what is still running is given up")
    os._exit(DONE)


class _Rest(uvicorn.Server):
    """Leaves signals to this module, for gRPC has to stop as well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
