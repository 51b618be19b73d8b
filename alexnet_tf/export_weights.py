"""Writes a run of preset caffe or caffenet as Caffe's own files, for Caffe, OpenCV and whatever else reads those.

    alexnet-tf export-weights --run RUN --caffemodel net.caffemodel --prototxt net.prototxt

The other presets' networks have layers that Caffe has not: padding on two sides, LRN within a tower or inside maps.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.arguments import command_parser
from alexnet_tf.program.errors import DONE, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.program.whole_files import check_place
from alexnet_tf.runs.place import check_is_run


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the files and names them."""
    arguments = _parser().parse_args(argv)
    outlive_readers()
    refuse_pattern("--run", arguments.run)
    check_is_run(arguments.run)
    for path in (arguments.caffemodel, arguments.prototxt, arguments.mean):
        if path:
            check_place(path)

    from alexnet_tf.runs.run import open_run
    from alexnet_tf.serving.caffe_files import write_caffe_files

    run = open_run(arguments.run)
    write_caffe_files(run, arguments.checkpoint, arguments.caffemodel, arguments.prototxt, arguments.mean)
    for path in (arguments.caffemodel, arguments.prototxt, arguments.mean):
        if path:
            print(path)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("export-weights", __doc__)
    add = parser.add_argument
    add("--run", type=Path, required=True, metavar="RUN", help="a run of preset caffe or caffenet")
    add("--caffemodel", type=Path, required=True, metavar="FILE", help="where the weights are written")
    add("--prototxt", type=Path, metavar="FILE",
        help="where the network is described, for images (N, 3, 227, 227) in the order blue, green, red")  # fmt: skip
    add("--mean", type=Path, metavar="FILE", help="where the mean image to subtract is written, as .binaryproto")
    add("--checkpoint", choices=("best", "latest"), default="best",
        help="which weights: of the best validation error, or the last saved")  # fmt: skip
    return parser


if __name__ == "__main__":
    run_command(main)
