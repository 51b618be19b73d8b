"""Exports a trained run, or several as an ensemble, as a numbered SavedModel version for TensorFlow Serving.

With --format onnx or litert: the network alone, for other engines and for phones.
"""

import argparse
import sys
from pathlib import Path

from alexnet_tf.program.arguments import at_least
from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers


def main(argv: list[str]) -> int:
    """Writes one version and prints its folder."""
    outlive_readers()
    parser = argparse.ArgumentParser(prog="export.py", description=__doc__)
    parser.add_argument("--run", type=Path, action="append", required=True, help="a trained run; several: an ensemble")
    parser.add_argument("--out", type=Path, required=True, metavar="MODELS/alexnet", help="the model's folder")
    parser.add_argument("--version", type=at_least(1), metavar="N", help="default: one more than the highest there")
    parser.add_argument(
        "--keep",
        type=at_least(0),
        metavar="N",
        help="remove all other exports here but the highest and N more (default: keep all)",
    )
    parser.add_argument("--license", metavar="TEXT", help="of the weights; travels with the model")
    parser.add_argument(
        "--format", choices=("savedmodel", "onnx", "litert"), default="savedmodel",
        help="savedmodel takes picture files, for servers; onnx and litert take prepared pictures, for other engines "
        "and for phones (default: savedmodel)",
    )  # fmt: skip
    parser.add_argument("--checkpoint", choices=("best", "latest"), default="best")
    arguments = parser.parse_args(argv)
    for option, path in (*(("--run", run) for run in arguments.run), ("--out", arguments.out)):
        refuse_pattern(option, path)

    if arguments.format != "savedmodel":
        print(_export_other_format(arguments))
        return DONE
    from alexnet_tf.runs.run import open_run
    from alexnet_tf.serving.export import export_run  # late, so that --help needs no TensorFlow

    version = export_run(
        [open_run(path) for path in arguments.run], arguments.out, arguments.version, arguments.checkpoint,
        keep=arguments.keep, license_text=arguments.license, report=_tell,
    )  # fmt: skip
    print(version)
    return DONE


def _export_other_format(arguments: argparse.Namespace) -> Path:
    if len(arguments.run) > 1:
        raise UserError(f"--format {arguments.format} is for one net; give a single --run")
    from alexnet_tf.runs.run import open_run
    from alexnet_tf.serving.other_formats import export_other_format

    return export_other_format(
        open_run(arguments.run[0]), arguments.out, arguments.format, arguments.version, arguments.checkpoint,
        keep=arguments.keep, license_text=arguments.license, report=_tell,
    )  # fmt: skip


def _tell(line: str) -> None:
    print(line, file=sys.stderr)  # the folder alone goes to stdout, for scripts


if __name__ == "__main__":
    run_command(main)
