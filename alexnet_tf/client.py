"""Asks a model server (TensorFlow Serving, or alexnet-tf serve) what is on pictures, over gRPC or REST.

alexnet-tf client cat.jpg dog.png --server localhost:8500
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from alexnet_tf.program.arguments import command_parser, positive_number, whole_number
from alexnet_tf.program.errors import DONE, FAULT, UserError, run_command
from alexnet_tf.serving.answers import add_form, add_images, answers_in

REST_PORT = "8501"
"""TensorFlow Serving's usual port for REST; at any other, gRPC is spoken unless told otherwise."""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what the server names; status 1 if it could not name every picture."""
    arguments = _parser().parse_args(argv)
    host, _, port = arguments.server.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:  # as in http://localhost:8501
        raise UserError(f"--server {arguments.server}: give HOST:PORT, such as localhost:8500")
    rest = arguments.protocol == "rest" or (arguments.protocol is None and port == REST_PORT)

    from alexnet_tf.serving.asking import ask
    from alexnet_tf.serving.transport import GrpcTransport, RestTransport

    answers: dict[str, list[dict[str, Any]]] = {}
    faults: list[str] = []
    refused: UserError | None = None
    kind = RestTransport if rest else GrpcTransport
    most = int(arguments.max_message * 1_000_000)
    with kind(arguments.server, arguments.model, arguments.version, arguments.timeout, arguments.retries) as transport:
        try:
            for path, answer in ask(transport, arguments.images, arguments.batch, most, faults.append):
                answers[path] = answer[: arguments.top]
        except UserError as fault:
            refused = fault  # what has been answered is printed first
    if (answers or refused is None) and (text := answers_in(arguments.form, answers)):
        print(text)
    for line in faults:
        print(f"error: {line}", file=sys.stderr)
    if refused is not None:
        raise refused
    return FAULT if faults else DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("client", __doc__)
    add = parser.add_argument
    add_images(parser)
    add("--server", required=True, metavar="HOST:PORT",
        help="where the server listens; TensorFlow Serving has port 8500 for gRPC and 8501 for REST")  # fmt: skip
    protocol = parser.add_mutually_exclusive_group()
    protocol.add_argument("--grpc", dest="protocol", action="store_const", const="grpc",
        help=f"ask over gRPC (default, but at port {REST_PORT})")  # fmt: skip
    protocol.add_argument("--rest", dest="protocol", action="store_const", const="rest",
        help=f"ask over REST (default at port {REST_PORT})")  # fmt: skip
    add("--model", default="alexnet", metavar="NAME", help="the model's name at the server")
    add("--version", type=whole_number(1), metavar="N",
        help="the model's version (default: the one that the server takes, usually the newest)")  # fmt: skip
    add("--batch", type=whole_number(1), default=32, metavar="N", help="at most so many pictures in a request")
    add("--max-message", type=positive_number, default=32, metavar="MB", help="megabytes of the largest request")
    add("--timeout", type=positive_number, default=60, metavar="SECONDS",
        help="seconds for a request with all its retries")  # fmt: skip
    add("--retries", type=whole_number(0), default=4, metavar="N",
        help="further tries of a request that finds the server unavailable")  # fmt: skip
    add("--top", type=whole_number(1), default=5, metavar="N", help="how many classes to name of each picture, up to 5")
    add_form(parser)
    return parser


if __name__ == "__main__":
    run_command(main)
