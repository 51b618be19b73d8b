"""The contract of every network: stages between which it can be split, variables with stable names, logits at the end.

The place to start for whoever adds a network: `Network` names what a subclass has to give. Beside the class, a network
has settings, which name it (a subclass of `recipe.NetworkSettings`), and an entry in `presets.PRESETS`.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from alexnet_tf.networks.dropout import drawn_seed
from alexnet_tf.networks.keras_versions import part_of_layer, tensorflow_variable, variable_path
from alexnet_tf.networks.layers import Placed
from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.recipe import NetworkSettings, Precision
from alexnet_tf.towers import Towers

DTYPES: dict[Precision, str | None] = {"float32": None, "bfloat16": "mixed_bfloat16"}
"""Keras' name for the dtype policy of each precision; None is its default."""

Images: TypeAlias = tf.Tensor | list[tf.Tensor]
Stage: TypeAlias = Callable[[list[tf.Tensor], tf.Tensor | None], list[tf.Tensor]]
"""From activations, one (N, ...) a tower, and the dropout seed, int32 (2,), or None at test time, to activations."""
Head: TypeAlias = Callable[[list[tf.Tensor], tf.Tensor | None], tf.Tensor]
"""The same to logits, float32 (N, num_classes)."""


@dataclass(frozen=True)
class AuxiliaryOutput:
    """Logits that a network gives in training only, so that gradients reach its lower layers by a shorter path."""

    after: str
    """The feature layer whose outputs it is made from."""
    loss_weight: float
    """The weight of its cross-entropy in the loss; that of the network's own logits counts 1."""
    head: Head


class Network(keras.Model):
    """The base class of every network: from a square crop of a picture to logits.

    Args:
      settings: of the preset, `presets.PRESETS[name].network`.
      num_classes: the number of classes.
      towers: the two devices; `Towers.unplaced()` for a net without any device, as an export needs it.
      name: of the network, in messages and in the names of its operations.

    Args of call:
      images: float32 (N, *picture_shape), as the recipe's `recipe.Augmentation` prepares it; or a list of that, each
        tower's own on its own device, from `on_each_tower`.
      dropout_seed: int32 (2,) in training; None at test.
      training: as Keras tells it: without a seed, one is drawn.

    Returns of call: logits, float32 (N, num_classes).

    A subclass gives:
      * `__init__(settings, num_classes, towers, seed, precision)`, which makes the layers. Each is `Placed`, as all in
        layers.py, response_normalization.py and dropout.py are, with a name of its own, its tower and its device. A
        variable is then called LAYER/PART, and LAYER without a final _a or _b of its tower is the name by which a
        config knows the layer;
      * `stages` and `last_stage`: the network in the order of its feature layers, made of layers, + and * alone, so
        that Keras can lay it out (see keras_network.py);
      * `number_of_towers`, where it is not one, and `auxiliary_outputs`, where there are any.

    Example:
      >>> model = build_network(PRESETS["paper"].network, 1000, Towers.unplaced())
      >>> model(tf.zeros((1, 224, 224, 3))).shape
      TensorShape([1, 1000])
    """

    def __init__(self, settings: NetworkSettings, num_classes: int, towers: Towers, name: str) -> None:
        super().__init__(name=name)
        self.settings = settings
        self.num_classes = num_classes
        self.devices = [towers.a, towers.b][: self.number_of_towers]
        self.picture_shape = settings.picture_shape
        """Height, width and channels of what the network sees."""

    @property
    def number_of_towers(self) -> int:
        """One, unless a subclass has two."""
        return 1

    def stages(self) -> dict[str, Stage]:
        """The network without its last stage: in order, each feature layer's name and the function of its outputs.

        The first takes images, (N, *picture_shape) a tower; each other one takes the outputs of the one before.
        Dropout comes first in a stage, so that a layer's features are its own outputs.
        """
        raise NotImplementedError

    def last_stage(self, x: list[tf.Tensor], dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """From the last feature layer's outputs to logits, float32 (N, num_classes)."""
        raise NotImplementedError

    def auxiliary_outputs(self) -> dict[str, AuxiliaryOutput]:
        """The auxiliary outputs by their names; none, unless a subclass has some."""
        return {}

    def build(self, input_shape: object) -> None:
        """Makes the variables by a run on real (eager) tensors.

        Keras' own way, a symbolic run, loses every device scope and would put all variables on the first device.
        """
        x = self._for_each_tower(tf.zeros((1, *self.picture_shape)))
        shapes = {}
        for name, put_out in self._walk(x, None, None):
            x = put_out
            shapes[name] = tuple(tuple(of_tower.shape[1:]) for of_tower in x)
            for output in self._outputs_after(name).values():
                output.head(x, None)
        self.last_stage(x, None)
        self.feature_shapes = shapes
        """Shapes of the outputs of each feature layer for one picture, one shape for each tower."""
        super().build(input_shape)

    def call(self, images: Images, dropout_seed: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        """Images (N, *picture_shape) to logits (N, num_classes)."""
        if dropout_seed is None and training:
            dropout_seed = drawn_seed()
        return self.head(self._for_each_tower(images), None, dropout_seed)

    def features(self, images: Images, layer: str) -> list[tf.Tensor]:
        """The outputs of a feature layer at test time, one (N, ...) for each tower."""
        walk = self._walk(self._for_each_tower(images), None, None)
        return next(x for name, x in walk if name == layer)

    def head(self, features: list[tf.Tensor], layer: str | None, dropout_seed: tf.Tensor | None = None) -> tf.Tensor:
        """The rest of the network, from what `features` gives (from images, where `layer` is None) to logits."""
        x = features
        for _, put_out in self._walk(features, layer, dropout_seed):
            x = put_out
        return self.last_stage(x, dropout_seed)

    def logits_in_training(
        self, images: Images, layer: str | None, dropout_seed: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The logits, as from `head`, and the logits of the auxiliary outputs by their names.

        Auxiliary outputs of layers before `layer` are left out: their gradients would reach nothing that is trained.
        """
        with tf.name_scope(self.name):
            x = self._for_each_tower(images)
            auxiliary = {}
            for stage, put_out in itertools.chain([(layer, x)], self._walk(x, layer, dropout_seed)):
                x = put_out
                for name, output in self._outputs_after(stage).items():
                    auxiliary[name] = output.head(x, dropout_seed)
            return self.last_stage(x, dropout_seed), auxiliary

    def concatenate_features(self, features: list[tf.Tensor]) -> tf.Tensor:
        """The outputs of `features`, (N, ...) for each tower, as one row for each picture: (N, F)."""
        return tf.concat([tf.reshape(x, (-1, x.shape[1:].num_elements())) for x in features], axis=1)

    def split_features(self, features: tf.Tensor, layer: str) -> list[tf.Tensor]:
        """The inverse of `concatenate_features`: from (N, F) to what `head` takes, one (N, ...) for each tower."""
        shapes = [tf.TensorShape(shape) for shape in self.feature_shapes[layer]]
        parts = tf.split(features, [shape.num_elements() for shape in shapes], axis=1)
        return [tf.reshape(part, (-1, *shape)) for part, shape in zip(parts, shapes, strict=True)]

    def on_each_tower(self, name: str, make: Callable[[str | None], tf.Tensor]) -> list[tf.Tensor]:
        """What `make` gives for each tower's device, made on that device; once, where the towers share one."""
        made: dict[str | None, tf.Tensor] = {}
        for tower, device in enumerate(self.devices):
            if device not in made:
                with tf.device(device), tf.name_scope(f"{name}_{'ab'[tower]}"):
                    made[device] = make(device)
        return [made[device] for device in self.devices]

    def freeze_all_but(self, layers: set[str]) -> None:
        """Makes layers with moving averages use them in training, without an update, unless they are among `layers`.

        This holds for whatever is traced from now on.
        """
        for layer in named_layers(self):
            if layer.non_trainable_weights or not layer.trainable:
                layer.trainable = layer.config_name in layers

    def _for_each_tower(self, images: Images) -> list[tf.Tensor]:
        return list(images) if isinstance(images, list | tuple) else [images] * self.number_of_towers

    def _walk(
        self, x: list[tf.Tensor], after: str | None, seed: tf.Tensor | None
    ) -> Iterator[tuple[str, list[tf.Tensor]]]:
        """Runs the stages behind feature layer `after` (all, where it is None) and yields the outputs of each."""
        stages = self.stages()
        names = list(stages)
        for name in names[names.index(after) + 1 if after else 0 :]:
            x = stages[name](x, seed)
            yield name, x

    def _outputs_after(self, layer: str | None) -> dict[str, AuxiliaryOutput]:
        return {name: output for name, output in self.auxiliary_outputs().items() if output.after == layer}


@dataclass(frozen=True)
class NetworkVariable:
    """A variable of a network and what the program must know about it."""

    variable: tf.Variable
    layer: str
    """As a config calls it, whichever its tower: "conv1"."""
    tower: str
    """"a" or "b"."""
    trained: bool
    """Whether gradients update it; others, such as moving averages, are only saved."""


def network_variables(model: Network) -> dict[str, NetworkVariable]:
    """Every variable of a network by a name that no version of Keras changes, such as "conv1_a/kernel"."""
    found = {}
    for layer in sorted(named_layers(model), key=lambda layer: layer.name):
        trained = {id(variable) for variable in layer.trainable_weights}
        for variable in layer.weights:
            found[f"{layer.name}/{part_of_layer(variable)}"] = NetworkVariable(
                variable=tensorflow_variable(variable),
                layer=layer.config_name,
                tower=layer.tower,
                trained=id(variable) in trained,
            )
    return found


def named_layers(model: Network) -> list[Any]:
    """The layers of a network that may have variables: Keras layers that are `Placed`, too."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, Placed) and layer.is_named]


def named_variables(model: Network) -> dict[str, tf.Variable]:
    """The variables of `network_variables` by their names."""
    return {name: found.variable for name, found in network_variables(model).items()}


def refuse_unknown_variables(model: keras.Model, variables: dict[str, tf.Variable]) -> None:
    """Makes sure that no variable of the network stays silently untrained, or out of the checkpoints.

    Args:
      model: with its variables made.
      variables: those that are trained or saved, as `named_variables` finds them.

    Raises:
      UserError: the network has other variables, of a layer that is not `Placed` or has no name of its own.
    """
    known = {id(variable) for variable in variables.values()}
    unknown = [variable for variable in model.variables if id(tensorflow_variable(variable)) not in known]
    trainable = {id(variable) for variable in model.trainable_variables}
    untrained = ", ".join(variable_path(variable) for variable in unknown if id(variable) in trainable)
    unsaved = ", ".join(variable_path(variable) for variable in unknown if id(variable) not in trainable)
    if unknown:
        faults = [f"neither train nor save {untrained}"] * bool(untrained) + [f"not save {unsaved}"] * bool(unsaved)
        raise UserError(
            f"network {model.name}: training would {' and would '.join(faults)}; take their layers from "
            f"{Placed.__module__}, each with a name of its own"
        )
