"""LeNet-5, an output shape on every line. N is the batch. LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86 (11), 1998.

As the paper has it (section II.B): a digit in the middle of 32x32 pixels; C1, S2, C3, S4, C5, F6; C3 joined to S2 by
the paper's table I; pooling with a trainable coefficient and bias for each map; 1.7159 tanh(2x/3) behind every layer
(appendix A). Where we leave it:

- The output layer is ten units with softmax and cross-entropy, in place of distances to 84 fixed pixels of a drawn
  digit; with its 850 weights there are 60,850 parameters, in place of 60,000.
- The mean image is subtracted from the pixels, which are then divided by one number for a variance of about 1, in place
  of one mean for all.
- A picture is 26x26 pixels cut from the stored 28x28, by the recipe at any place in training: so digits are shifted by
  up to one pixel. The paper's distortions (section III.C) go further.
- Initial weights are those of LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998 (section 4.6): a variance of one
  over a unit's inputs, of C3 over their mean number. With the paper's own, up to 2.4 over that number, momentum SGD
  takes two epochs before the loss falls.
- Training is the recipe's momentum SGD, in place of the stochastic diagonal Levenberg-Marquardt method.
- Coefficients begin at 1/4, so that pooling begins as an average.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from alexnet_tf.networks.layers import (
    AveragePooling2D,
    Cast,
    Conv2D,
    Dense,
    Flatten,
    MaxPooling2D,
    Placed,
    ZeroPadding2D,
)
from alexnet_tf.networks.network import Network, Stage
from alexnet_tf.networks.one_tower import OneTower
from alexnet_tf.program.seeds import own_seed
from alexnet_tf.settings.presets import LeNet5Settings
from alexnet_tf.settings.recipe import Precision
from alexnet_tf.towers import Towers

C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""Table I: for each map of C3 the maps of S2 that it is connected to."""


class LeNet5(Network):
    """LeNet-5: 60,850 parameters at ten classes, all on tower a's device."""

    def __init__(
        self, network: LeNet5Settings, num_classes: int, towers: Towers, seed: int = 0, precision: Precision = "float32"
    ) -> None:
        super().__init__(network, num_classes, towers, name="lenet5")
        parts = OneTower(towers, seed, precision)
        named = parts.named
        activation = squash if network.activation == "tanh" else "relu"

        def start(name: str, inputs: int) -> dict[str, Any]:
            most = (3 / inputs) ** 0.5  # a variance of 1 / inputs
            return {"kernel_initializer": keras.initializers.RandomUniform(-most, most, seed=own_seed(seed, name))}

        def pooling(name: str) -> keras.layers.Layer:
            if network.pooling == "max":
                return MaxPooling2D(2, 2, **named(name))
            return Subsampling(activation=activation, **named(name))

        self.cast1 = Cast(**named("cast1"))
        self.pad1 = ZeroPadding2D((32 - network.image_size) // 2, **named("pad1"))
        self.c1 = Conv2D(6, 5, activation=activation, **named("c1"), **start("c1", 5 * 5))
        self.s2 = pooling("s2")
        self.c3 = TableConv2D(C3_TABLE, 5, activation=activation, **named("c3"), **start("c3", 4 * 5 * 5))
        self.s4 = pooling("s4")
        self.c5 = Conv2D(120, 5, activation=activation, **named("c5"), **start("c5", 16 * 5 * 5))
        self.flatten5 = Flatten(**named("flatten5"))
        self.f6 = Dense(84, activation=activation, **named("f6"), **start("f6", 120))
        self.output_units = Dense(num_classes, **named("output"), **start("output", 84))
        self.logits = parts.logits()

    def stages(self) -> dict[str, Stage]:
        """The two convolutions that are pooled, the third, and F6."""
        return {"s2": self.to_s2, "s4": self.to_s4, "c5": self.to_c5, "f6": self.to_f6}

    def to_s2(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """Images to S2."""
        padded = self.pad1(self.cast1(x[0]))  # (N, 26, 26, 1) -> (N, 32, 32, 1)
        return [self.s2(self.c1(padded))]  # (N, 28, 28, 6) -> (N, 14, 14, 6)

    def to_s4(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """S2 to S4."""
        return [self.s4(self.c3(x[0]))]  # (N, 10, 10, 16) -> (N, 5, 5, 16)

    def to_c5(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """S4 to C5."""
        return [self.flatten5(self.c5(x[0], training=dropout_seed is not None))]  # (N, 1, 1, 120) -> (N, 120)

    def to_f6(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> list[tf.Tensor]:
        """C5 to F6."""
        return [self.f6(x[0])]  # (N, 84)

    def last_stage(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """F6 to logits."""
        return self.logits(self.output_units(x[0]))  # (N, num_classes)


def squash(x: tf.Tensor) -> tf.Tensor:
    """1.7159 tanh(2x/3), which takes 1 to 1 and -1 to -1 (appendix A)."""
    return 1.7159 * tf.tanh(x * (2 / 3))


class Subsampling(AveragePooling2D):
    """The sum over 2x2 pixels times a coefficient, plus a bias, both the map's own and trained; then the activation.

    (N, H, W, C) -> (N, H / 2, W / 2, C); section II.B, "layer S2".
    """

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(2, 2, **kwargs)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        """Makes the variables."""
        with tf.device(self.device):
            maps = (int(input_shape[-1]),)
            self.coefficient = self.add_weight(
                name="coefficient", shape=maps, initializer=keras.initializers.Constant(1 / 4)
            )
            self.bias = self.add_weight(name="bias", shape=maps, initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The outputs of the layer."""
        mean = super().call(inputs)
        with tf.device(self.device):
            return self.activation(4 * mean * self.coefficient + self.bias)


class TableConv2D(Placed, keras.layers.Layer):
    """A convolution in which each output map is connected to some of the input maps, by a table.

    (N, H, W, maps) -> (N, H - size + 1, W - size + 1, len(table)); the kernel is (size, size, entries of the table).
    """

    def __init__(
        self, table: tuple[tuple[int, ...], ...], size: int, activation: Any, kernel_initializer: Any, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.table = table
        self.size = size
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape: Any) -> None:
        """Makes the variables."""
        entries = [(seen, own) for own, maps in enumerate(self.table) for seen in maps]
        # Maps that are not connected get the index after the last kernel, which is a kernel of zeros.
        self.places = np.full((int(input_shape[-1]), len(self.table)), len(entries))
        for number, entry in enumerate(entries):
            self.places[entry] = number
        shape = (self.size, self.size, len(entries))
        with tf.device(self.device):
            self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
            self.bias = self.add_weight(name="bias", shape=(len(self.table),), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The outputs of the layer."""
        with tf.device(self.device):
            kernels = tf.pad(tf.convert_to_tensor(self.kernel), [[0, 0], [0, 0], [0, 1]])
            kernel = tf.gather(kernels, self.places, axis=2)  # (size, size, maps, len(table))
            return self.activation(tf.nn.conv2d(inputs, kernel, 1, "VALID") + self.bias)
