"""Serves an exported model on this machine, by TensorFlow Serving's own REST and gRPC interfaces.

    alexnet-tf serve --model models/alexnet

For trying things out, for tests, and for machines on which TensorFlow Serving cannot run; production belongs on
TensorFlow Serving itself. New versions in the model's folder are taken up without a failed request. SIGTERM or Ctrl-C
ends it once open requests are finished.
"""

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.local_server.options import ServerOptions
from alexnet_tf.program.arguments import command_parser, not_negative_number, positive_number, whole_number
from alexnet_tf.program.errors import run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.serving.versions import model_name

DEFAULTS = ServerOptions()


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM."""
    arguments = _parser().parse_args(argv)
    refuse_pattern("--model", arguments.model)

    from alexnet_tf.local_server.server import serve_model

    given = {name: value for name, value in vars(arguments).items() if name not in ("model", "name", "allow_host")}
    options = ServerOptions(**given, allow_host=tuple(arguments.allow_host))
    return serve_model(arguments.model, arguments.name or model_name(arguments.model), options, _report)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("serve", __doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="MODELS/alexnet",
        help="the model's folder of numbered versions, as alexnet-tf export makes it")  # fmt: skip
    add("--name", metavar="NAME", help="the model's name in requests (default: the folder's name)")
    add("--host", default=DEFAULTS.host, metavar="ADDRESS",
        help="address to listen at; 127.0.0.1 is reached from this machine only, 0.0.0.0 from all")  # fmt: skip
    add("--allow-host", action="append", default=[], metavar="NAME",
        help="a further host name under which REST may be asked, beside localhost and this machine's; * for any; may "
        "be given again")  # fmt: skip
    add("--rest-port", type=whole_number(0, 65_535), default=DEFAULTS.rest_port, metavar="PORT",
        help="port of REST and the page; 0 takes any free one")  # fmt: skip
    add("--grpc-port", type=whole_number(0, 65_535), default=DEFAULTS.grpc_port, metavar="PORT",
        help="port of gRPC; 0 takes any free one")  # fmt: skip
    add("--max-batch", type=whole_number(1), default=DEFAULTS.max_batch, metavar="N",
        help="at most so many pictures run together")  # fmt: skip
    add("--max-waiting", type=whole_number(1), default=DEFAULTS.max_waiting, metavar="N",
        help="at most so many pictures wait, half of them in one request")  # fmt: skip
    add("--max-memory", type=whole_number(100), default=DEFAULTS.max_memory, metavar="MB",
        help="megabytes for requests: half of them for those that wait, half for the batch that runs")  # fmt: skip
    add("--max-body", type=positive_number, default=DEFAULTS.max_body, metavar="MB",
        help="megabytes of the largest request")  # fmt: skip
    add("--max-requests", type=whole_number(1), default=DEFAULTS.max_requests, metavar="N",
        help="at most so many requests at a time, over both protocols")  # fmt: skip
    add("--poll", type=positive_number, default=DEFAULTS.poll, metavar="SECONDS",
        help="seconds between looks for new versions")  # fmt: skip
    add("--patience", type=positive_number, default=DEFAULTS.patience, metavar="SECONDS",
        help="seconds for a request's header, and until its body must come at 20 kB/s")  # fmt: skip
    add("--grace", type=not_negative_number, default=DEFAULTS.grace, metavar="SECONDS",
        help="seconds that open requests have to be finished after SIGTERM")  # fmt: skip
    return parser


def _report(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever read the first line may be gone; the server goes on
        print(line, flush=True)


if __name__ == "__main__":
    run_command(main)
