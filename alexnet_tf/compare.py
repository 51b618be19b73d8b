"""Compares runs: their curves over each other, their error rates with 95 % intervals, and McNemar's test of each two.

    alexnet-tf compare runs/with runs/without --out reports/compared

Without --out it prints the figures alone. Each run is evaluated on its own validation pictures; where those of two runs
differ, it says so and tests nothing.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.arguments import add_split_and_views, command_parser
from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.runs.place import check_is_run


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what was found and, where asked, writes the page."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    outlive_readers()
    if len(arguments.runs) < 2:
        parser.error("give two runs or more")
    for path in arguments.runs:
        refuse_pattern("RUN", path)
        check_is_run(path)

    from alexnet_tf.reporting.comparison import Comparison
    from alexnet_tf.reporting.files import refuse_folder
    from alexnet_tf.runs.run import open_run

    if arguments.out:
        refuse_folder(arguments.out)
    comparison = Comparison(
        [open_run(path) for path in arguments.runs], arguments.data,
        which=arguments.checkpoint, split=arguments.split, views=arguments.views,
    )  # fmt: skip
    page = comparison.write(arguments.out) if arguments.out else None
    print("\n".join(comparison.lines))
    if page:
        print(f"the comparison is {page}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("compare", __doc__)
    add = parser.add_argument
    add("runs", type=Path, nargs="+", metavar="RUN", help="a run's folder; two or more of them")
    add("--out", type=Path, metavar="DIR",
        help="the folder for the page, its figures and tables, made where it is missing")  # fmt: skip
    add("--data", type=Path, metavar="DATA",
        help="the folder of converted pictures for all of them (default: each run's own)")  # fmt: skip
    add_split_and_views(parser)
    add("--checkpoint", choices=("best", "latest"), default="best",
        help="which weights of each run: of the best validation error, or the last saved")  # fmt: skip
    return parser


if __name__ == "__main__":
    run_command(main)
