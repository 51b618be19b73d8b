"""Presets "caffe" and "caffenet" in Caffe's terms: the layers of a .caffemodel and the text of a .prototxt.

Source: BVLC/caffe, models/bvlc_alexnet and models/bvlc_reference_caffenet (deploy.prototxt).
"""

from alexnet_tf.weights.caffemodel import CaffeLayer
from alexnet_tf.weights.layouts import LayerWeights

NET_NAMES = {"caffe": "AlexNet", "caffenet": "CaffeNet"}
"""The order of the layers, by preset, as in the published files."""
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
"""Settings in a prototxt, by layer or by kind of layer."""


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
