"""Starts the workers of this machine, each as a process of its own, and ends them together.

Put before `train.py`'s own command, it runs that command once a worker, with TF_CONFIG telling each which one it is:

    python -m alexnet_tf.start_workers --local 4 -- python train.py --config ... --run ...

Every line that a worker prints comes out with its index in front; where nobody reads them any more, the work continues.
SIGINT and SIGTERM go to all workers, which then save and stop; SIGHUP, of a closed terminal, reaches them as SIGTERM.
When one fails, the others, told by their own watch, end by themselves; one without any sign of work is killed. The exit
status is that of the first to fail.
"""

import argparse

from pydantic import TypeAdapter, ValidationError

from alexnet_tf.program.arguments import at_least
from alexnet_tf.program.errors import UserError, run_command
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.program.stop_signals import STOP
from alexnet_tf.settings.cluster import workers_here
from alexnet_tf.settings.sections import DistributeConfig
from alexnet_tf.settings.values import WorkerAddress
from alexnet_tf.workers.local_workers import LocalWorkers, free_addresses


def main(argv: list[str]) -> int:
    """Runs the workers to their end."""
    outlive_readers()
    arguments = _parser().parse_args(argv)
    with STOP:  # names may have to be waited for
        if arguments.local:
            workers = free_addresses(arguments.local)
            here = list(range(len(workers)))
        else:
            workers = _addresses(arguments.workers)
            here = workers_here(workers, "--workers", DistributeConfig().timeout)
    return LocalWorkers(workers, here, arguments.command).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_tf.start_workers", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--local", type=at_least(1), metavar="N", help="N workers, all on this machine")
    which.add_argument(
        "--workers",
        metavar="HOST:PORT,...",
        help="all workers, those of other machines too; starts the ones of this one",
    )
    parser.add_argument("command", nargs="+", metavar="-- COMMAND", help="what each runs, as in python train.py ...")
    return parser


def _addresses(text: str) -> tuple[str, ...]:
    try:
        return TypeAdapter(tuple[WorkerAddress, ...]).validate_python(tuple(text.split(",")))
    except ValidationError as fault:
        raise UserError(f"--workers: {fault.errors()[0]['input']!r} must read host:port") from fault


if __name__ == "__main__":
    run_command(main)
