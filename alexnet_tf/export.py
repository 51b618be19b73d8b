"""Exports a trained run, or several as an ensemble, as a numbered version of a SavedModel for TensorFlow Serving.

    alexnet-tf export --run runs/paper --out models/alexnet

With --format onnx or litert: of the network alone, for other engines and for phones. The folder of the new version is
printed on stdout, all else on stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.arguments import command_parser, whole_number
from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.runs.place import check_is_run
from alexnet_tf.serving.versions import MOST_EXAMPLES


def main(argv: Sequence[str] | None = None) -> int:
    """Writes one version and prints its folder."""
    arguments = _parser().parse_args(argv)
    outlive_readers()
    for option, path in (*(("--run", run) for run in arguments.run), ("--out", arguments.out)):
        refuse_pattern(option, path)
    for run in arguments.run:
        check_is_run(run)

    if arguments.format != "savedmodel":
        print(_export_other_format(arguments))
        return DONE

    from alexnet_tf.runs.run import open_run
    from alexnet_tf.serving.export import export_run

    version = export_run(
        [open_run(path) for path in arguments.run], arguments.out, arguments.version, arguments.checkpoint,
        keep=arguments.keep, license_text=arguments.license, examples=arguments.examples, report=_tell,
    )  # fmt: skip
    print(version)
    return DONE


def _export_other_format(arguments: argparse.Namespace) -> Path:
    if len(arguments.run) > 1:
        raise UserError(f"--format {arguments.format} is for one net; give a single --run")
    if arguments.examples:
        raise UserError(f"--examples is for a server's page; leave it out with --format {arguments.format}")

    from alexnet_tf.runs.run import open_run
    from alexnet_tf.serving.other_formats import export_other_format

    return export_other_format(
        open_run(arguments.run[0]), arguments.out, arguments.format, arguments.version, arguments.checkpoint,
        keep=arguments.keep, license_text=arguments.license, report=_tell,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("export", __doc__)
    add = parser.add_argument
    add("--run", type=Path, action="append", required=True, metavar="RUN",
        help="a trained run's folder; give it again for each further net of an ensemble")  # fmt: skip
    add("--out", type=Path, required=True, metavar="MODELS/alexnet",
        help="the model's folder, in which the version becomes a folder of its own")  # fmt: skip
    add("--version", type=whole_number(1), metavar="N",
        help="the version's number (default: one more than the highest in the folder)")  # fmt: skip
    add("--keep", type=whole_number(0), metavar="N",
        help="remove other exports from the folder, but for the highest and N more (default: keep all)")  # fmt: skip
    add("--license", metavar="TEXT", help="the weights' license, a text that travels with the model (default: none)")
    add("--examples", type=whole_number(0, MOST_EXAMPLES), default=0, metavar="N",
        help="put N validation pictures of the run's data into the model, for the page of alexnet-tf serve to offer "
        "(default: 0: whoever gets the model gets them, too)")  # fmt: skip
    add("--checkpoint", choices=("best", "latest"), default="best",
        help="which weights: of the best validation error, or the last saved")  # fmt: skip
    add("--format", choices=("savedmodel", "onnx", "litert"), default="savedmodel",
        help="savedmodel takes picture files, for servers; onnx and litert take prepared pictures, for other engines "
        "and for phones (default: savedmodel)")  # fmt: skip
    return parser


def _tell(line: str) -> None:
    print(line, file=sys.stderr)  # the folder alone goes to stdout, for scripts


if __name__ == "__main__":
    run_command(main)
