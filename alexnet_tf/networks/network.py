"""What every network here is: two parts between which features are known, variables by stable names, logits at the end.

The place to start for whoever adds a network: `AlexNet` names what a subclass has to give.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from alexnet_tf.networks.keras_versions import tensorflow_variable, variable_path
from alexnet_tf.networks.layers import Conv2D, Dense
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.presets import FEATURE_LAYERS, FeatureLayer, Network, OneTowerNetwork, Precision
from alexnet_tf.towers import Towers

DTYPES: dict[Precision, str | None] = {"float32": None, "bfloat16": "mixed_bfloat16"}
"""What Keras calls a layer of each precision; None is its default."""

Images: TypeAlias = tf.Tensor | list[tf.Tensor]


class AlexNet(keras.Model):
    """What every network here is: from a square crop of a picture to logits.

    Shapes in comments are those of the published widths.

    Args:
      network: which recipe's network, from `presets.PRESETS[name].network`.
      num_classes: how many classes fc8 tells apart.
      towers: the two devices; `Towers.unplaced()` for a net without any device, as an export needs it.
      seed: of the initial weights.
      precision: "bfloat16" computes in bfloat16, with weights and logits in float32 all the same.

    Args of call:
      images: float32 (N, image_size, image_size, 3), RGB as the recipe's `presets.Augmentation` prepares it; or a list
        of that, each tower's own on its own device, from `on_each_tower`.
      dropout_seed: int32 (2,) in training; None at test.

    Returns of call: logits, float32 (N, num_classes).

    A subclass gives the parts: `convolutions`, then `block6`, `block7` and `block8`, each named after its fully
    connected layer. Between them activations are a list, one entry a tower. Dropout comes first in a block, so that a
    layer's features are what it puts out itself.

    Example:
      >>> model = build_alexnet(PRESETS["paper"].network, 1000, Towers.unplaced())
      >>> model(tf.zeros((1, 224, 224, 3))).shape
      TensorShape([1, 1000])
    """

    number_of_towers: int

    def __init__(self, network: Network | OneTowerNetwork, num_classes: int, towers: Towers) -> None:
        super().__init__(name="alexnet")
        self.num_classes = num_classes
        self.devices = [towers.a, towers.b][: self.number_of_towers]
        self.image_size = network.image_size

    def build(self, input_shape: object) -> None:
        """Makes the variables by a run on real (eager) tensors.

        Keras' own way, a symbolic run, loses every device scope and would put all variables on the first device.
        """
        self.call(tf.zeros((1, self.image_size, self.image_size, 3)))
        super().build(input_shape)

    def call(self, images: Images, dropout_seed: tf.Tensor | None = None) -> tf.Tensor:
        """Images (N, image_size, image_size, 3) to logits (N, num_classes)."""
        x = self.convolutions(self._for_each_tower(images), dropout_seed is not None)  # 2 x (N, 4608)
        x = self.block6(x, dropout_seed)  # 2 x (N, 2048)
        x = self.block7(x, dropout_seed)  # 2 x (N, 2048)
        return self.block8(x, dropout_seed)  # (N, num_classes)

    def features(self, images: Images, layer: FeatureLayer) -> list[tf.Tensor]:
        """What `layer` puts out at test, one (N, ...) a tower: conv5 pooled and flattened, fc6 or fc7."""
        x = self.convolutions(self._for_each_tower(images), training=False)
        for block in self._blocks()[: FEATURE_LAYERS.index(layer)]:
            x = block(x, None)
        return x

    def head(self, features: list[tf.Tensor], layer: FeatureLayer, dropout_seed: tf.Tensor | None = None) -> tf.Tensor:
        """The rest of the network, from what `features` gives to logits (N, num_classes)."""
        x = features
        for block in self._blocks()[FEATURE_LAYERS.index(layer) :]:
            x = block(x, dropout_seed)
        return x

    def towers_of(self, features: tf.Tensor) -> list[tf.Tensor]:
        """Features that were laid side by side, (N, F), as `head` takes them: one (N, ...) a tower."""
        return tf.split(features, self.number_of_towers, axis=1)

    def on_each_tower(self, name: str, make: Callable[[str | None], tf.Tensor]) -> list[tf.Tensor]:
        """What `make` gives for each tower's device, made on that device; once, where the towers share one."""
        made: dict[str | None, tf.Tensor] = {}
        for tower, device in enumerate(self.devices):
            if device not in made:
                with tf.device(device), tf.name_scope(f"{name}_{'ab'[tower]}"):
                    made[device] = make(device)
        return [made[device] for device in self.devices]

    def _for_each_tower(self, images: Images) -> list[tf.Tensor]:
        return list(images) if isinstance(images, list | tuple) else [images] * self.number_of_towers

    def _blocks(self) -> list[Callable[..., Any]]:
        return [self.block6, self.block7, self.block8]


def named_variables(model: AlexNet) -> dict[str, tf.Variable]:
    """Every trainable variable by a name that no version of Keras changes, such as "conv1_a/kernel"."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, Conv2D | Dense)]
    return {
        f"{layer.name}/{part}": tensorflow_variable(getattr(layer, part))
        for layer in sorted(layers, key=lambda layer: layer.name)
        for part in ("kernel", "bias")
    }


def refuse_unknown_variables(model: keras.Model, variables: dict[str, tf.Variable]) -> None:
    """Makes sure that nothing of the network would stay untrained, or out of the checkpoints, in silence.

    Args:
      model: with its variables made.
      variables: those that are trained and saved, as `named_variables` finds them.

    Raises:
      UserError: the network has other variables, as a layer brings them that `named_variables` does not know.
    """
    known = {id(variable) for variable in variables.values()}
    unknown = [variable for variable in model.variables if id(tensorflow_variable(variable)) not in known]
    trainable = {id(variable) for variable in model.trainable_variables}
    untrained = ", ".join(variable_path(variable) for variable in unknown if id(variable) in trainable)
    unsaved = ", ".join(variable_path(variable) for variable in unknown if id(variable) not in trainable)
    if unknown:
        faults = [f"neither train nor save {untrained}"] * bool(untrained) + [f"not save {unsaved}"] * bool(unsaved)
        raise UserError(
            f"network {model.name}: training would {' and would '.join(faults)}; let named_variables (in {__name__}) "
            "name the variables of every layer"
        )
