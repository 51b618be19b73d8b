"""How many floating-point operations a training step takes for one image, read off the network.

Counted are the products of convolutions and fully connected layers, a multiplication and an
addition each. Normalization, pooling, ReLU, dropout and the update are left out: they are a few
percent of the operations, and what they take of the time shows as a lower share of the peak.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from alexnet_tf.networks.network import Network, network_variables


@dataclass(frozen=True)
class LayerWork:
    """One layer of one tower.

    Attributes:
      layer: its name, such as "conv1_a".
      kernel: shape of its kernel as it is applied, the last axis being the outputs'.
      positions: places in the output at which the kernel is applied, for one image.
      sees_image: whether its input is the image itself, whose gradient nobody needs.
    """

    layer: str
    kernel: tuple[int, ...]
    positions: int
    sees_image: bool

    @property
    def forward(self) -> int:
        """Operations of the forward pass, for one image."""
        return 2 * math.prod(self.kernel) * self.positions

    @property
    def backward(self) -> int:
        """Operations of the kernel's gradient and, if needed, the input's: each as many again."""
        return self.forward * (1 if self.sees_image else 2)


def count_work(model: Network) -> list[LayerWork]:
    """The work of every layer that has a kernel.

    Shapes come from the model's variables and from the outputs of its own traced forward pass, so
    that no table has to be kept in step with the network.

    Auxiliary outputs are among them, for training computes them, too.

    Raises:
      ValueError: a kernel is used by no operation of the forward pass, or by several.
    """
    outputs = _output_shapes(model)
    known = network_variables(model)
    with_kernel = [known[name].layer for name in known if name.endswith("/kernel")]
    first = min(with_kernel, key=model.settings.layers.index)
    work = []
    for name, variable in known.items():
        layer, _, part = name.partition("/")
        if part != "kernel":
            continue
        found = [(kernel, shape) for scope, kernel, shape in outputs if layer in scope]
        if len(found) != 1:
            raise ValueError(f"the kernel of {layer} is used {len(found)} times in the forward pass")
        [(kernel, shape)] = found
        positions = math.prod(shape[1:-1])  # (1, height, width, kernels) or (1, units)
        work.append(LayerWork(layer, kernel, positions, variable.layer == first))
    return work


def _output_shapes(model: Network) -> list[tuple[list[str], tuple[int, ...], tuple[int, ...]]]:
    """(scopes, kernel shape, output shape) of every matrix product and convolution, for one image."""
    parts = [(lambda images: model(images), [tf.TensorSpec((1, *model.picture_shape))])]
    for output in model.auxiliary_outputs().values():
        features = [tf.TensorSpec((1, *shape)) for shape in model.feature_shapes[output.after]]
        parts.append((lambda *x, head=output.head: head(list(x), None), features))
    graphs = [tf.function(part).get_concrete_function(*inputs).graph for part, inputs in parts]
    operations = [operation for graph in graphs for operation in graph.get_operations()]
    return [
        (_scopes(operation.name), tuple(operation.inputs[1].shape), tuple(operation.outputs[0].shape))
        for operation in operations
        if operation.type in ("Conv2D", "MatMul")
    ]


def _scopes(operation: str) -> list[str]:
    """The names of the layers around an operation, and those without the number by which Keras 3 keeps calls apart."""
    scopes = operation.split("/")
    return [*scopes, *(re.sub(r"_\d+$", "", scope) for scope in scopes)]


def gflop_per_image(work: Sequence[LayerWork]) -> float:
    """Forward and backward pass together, in 10^9 operations."""
    return sum(layer.forward + layer.backward for layer in work) / 1e9
