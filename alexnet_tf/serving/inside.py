"""What goes on inside an exported network: pictures of its feature maps, and Grad-CAM, for a page or any other client.

Both come from one function of the graph, which is traced once. A session runs of it what a signature puts out.
"""

import tensorflow as tf

from alexnet_tf.evaluation.activations import look_inside, most_varied
from alexnet_tf.networks.network import Network

LAYERS = 12
"""Convolutions that are shown at most, evenly spread over a network's depth: one of 50 would fill a page for hours."""
MAPS = 12
"""Of each convolution and tower, those that vary most over the picture, as in a report."""
ACROSS = 6
"""Maps in a row."""
LARGEST_MAP = 112
"""Pixels on a side; larger maps are shrunk."""

Shown = dict[str, tf.Tensor]


def inside(model: Network, images: tf.Tensor) -> Shown:
    """What the signatures `feature_maps` and `grad_cam` put out.

    Args:
      model: with its weights.
      images: float32 (N, *picture_shape), prepared as for evaluation.

    Returns:
      layers: string (N, L), the convolutions' names, of two towers "conv1 a" and "conv1 b".
      shapes: int32 (N, L, 3), each one's height, width and number of maps.
      png_bytes: string (N, L), each one's MAPS maps as a PNG file, gray with nothing between them.
      label: int32 (N,), the most probable class.
      score: float32 (N,), its probability.
      heat: float32 (N, height, width), what speaks for it at each place of the last convolution's maps.
    """
    seen = look_inside(model, images)
    count = tf.shape(images)[0]
    rows = [
        (f"{layer} {'ab'[tower]}" if len(of_towers) > 1 else layer, maps)
        for layer, of_towers in _spread(seen.outputs).items()
        for tower, maps in enumerate(of_towers)
    ]
    shapes = [maps.shape[1:].as_list() for _, maps in rows]
    return {
        "layers": tf.repeat([[name for name, _ in rows]], count, axis=0),
        "shapes": tf.repeat(tf.constant([shapes], tf.int32), count, axis=0),
        "png_bytes": tf.stack([_picture(maps) for _, maps in rows], axis=1),
        "label": tf.cast(seen.labels, tf.int32),
        "score": tf.gather(tf.nn.softmax(seen.logits), seen.labels, batch_dims=1),
        "heat": seen.heat,
    }


def _spread(outputs: dict[str, list[tf.Tensor]]) -> dict[str, list[tf.Tensor]]:
    """At most LAYERS of them, the first and the last among them."""
    names = list(outputs)
    step = max(1.0, (len(names) - 1) / (LAYERS - 1))
    places = sorted({round(number * step) for number in range(min(LAYERS, len(names)))})
    return {names[place]: outputs[names[place]] for place in places}


def _picture(maps: tf.Tensor) -> tf.Tensor:
    """Maps (N, height, width, maps) as PNG files, string (N,), which hold a picture of those that vary most."""
    chosen = most_varied(maps, MAPS)
    _, height, width, count = chosen.shape
    if height > LARGEST_MAP:
        height = width = LARGEST_MAP
        chosen = tf.image.resize(chosen, (height, width), antialias=True)
    across, gap = min(ACROSS, count), max(1, width // 14)
    down = -(-count // across)
    opaque = tf.stack([255 * chosen, tf.fill(tf.shape(chosen), 255.0)], axis=-1)  # (N, height, width, maps, 2)
    padded = tf.pad(opaque, [[0, 0], [0, gap], [0, gap], [0, down * across - count], [0, 0]])
    tiles = tf.reshape(padded, (-1, height + gap, width + gap, down, across, 2))
    picture = tf.reshape(
        tf.transpose(tiles, (0, 3, 1, 4, 2, 5)), (-1, down * (height + gap), across * (width + gap), 2)
    )
    return tf.io.encode_png(tf.cast(tf.round(picture[:, :-gap, :-gap]), tf.uint8))
