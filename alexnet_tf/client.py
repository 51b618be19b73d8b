"""Asks a model server (TensorFlow Serving, or alexnet_tf.serve) what is on pictures, over gRPC or REST."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alexnet_tf.program.arguments import at_least
from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from alexnet_tf.serving.answers import add_form, answers_in
from alexnet_tf.serving.given_pictures import picture_for_model, picture_paths
from alexnet_tf.serving.transport import GrpcTransport, RestTransport, Transport

REST_PORT = "8501"
"""TensorFlow Serving's usual port for REST; at any other, gRPC is spoken unless told otherwise."""


def main(argv: list[str]) -> int:
    """Prints what the server names; status 1 if it could not name every picture."""
    arguments = _parser().parse_args(argv)
    host, _, port = arguments.server.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--server {arguments.server}: give HOST:PORT, such as localhost:8500")
    rest = arguments.protocol == "rest" or (arguments.protocol is None and port == REST_PORT)
    answers: dict[str, list[dict[str, Any]]] = {}
    faults: list[str] = []
    refused: UserError | None = None
    kind = RestTransport if rest else GrpcTransport
    with kind(arguments.server, arguments.model, arguments.version, arguments.timeout, arguments.retries) as transport:
        try:
            most = int(arguments.max_message * 1_000_000)
            files = _readable(picture_paths(arguments.images, faults), most, transport, faults)
            for batch in batches(files, arguments.batch, most, transport):
                _ask(transport, batch, arguments.top, answers, faults)
        except UserError as fault:
            refused = fault  # what has been answered is printed first
    if answers or refused is None:
        print(answers_in(arguments.form, answers))
    for line in faults:
        print(f"error: {line}", file=sys.stderr)
    if refused is not None:
        raise refused
    return FAULT if faults else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m alexnet_tf.client", description=__doc__)
    add = parser.add_argument
    add("images", type=Path, nargs="+", metavar="IMAGE", help="file, folder or quoted pattern")
    add(
        "--server", required=True, metavar="HOST:PORT", help="TensorFlow Serving listens at 8500 (gRPC) and 8501 (REST)"
    )
    protocol = parser.add_mutually_exclusive_group()
    protocol.add_argument("--grpc", dest="protocol", action="store_const", const="grpc", help="(default)")
    protocol.add_argument(
        "--rest", dest="protocol", action="store_const", const="rest", help=f"(default at port {REST_PORT})"
    )
    add("--model", default="alexnet", metavar="NAME", help="the model's name at the server (alexnet)")
    add("--version", type=int, metavar="N", help="default: the one that the server takes")
    add("--batch", type=at_least(1), default=32, metavar="N", help="pictures in a request at most (32)")
    add("--max-message", type=float, default=32, metavar="MB", help="largest request (32)")
    add("--timeout", type=float, default=60, metavar="SECONDS", help="for a request with all its retries (60)")
    add(
        "--retries", type=at_least(0), default=4, metavar="N", help="of a request that finds the server unavailable (4)"
    )
    add("--top", type=at_least(1), default=5, help="classes a picture, up to 5")
    add_form(parser)
    return parser


def _readable(
    paths: Iterable[Path], max_bytes: int, transport: Transport, faults: list[str]
) -> Iterator[tuple[str, bytes]]:
    """The picture files that can be read and sent, each with its path; `faults` gets a line for each of the others."""
    for path in paths:
        try:
            file = picture_for_model(path)
        except UserError as fault:
            faults.append(str(fault))
            continue
        own = transport.wire_size(file)
        if own + transport.overhead <= max_bytes:
            yield str(path), file
        else:
            faults.append(f"picture {path} takes {own} bytes, --max-message allows {max_bytes}; raise it or shrink it")


def batches(
    files: Iterable[tuple[str, bytes]], count: int, max_bytes: int, transport: Transport
) -> Iterator[list[tuple[str, bytes]]]:
    """Cuts the pictures, each with its path, into requests of at most `count` pictures and `max_bytes` on the wire."""
    batch: list[tuple[str, bytes]] = []
    size = transport.overhead
    for path, file in files:
        own = transport.wire_size(file)
        if batch and (len(batch) == count or size + own > max_bytes):
            yield batch
            batch, size = [], transport.overhead
        batch.append((path, file))
        size += own
    if batch:
        yield batch


def _ask(
    transport: Transport,
    batch: list[tuple[str, bytes]],
    top: int,
    answers: dict[str, list[dict[str, Any]]],
    faults: list[str],
) -> None:
    for (path, _), answer in zip(batch, transport.predict([file for _, file in batch]), strict=True):
        if answer.status != "ok":
            faults.append(f"picture {path}: {answer.status}")
            continue
        named = zip(answer.labels, answer.classes, answer.scores, strict=True)
        answers[path] = [
            {"label": label, "name": name, "probability": round(score, 6)} for label, name, score in list(named)[:top]
        ]


if __name__ == "__main__":
    run_command(main)
