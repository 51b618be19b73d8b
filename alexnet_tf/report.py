"""Writes a run's report: learning curves, errors, filters, answers, placement and the model card, on one page.

report.html needs nothing from elsewhere; every figure lies beside it as PNG and SVG, every number as CSV or JSON.
"""

import argparse
import sys
from pathlib import Path

from alexnet_tf.program.arguments import at_least
from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers


def main(argv: list[str] | None = None) -> int:
    """Writes the report and prints where it lies."""
    outlive_readers()
    parser = argparse.ArgumentParser(prog="python -m alexnet_tf.report", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a trained run, or one in training")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write in")
    parser.add_argument(
        "--data", type=Path, help="folder of converted pictures (default: the run's; without any, less is shown)"
    )
    parser.add_argument("--split", default="val", help="of the data, to be evaluated (val)")
    parser.add_argument("--views", type=int, choices=(1, 10), default=1, help="center crop, or the paper's ten views")
    parser.add_argument("--checkpoint", choices=("best", "latest"), default="best")
    parser.add_argument(
        "--search", type=at_least(1), default=10_000, metavar="N",
        help="how many training pictures are searched for neighbors (10000)",
    )  # fmt: skip
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)
    refuse_pattern("--run", arguments.run)

    from alexnet_tf.reporting.report import Report
    from alexnet_tf.runs.run import open_run  # late, so that --help needs no TensorFlow

    report = Report(
        open_run(arguments.run), arguments.data, arguments.out,
        which=arguments.checkpoint, split=arguments.split, views=arguments.views, searched=arguments.search,
    )  # fmt: skip
    print(f"the report is in {report.write()}")
    return DONE


if __name__ == "__main__":
    run_command(main)
