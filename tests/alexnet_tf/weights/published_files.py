"""Files of published nets with random weights, encoded here by hand, so that nothing of the program proves itself.

Caffe's wire format: message fields as (number << 3 | kind), varints and length-prefixed bytes; the numbers are those of
its caffe.proto.
"""

import struct
from pathlib import Path

import numpy as np
import torch

Weights = dict[str, tuple[np.ndarray, np.ndarray]]

CAFFE_SHAPES = {
    "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3), "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3), "fc6": (4096, 9216), "fc7": (4096, 4096),
}  # fmt: skip
ORDER = {
    "caffe": "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2",
    "caffenet": "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2",
}
REST = "conv3 relu3 conv4 relu4 conv5 relu5 pool5 fc6 relu6 drop6 fc7 relu7 drop7 fc8 prob"
TYPES = {  # today's name and the number in V1LayerParameter
    "conv": ("Convolution", 4), "drop": ("Dropout", 6), "fc": ("InnerProduct", 14), "norm": ("LRN", 15),
    "pool": ("Pooling", 17), "relu": ("ReLU", 18), "prob": ("Softmax", 20),
}  # fmt: skip


def caffe_weights(classes: int, seed: int = 0) -> Weights:
    """Weights under which activations keep the size of pixels, where LRN tells, and no probability is 0 or 1."""
    draw = np.random.default_rng(seed)
    weights = {}
    for name, shape in {**CAFFE_SHAPES, "fc8": (classes, 4096)}.items():
        spread = np.float32(np.sqrt(2 / np.prod(shape[1:])) * (0.02 if name == "fc8" else 1))
        bias = draw.standard_normal(shape[0], np.float32) * np.float32(0.3)
        weights[name] = (draw.standard_normal(shape, np.float32) * spread, bias)
    return weights


def caffemodel(order: str, weights: Weights, old_form: bool) -> bytes:
    """A whole net, with `layers` and blobs of four sides (as the published ones) or with `layer` and shapes."""
    layers = []
    source = b"data"
    for name in order.split():
        kind, number = TYPES[name.rstrip("12345678")]
        top = source if kind in ("ReLU", "Dropout") else name.encode()
        blobs = weights.get(name, ())
        if old_form:
            layer = field(2, source) + field(3, top) + field(4, name.encode()) + varint_field(5, number)
            rate = field(7, struct.pack("<f", 1.0))  # not packed with others; to be stepped over
            layers.append(field(2, b"".join([layer, *(field(6, old_blob(blob)) for blob in blobs), rate])))
        else:
            layer = field(1, name.encode()) + field(2, kind.encode()) + field(3, source) + field(4, top)
            layers.append(field(100, b"".join([layer, *(field(7, new_blob(blob)) for blob in blobs)])))
        source = top
    return b"".join([field(1, b"Random"), *layers])


def old_blob(array: np.ndarray) -> bytes:
    """num, channels, height, width; data; and a gradient, which is to be stepped over where there is one."""
    sides = (1,) * (4 - array.ndim) + array.shape
    head = b"".join(varint_field(number, side) for number, side in enumerate(sides, 1))
    return head + field(5, array.tobytes()) + (field(6, array.tobytes()) if array.ndim == 1 else b"")


def new_blob(array: np.ndarray) -> bytes:
    return field(5, array.tobytes()) + field(7, field(1, b"".join(varint(side) for side in array.shape)))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def deploy_prototxt(order: str, classes: int) -> str:
    """The net as text, for OpenCV."""
    outputs = {name: shape[0] for name, shape in CAFFE_SHAPES.items()} | {"fc8": classes}
    geometry = {
        "conv1": "kernel_size: 11 stride: 4", "conv2": "kernel_size: 5 pad: 2 group: 2",
        "conv3": "kernel_size: 3 pad: 1", "conv4": "kernel_size: 3 pad: 1 group: 2",
        "conv5": "kernel_size: 3 pad: 1 group: 2",
    }  # fmt: skip
    text = 'input: "data"\ninput_shape { dim: 1 dim: 3 dim: 227 dim: 227 }\n'
    source = "data"
    for name in order.split():
        kind = TYPES[name.rstrip("12345678")][0]
        top = source if kind in ("ReLU", "Dropout") else name
        settings = {
            "Convolution": f"convolution_param {{ num_output: {outputs.get(name)} {geometry.get(name)} }}",
            "InnerProduct": f"inner_product_param {{ num_output: {outputs.get(name)} }}",
            "LRN": "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }",
            "Pooling": "pooling_param { pool: MAX kernel_size: 3 stride: 2 }",
        }.get(kind, "")
        text += f'layer {{ name: "{name}" type: "{kind}" bottom: "{source}" top: "{top}" {settings} }}\n'
        source = top
    return text


def write_mean(path: Path, mean_bgr: np.ndarray) -> None:
    """(3, height, width) as a binaryproto."""
    sides = (1, *mean_bgr.shape)
    head = b"".join(varint_field(number, side) for number, side in enumerate(sides, 1))
    path.write_bytes(head + field(5, mean_bgr.astype("<f4").tobytes()))


class TorchvisionAlexNet(torch.nn.Module):
    """Its layers under the names of torchvision's state dict."""

    def __init__(self, classes: int, units: int) -> None:
        super().__init__()
        nn = torch.nn
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(9216, units), nn.ReLU(),
            nn.Dropout(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, classes),
        )  # fmt: skip

    def forward(self, x: torch.Tensor, mask6: torch.Tensor | float = 1.0, mask7: torch.Tensor | float = 1.0):
        """Logits; the masks take the place of dropout."""
        x = self.avgpool(self.features(x)).flatten(1) * mask6
        x = self.classifier[1:3](x) * mask7
        return self.classifier[4:](x)


def torchvision_net(classes: int, seed: int = 0, units: int = 4096) -> TorchvisionAlexNet:
    """With weights under which activations keep their size and biases matter."""
    torch.manual_seed(seed)
    net = TorchvisionAlexNet(classes, units)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=float(np.sqrt(2 / module.weight[0].numel())))
            torch.nn.init.normal_(module.bias, std=0.3)
    return net
