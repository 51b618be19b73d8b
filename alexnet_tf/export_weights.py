"""Writes a run of preset "caffe" or "caffenet" as Caffe's own file, for Caffe, OpenCV and whatever else reads those.

    python -m alexnet_tf.export_weights --run RUN --caffemodel F [--prototxt F] [--mean F]

The other presets' networks have layers that Caffe has not: padding on two sides, LRN within a tower or inside maps.
"""

import argparse
from pathlib import Path

from alexnet_tf.evaluation.trained_network import trained_network
from alexnet_tf.networks.network import named_variables
from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers
from alexnet_tf.program.whole_files import check_place, write_whole
from alexnet_tf.runs.run import open_run
from alexnet_tf.towers import Towers
from alexnet_tf.weights.caffe_net import NET_NAMES, caffe_layers, prototxt
from alexnet_tf.weights.caffemodel import write_caffemodel, write_mean_image
from alexnet_tf.weights.layouts import CAFFE, to_published


def main(argv: list[str]) -> int:
    """Writes the files and names them."""
    outlive_readers()
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_tf.export_weights", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--run", type=Path, required=True, help="a run of preset caffe or caffenet")
    parser.add_argument("--caffemodel", type=Path, required=True, metavar="F", help="the weights")
    parser.add_argument("--prototxt", type=Path, metavar="F", help="the network, for images (N, 3, 227, 227), BGR")
    parser.add_argument("--mean", type=Path, metavar="F", help="the mean image to subtract, as .binaryproto")
    parser.add_argument("--checkpoint", choices=("best", "latest"), default="best")
    arguments = parser.parse_args(argv)
    refuse_pattern("--run", arguments.run)
    files = [path for path in (arguments.caffemodel, arguments.prototxt, arguments.mean) if path]
    for path in files:
        check_place(path)
    run = open_run(arguments.run)
    preset = run.config.model.preset
    if preset not in NET_NAMES:
        raise UserError(f"run {run.path} has preset {preset}; Caffe's layers can express caffe and caffenet only")
    model, _ = trained_network(run, Towers.unplaced(), arguments.checkpoint)
    values = {name: variable.numpy() for name, variable in named_variables(model).items()}
    layers = caffe_layers(preset, to_published(values, CAFFE))
    write_caffemodel(arguments.caffemodel, NET_NAMES[preset], layers)
    if arguments.prototxt:
        write_whole(arguments.prototxt, prototxt(NET_NAMES[preset], layers).encode())
    if arguments.mean:
        write_mean_image(arguments.mean, run.statistics.mean_image)
    for path in files:
        print(path)
    return DONE


if __name__ == "__main__":
    run_command(main)
