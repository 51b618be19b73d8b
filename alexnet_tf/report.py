"""Writes a run's report: one page on how it learned, what it confuses, what is inside it, and its model card.

alexnet-tf report --run runs/paper --out reports/paper

report.html needs nothing from elsewhere; each figure lies beside it as PNG and SVG, each number as CSV or JSON. Where
the data are gone, the page shows what can be shown without them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.arguments import add_split_and_views, command_parser, whole_number
from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.runs.place import check_is_run


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report and prints where it lies."""
    arguments = _parser().parse_args(argv)
    outlive_readers()
    refuse_pattern("--run", arguments.run)
    check_is_run(arguments.run)

    from alexnet_tf.reporting.report import Report
    from alexnet_tf.runs.run import open_run

    report = Report(
        open_run(arguments.run), arguments.data, arguments.out,
        which=arguments.checkpoint, split=arguments.split, views=arguments.views, searched=arguments.search,
    )  # fmt: skip
    print(f"the report is {report.write()}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("report", __doc__)
    add = parser.add_argument
    add("--run", type=Path, required=True, metavar="RUN", help="the run's folder; it may still be in training")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder to write in, made where it is missing")
    add("--data", type=Path, metavar="DATA",
        help="the folder of converted pictures (default: the run's own, as far as it is there)")  # fmt: skip
    add_split_and_views(parser)
    add("--checkpoint", choices=("best", "latest"), default="best",
        help="which weights: of the best validation error, or the last saved")  # fmt: skip
    add("--search", type=whole_number(1), default=10_000, metavar="N",
        help="how many training pictures are searched for the nearest to a picture")  # fmt: skip
    return parser


if __name__ == "__main__":
    run_command(main)
