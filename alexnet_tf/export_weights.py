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
from alexnet_tf.program.whole_files import write_whole
from alexnet_tf.runs.run import open_run
from alexnet_tf.towers import Towers
from alexnet_tf.weights.caffemodel import CaffeLayer, write_caffemodel, write_mean_image
from alexnet_tf.weights.layouts import CAFFE, LayerWeights, to_published

NET_NAMES = {"caffe": "AlexNet", "caffenet": "CaffeNet"}
"""By preset, as the published files have them."""
LAYER_ORDER = {
    "caffe": "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2",
    "caffenet": "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2",
}
LAYER_ORDER_AFTER = "conv3 relu3 conv4 relu4 conv5 relu5 pool5 fc6 relu6 drop6 fc7 relu7 drop7 fc8 prob"
TYPES = {
    "conv": "Convolution", "relu": "ReLU", "norm": "LRN", "pool": "Pooling", "fc": "InnerProduct", "drop": "Dropout",
    "prob": "Softmax",
}  # fmt: skip
SETTINGS = {
    "conv1": "convolution_param { num_output: 96 kernel_size: 11 stride: 4 }",
    "conv2": "convolution_param { num_output: 256 kernel_size: 5 pad: 2 group: 2 }",
    "conv3": "convolution_param { num_output: 384 kernel_size: 3 pad: 1 }",
    "conv4": "convolution_param { num_output: 384 kernel_size: 3 pad: 1 group: 2 }",
    "conv5": "convolution_param { num_output: 256 kernel_size: 3 pad: 1 group: 2 }",
    "norm": "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }",
    "pool": "pooling_param { pool: MAX kernel_size: 3 stride: 2 }",
    "drop": "dropout_param { dropout_ratio: 0.5 }",
}
"""In a prototxt, by layer or by kind of layer."""


def main(argv: list[str]) -> int:
    """Writes the files and names them."""
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
    for path in (arguments.caffemodel, arguments.prototxt, arguments.mean):
        if path:
            print(path)
    return DONE


def caffe_layers(preset: str, weights: dict[str, LayerWeights]) -> list[CaffeLayer]:
    """The whole net in Caffe's terms, each layer feeding the next; ReLU and dropout work in place."""
    layers = []
    source = "data"
    for name in f"{LAYER_ORDER[preset]} {LAYER_ORDER_AFTER}".split():
        kind = name.rstrip("12345678")
        result = source if kind in ("relu", "drop") else name
        layers.append(CaffeLayer(name, TYPES[kind], (source,), (result,), weights.get(name, ())))
        source = result
    return layers


def prototxt(net_name: str, layers: list[CaffeLayer]) -> str:
    """The net's text form, for classifying."""
    lines = [
        f'name: "{net_name}"',
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 227 dim: 227 } } }',
    ]
    for layer in layers:
        settings = SETTINGS.get(layer.name) or SETTINGS.get(layer.name.rstrip("12345678"), "")
        if layer.type == "InnerProduct":
            settings = f"inner_product_param {{ num_output: {len(layer.blobs[1])} }}"
        head = f'name: "{layer.name}" type: "{layer.type}" bottom: "{layer.bottom[0]}" top: "{layer.top[0]}"'
        lines.append(f"layer {{ {head} {settings} }}".replace("  ", " "))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_command(main)
