"""How many floating-point operations a training step takes for one image, read off the network.

Counted are the products of convolutions and fully connected layers, a multiplication and an
addition each. Normalization, pooling, ReLU, dropout and the update are left out: they are a few
percent of the operations, and what they take of the time shows as a lower share of the peak.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from alexnet_tf.networks.network import Network, named_variables


@dataclass(frozen=True)
class LayerWork:
    """One layer of one tower.

    Attributes:
      layer: its name, such as "conv1_a".
      kernel: shape of its kernel, the last axis being the outputs'.
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

    Raises:
      ValueError: a kernel is used by no operation of the forward pass, or by several.
    """
    outputs = _output_shapes(model)
    work = []
    for name, variable in named_variables(model).items():
        layer, _, part = name.partition("/")
        if part != "kernel":
            continue
        kernel = tuple(variable.shape)
        found = [shape for scope, used, shape in outputs if layer in scope and used == kernel]
        if len(found) != 1:
            raise ValueError(f"the kernel of {layer} is used {len(found)} times in the forward pass")
        positions = math.prod(found[0][1:-1])  # (1, height, width, kernels) or (1, units)
        work.append(LayerWork(layer, kernel, positions, layer.startswith("conv1_")))
    return work


def _output_shapes(model: Network) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """(name, kernel shape, output shape) of every matrix product and convolution, for one image."""
    forward = tf.function(lambda images: model(images))
    image = tf.TensorSpec((1, *model.picture_shape))
    operations = forward.get_concrete_function(image).graph.get_operations()
    return [
        (operation.name, tuple(operation.inputs[1].shape), tuple(operation.outputs[0].shape))
        for operation in operations
        if operation.type in ("Conv2D", "MatMul")
    ]


def gflop_per_image(work: Sequence[LayerWork]) -> float:
    """Forward and backward pass together, in 10^9 operations."""
    return sum(layer.forward + layer.backward for layer in work) / 1e9
