"""What goes on inside a network at test: what its convolutions put out, and which places decide a class (Grad-CAM).

For every registered network: convolutions are found by their kernels, and named as a config names them.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from alexnet_tf.networks.keras_versions import tensorflow_variable
from alexnet_tf.networks.network import Network, named_layers
from alexnet_tf.pictures.preparation import prepare_evaluation
from alexnet_tf.settings.recipe import Augmentation
from tfrecords.statistics import Statistics


def convolutions(model: Network) -> dict[str, list[Any]]:
    """The layers with a kernel over height and width, by a config's names for them; one a tower, in its order."""
    found: dict[str, list[Any]] = {name: [] for name in model.settings.layers}
    for layer in sorted(named_layers(model), key=lambda layer: layer.tower):
        if layer.config_name in found and len(getattr(layer, "kernel", np.empty(0)).shape) > 2:
            found[layer.config_name].append(layer)
    return {name: layers for name, layers in found.items() if layers}


def kernels(model: Network, name: str) -> list[np.ndarray]:
    """Those of a convolution, (height, width, channels seen, maps) or as its layer keeps them; one a tower."""
    return [tensorflow_variable(layer.kernel).numpy() for layer in convolutions(model)[name]]


def convolution_outputs(model: Network, images: tf.Tensor) -> tuple[dict[str, list[tf.Tensor]], tf.Tensor]:
    """What each convolution puts out, and the logits.

    Args:
      model: with its weights.
      images: float32 (N, *picture_shape), prepared as for evaluation.

    Returns:
      By the layer's name (N, height, width, maps), one a tower, before whatever comes behind the layer (normalization,
      in AlexNet's first two blocks ReLU as well); and logits, (N, classes).
    """
    with _kept(model) as outputs:
        logits = model(images)
    return outputs, logits


class Inside(NamedTuple):
    """What one run of a network shows of its inside."""

    outputs: dict[str, list[tf.Tensor]]
    """As from `convolution_outputs`."""
    logits: tf.Tensor
    labels: tf.Tensor
    """The classes asked about, int64 (N,)."""
    heat: tf.Tensor
    """Grad-CAM of these classes, float32 (N, height, width), never below 0."""


def look_inside(model: Network, images: tf.Tensor, labels: tf.Tensor | None = None) -> Inside:
    """What the convolutions put out, and where in a picture a class is seen.

    The latter by Selvaraju et al., Grad-CAM, arXiv 1610.02391, equations 1 and 2, of the last convolution whose maps
    are larger than a point: ReLU(sum over maps of the mean of d logit / d map, times the map). The towers' maps are
    taken together. It runs as it is called, or becomes part of a graph.

    Args:
      model: with its weights.
      images: float32 (N, *picture_shape), prepared as for evaluation.
      labels: the classes asked about, int64 (N,); None: of each picture the most probable one.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs, logits = convolution_outputs(model, images)
        chosen = tf.argmax(logits, axis=1) if labels is None else labels
        score = tf.reduce_sum(tf.gather(logits, chosen, batch_dims=1))
    maps = [maps for maps in outputs.values() if min(maps[0].shape[1:3]) > 1][-1]
    heat: tf.Tensor | float = 0.0
    for of_tower, slopes in zip(maps, tape.gradient(score, maps), strict=True):
        weights = tf.reduce_mean(slopes, axis=(1, 2), keepdims=True)  # (N, 1, 1, maps)
        heat += tf.reduce_sum(weights * of_tower, axis=3)
    return Inside(outputs, logits, chosen, tf.nn.relu(heat))


def grad_cam(model: Network, images: tf.Tensor, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The heat and the labels of `look_inside`, for labels (N,) or the most probable ones."""
    inside = look_inside(model, images, None if labels is None else tf.constant(labels, tf.int64))
    return inside.heat.numpy(), inside.labels.numpy()


def most_varied(maps: tf.Tensor, most: int) -> tf.Tensor:
    """Of each picture the maps that vary most over it, each from its lowest value (0) to its highest (1).

    Args:
      maps: a convolution's, (N, height, width, maps).
      most: how many.

    Returns:
      float32 (N, height, width, at most `most`); of maps of one point all of them in one row: (N, 1, maps, 1).
    """
    maps = tf.cast(maps, tf.float32)
    _, height, width, count = maps.shape
    if height * width == 1:
        chosen = tf.reshape(maps, (-1, 1, count, 1))
    else:
        _, places = tf.math.top_k(tf.math.reduce_variance(maps, axis=(1, 2)), min(most, count))
        chosen = tf.gather(maps, places, axis=3, batch_dims=1)
    low = tf.reduce_min(chosen, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(chosen, axis=(1, 2), keepdims=True)
    return tf.math.divide_no_nan(chosen - low, high - low)


def feature_function(
    model: Network, augment: Augmentation, statistics: Statistics, layer: str
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A compiled function from pictures, uint8 (n, *stored_shape), to a feature layer's outputs, (n, F).

    Of the center view, both towers side by side.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, *model.settings.stored_shape), tf.uint8)], autograph=False)
    def features(pictures: tf.Tensor) -> tf.Tensor:
        views = model.on_each_tower(
            "views", lambda device: prepare_evaluation(pictures, 1, augment, statistics, device)[:, 0]
        )
        return model.concatenate_features(model.features(views, layer))

    return features


@contextlib.contextmanager
def _kept(model: Network) -> Iterator[dict[str, list[tf.Tensor]]]:
    """Keeps what the convolutions put out meanwhile."""
    outputs: dict[str, list[tf.Tensor]] = {}
    layers = convolutions(model)

    def keeping(call: Callable[..., tf.Tensor], name: str) -> Callable[..., tf.Tensor]:
        def kept(*arguments: Any, **options: Any) -> tf.Tensor:
            output = call(*arguments, **options)
            outputs.setdefault(name, []).append(output)
            return output

        return kept

    for name, of_towers in layers.items():
        for layer in of_towers:
            layer.__dict__["call"] = keeping(layer.call, name)
    try:
        yield outputs
    finally:
        for of_towers in layers.values():
            for layer in of_towers:
                del layer.__dict__["call"]
