"""Starts the workers of this machine, each as a process of its own, and ends them together.

Put before the command that trains, it runs that command once a worker, with TF_CONFIG telling each which one it is:

    alexnet-tf start-workers --local 4 -- alexnet-tf train --config paper --run runs/paper

Every line that a worker prints comes out with its index in front; where nobody reads them any more, the work continues.
SIGINT and SIGTERM go to all workers, which then save and stop; SIGHUP, of a closed terminal, reaches them as SIGTERM.
When one fails, the others, told by their own watch, end by themselves; one without any sign of work is killed. The exit
status is that of the first to fail.
"""

import argparse
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from alexnet_tf.program.arguments import command_parser, whole_number
from alexnet_tf.program.errors import UserError, run_command
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.program.stop_signals import STOP
from alexnet_tf.settings.cluster import workers_here
from alexnet_tf.settings.sections import DistributeConfig
from alexnet_tf.settings.values import WorkerAddress
from alexnet_tf.workers.local_workers import LocalWorkers, free_addresses


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the workers to their end."""
    arguments = _parser().parse_args(argv)
    outlive_readers()
    with STOP:  # names may have to be waited for
        if arguments.local:
            workers = free_addresses(arguments.local)
            here = list(range(len(workers)))
        else:
            workers = _addresses(arguments.workers)
            here = workers_here(workers, "--workers", DistributeConfig().timeout)
    return LocalWorkers(workers, here, arguments.command).run()


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("start-workers", __doc__)
    parser.usage = "%(prog)s [-h] (--local N | --workers HOST:PORT,...) -- COMMAND ..."
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--local", type=whole_number(1), metavar="N", help="start N workers, all on this machine")
    which.add_argument("--workers", metavar="HOST:PORT,...",
        help="all workers, those of other machines too; those of this machine are started")  # fmt: skip
    parser.add_argument("command", nargs="+", metavar="COMMAND",
        help="what each worker runs, as in alexnet-tf train ... or python train.py ...")  # fmt: skip
    return parser


def _addresses(text: str) -> tuple[str, ...]:
    try:
        return TypeAdapter(tuple[WorkerAddress, ...]).validate_python(tuple(text.split(",")))
    except ValidationError as fault:
        raise UserError(f"--workers: {fault.errors()[0]['input']!r} must read host:port") from fault


if __name__ == "__main__":
    run_command(main)
