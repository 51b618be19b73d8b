"""An exported model: its network against other engines, and the server against calling the model directly.

    python -m benchmarks.serving --model MODELS/alexnet --images DIR [--onnx MODELS/onnx] [--rounds 7] [--json FILE]

Everything runs on this machine: the server as a process of its own at free ports of the loopback interface, and the
clients in this one, on the same cores. Load is bounded: each round sends `--pictures` pictures each way. Engines and
ways take turns within a round, so that a machine that slows down does so for all. First calls are not counted, nor is
the first call of an engine's turn, for the threads of the engine before it spin on for a while. With `--onnx`, the same
run exported with `--format onnx`, LitServe serves that with ONNX Runtime beside ours.
"""

import argparse
import contextlib
import importlib.util
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.serving.transport import GrpcTransport, RestTransport, Transport
from alexnet_tf.serving.versions import MODEL_FILES, newest_version, version_folders
from benchmarks.engines import engines_of
from benchmarks.report import (
    Figure,
    benchmark_parser,
    describe_machine,
    format_machine,
    format_table,
    in_turns,
    parse_options,
    whole_number,
    write_report,
)
from benchmarks.server_process import litserve_started, started

ENGINE_CALLS = {1: 25, 32: 5}
"""How many calls an engine's turn counts, by batch size."""
BATCH_SIZE = 32
"""Of direct calls where throughput is measured."""
CLIENTS = 16
"""Requests under way at a time where throughput is measured."""
PERCENTILES = (50, 95, 99)
Figures = dict[str, Figure]


def main(argv: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parse_options(_parser(), argv)
    version = newest_version(options.model)
    files = _files(options.images, options.pictures)
    if options.onnx and importlib.util.find_spec("litserve") is None:
        raise UserError("--onnx needs litserve, which is not installed: pip install litserve")
    machine = describe_machine()
    print(format_machine(machine))
    figures: Figures = {}
    for batch_size in ENGINE_CALLS:
        figures |= measure_engines(version, batch_size, options.rounds)
    figures |= measure_server(options.model, version, files, options.rounds, options.onnx)
    print(
        f"{version}, {len(files)} pictures of {options.images} a round, {options.rounds} rounds, seed {options.seed}\n"
        f"median of the rounds (lowest to highest)\n{format_table(list(figures.values()))}"
    )
    if options.json:
        settings = {"model": str(version), "pictures": len(files), "rounds": options.rounds, "seed": options.seed}
        write_report(options.json, "serving", settings, machine, figures)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = benchmark_parser("serving", __doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, metavar="MODELS/alexnet")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="picture files, anywhere below it")
    parser.add_argument(
        "--onnx", type=Path, metavar="MODELS/onnx", help="the same run as ONNX; LitServe serves it for comparison"
    )
    parser.add_argument("--pictures", type=whole_number, default=128, help="that a round sends (128)")
    return parser


def _newest_onnx(folder: Path) -> Path:
    for version in reversed(version_folders(folder).values()):
        if (version / MODEL_FILES["onnx"]).is_file():
            return version
    raise UserError(f"--onnx {folder} holds no {MODEL_FILES['onnx']}; alexnet-tf export --format onnx makes one")


def _files(folder: Path, count: int) -> list[bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise UserError(f"--images {folder} holds no .jpg, .jpeg or .png file")
    return [paths[number % len(paths)].read_bytes() for number in range(count)]


def measure_engines(version: Path, batch_size: int, rounds: int) -> Figures:
    """Milliseconds a call of each engine on the same random views, and every peer's time over TensorFlow's."""
    engines, missing = engines_of(version, batch_size)
    for line in missing:
        print(line)
    size = (batch_size, *tf.saved_model.load(str(version)).signatures["network"].inputs[0].shape[1:])
    views = np.random.default_rng(0).normal(0, 50, size).astype(np.float32)
    expected = engines["TensorFlow"](views)
    milliseconds: dict[str, list[float]] = {name: [] for name in engines}
    for name, engine in engines.items():
        if np.abs(engine(views) - expected).max() > 1e-4:
            raise RuntimeError(f"{name} finds other probabilities than TensorFlow")

    def turn(name: str) -> Callable[[], None]:
        def call() -> None:
            engines[name](views)

        def run() -> None:
            call()
            milliseconds[name].append(1e3 * _median_seconds(call, ENGINE_CALLS[batch_size]))

        return run

    for number in tqdm(range(rounds), unit="round", desc=f"engines, batch {batch_size}", disable=None, leave=False):
        in_turns(number, *(turn(name) for name in engines))
    own = milliseconds["TensorFlow"]
    figures = {
        f"{name}, batch {batch_size}": Figure(f"{name}, batch {batch_size}", "ms a call", times)
        for name, times in milliseconds.items()
    }
    for name, times in milliseconds.items():
        if name != "TensorFlow":
            title = f"{name} over TensorFlow, batch {batch_size}"
            figures[title] = Figure(title, "times", [peer / one for peer, one in zip(times, own, strict=True)])
    return figures


def _median_seconds(call: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure_server(model: Path, version: Path, files: list[bytes], rounds: int, onnx: Path | None) -> Figures:
    """Latency of one picture at a time, pictures a second under load, and the server's memory.

    Args:
      onnx: the folder of the same network as ONNX, for LitServe; None leaves that out.
    """
    direct = tf.saved_model.load(str(version)).signatures["serving_default"]
    values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def one_by_one(way: str, ask: Callable[[bytes], object]) -> Callable[[], None]:
        def turn() -> None:
            seconds = [_median_seconds(partial(ask, file), 1) for file in files]
            for percentile in PERCENTILES:
                values[f"{way}, p{percentile}", "ms"].append(1e3 * float(np.percentile(seconds, percentile)))

        return turn

    def rate(way: str, run: Callable[[], object]) -> Callable[[], None]:
        def turn() -> None:
            values[f"{way}, throughput", "images/s"].append(len(files) / _median_seconds(run, 1))

        return turn

    def in_batches() -> None:
        for start in range(0, len(files), BATCH_SIZE):
            direct(image_bytes=tf.constant(files[start : start + BATCH_SIZE]))

    with (
        started(model) as server,
        GrpcTransport(server.grpc, server.name, None, 60, 0) as grpc,
        RestTransport(server.rest, server.name, None, 60, 0) as rest,
        ThreadPoolExecutor(CLIENTS) as clients,
        contextlib.ExitStack() as peer,
    ):

        def at_a_time(transport: Transport) -> Callable[[], object]:
            return lambda: list(clients.map(lambda file: transport.predict([file]), files))

        sides = [
            one_by_one("direct call", lambda file: direct(image_bytes=tf.constant([file]))),
            one_by_one("gRPC", lambda file: grpc.predict([file])),
            one_by_one("REST", lambda file: rest.predict([file])),
            rate(f"direct call in batches of {BATCH_SIZE}", in_batches),
            rate(f"gRPC, {CLIENTS} at a time", at_a_time(grpc)),
            rate(f"REST, {CLIENTS} at a time", at_a_time(rest)),
        ]
        if onnx is not None:
            host = peer.enter_context(litserve_started(_newest_onnx(onnx)))
            litserve = peer.enter_context(RestTransport(host, onnx.name, None, 60, 0))
            _check_same(litserve, grpc, files)
            sides.append(one_by_one("LitServe, REST", lambda file: litserve.predict([file])))
            sides.append(rate(f"LitServe, REST, {CLIENTS} at a time", at_a_time(litserve)))
        in_turns(0, *sides)
        values.clear()
        for number in tqdm(range(rounds), unit="round", desc="server", disable=None, leave=False):
            in_turns(number, *sides)
            for title, key in (("server's memory", "VmRSS"), ("server's memory at most", "VmHWM")):
                values[title, "MB"].append(server.memory(key))
    return {title: Figure(title, unit, found) for (title, unit), found in values.items()}


def _check_same(peer: Transport, server: Transport, files: list[bytes]) -> None:
    """Both have to give the first pictures the same class and nearly its score: they resize by other libraries."""
    for file in files[:8]:
        (found,), (expected,) = peer.predict([file]), server.predict([file])
        if found.labels[0] != expected.labels[0] or abs(found.scores[0] - expected.scores[0]) > 0.05:
            raise RuntimeError(f"LitServe answers {found}, the server {expected}")


if __name__ == "__main__":
    run_command(main)
