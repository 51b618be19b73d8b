"""Reads and writes Caffe's binary files: trained nets (.caffemodel) and mean images (.binaryproto). No Caffe needed.

Both are protocol buffers: a NetParameter and a BlobProto of Caffe's src/caffe/proto/caffe.proto. `_SCHEMA` states those
fields of them that hold weights; protobuf skips all others. Two versions of the format are read: with `layer`, as Caffe
writes it since 2015, and with `layers` (V1LayerParameter) and blobs of four sides, as in the published files.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.proto_messages import message_classes
from alexnet_tf.program.whole_files import write_whole

FLOAT32 = np.dtype("<f4")
FLOAT64 = np.dtype("<f8")

# Weights, packed numbers, are declared as bytes: the encoding is the same, and 60 million numbers need not become
# Python objects.
_SCHEMA = {
    "BlobShape": ((1, "dim", "int64*"),),
    "BlobProto": (
        (1, "num", "int32"), (2, "channels", "int32"), (3, "height", "int32"), (4, "width", "int32"),
        (5, "data", "bytes"), (7, "shape", "BlobShape"), (8, "double_data", "bytes"),
    ),
    "LayerParameter": (
        (1, "name", "string"), (2, "type", "string"), (3, "bottom", "string*"), (4, "top", "string*"),
        (7, "blobs", "BlobProto*"),
    ),
    "V1LayerParameter": (
        (2, "bottom", "string*"), (3, "top", "string*"), (4, "name", "string"), (6, "blobs", "BlobProto*"),
    ),
    "NetParameter": ((1, "name", "string"), (2, "layers", "V1LayerParameter*"), (100, "layer", "LayerParameter*")),
}  # fmt: skip
_MESSAGES = message_classes("caffe", _SCHEMA)


@dataclass(frozen=True)
class CaffeLayer:
    """One layer of a net."""

    name: str
    type: str
    """As Caffe spells it today, such as "InnerProduct"; empty where it was read from a `layers` field."""
    bottom: tuple[str, ...]
    """Names of its inputs."""
    top: tuple[str, ...]
    """Names of its outputs."""
    blobs: tuple[np.ndarray, ...] = ()
    """Weights and bias, float32, as shaped in the file."""


def read_caffemodel(path: AnyPath) -> list[CaffeLayer]:
    """The layers of a trained net, in the file's order.

    Raises:
      UserError: the file is missing, damaged or no Caffe net.
    """
    path = Path(path)
    net = _parse("NetParameter", path)
    layers = [*net.layers, *net.layer]
    if not layers:
        raise UserError(f"{path} holds no layers: it is no .caffemodel file, or one from before 2014; upgrade it")
    return [
        CaffeLayer(
            layer.name,
            getattr(layer, "type", ""),
            tuple(layer.bottom),
            tuple(layer.top),
            tuple(_array(blob, f"layer {layer.name} of {path}") for blob in layer.blobs),
        )
        for layer in layers
    ]


def write_caffemodel(path: AnyPath, name: str, layers: list[CaffeLayer]) -> None:
    """Writes a net in today's form, whole or not at all."""
    path = Path(path)
    net = _MESSAGES["NetParameter"]()
    net.name = name
    for layer in layers:
        message = net.layer.add(name=layer.name, type=layer.type, bottom=layer.bottom, top=layer.top)
        for array in layer.blobs:
            blob = message.blobs.add(data=array.astype(FLOAT32).tobytes())
            blob.shape.dim.extend(array.shape)
    write_whole(path, net.SerializeToString())


def read_mean_image(path: AnyPath) -> np.ndarray:
    """A .binaryproto's mean image as float64 (height, width, 3), RGB; Caffe stores blue first and channels apart.

    Raises:
      UserError: the file is missing, damaged or holds no image of three channels.
    """
    path = Path(path)
    blob = _array(_parse("BlobProto", path), str(path))
    if blob.ndim != 4 or blob.shape[:2] != (1, 3):
        raise UserError(f"{path} holds numbers of shape {blob.shape}, a mean image is (1, 3, height, width)")
    return blob[0, ::-1].transpose(1, 2, 0).astype(np.float64)


def write_mean_image(path: AnyPath, mean_image: np.ndarray) -> None:
    """Writes RGB (height, width, 3) as a .binaryproto, whole or not at all."""
    path = Path(path)
    height, width, _ = mean_image.shape
    planes = mean_image.transpose(2, 0, 1)[::-1].astype(FLOAT32)
    blob = _MESSAGES["BlobProto"](num=1, channels=3, height=height, width=width, data=planes.tobytes())
    write_whole(path, blob.SerializeToString())


def _array(blob: Any, where: str) -> np.ndarray:
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    encoded, kind = (blob.data, FLOAT32) if blob.data else (blob.double_data, FLOAT64)
    if len(encoded) != math.prod(shape) * kind.itemsize:
        raise UserError(f"{where} is damaged: {len(encoded) // kind.itemsize} numbers for a shape of {shape}")
    return np.frombuffer(encoded, kind).reshape(shape).astype(np.float32, copy=False)


def _parse(kind: str, path: Path) -> Any:
    message = _MESSAGES[kind]()
    try:
        message.ParseFromString(path.read_bytes())
    except OSError as fault:
        raise cannot_be_read(path, fault) from fault
    except DecodeError as fault:
        raise UserError(
            f"{path} is damaged or no file of Caffe's: it ends early or is no protocol buffer; fetch it again"
        ) from fault
    return message
