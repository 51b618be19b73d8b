"""What goes wrong most often in a first run, each detected early and explained in one line."""

import math

import numpy as np

from alexnet_tf.errors import UserError

LEAST_CONTRAST = 3.0
"""Grey levels. Photographs have 40 to 70 as the standard deviation of an image's pixels; divided by 255, 0.2."""
FARTHEST_MEAN = 90.0
"""Grey levels. The mean of a batch less the mean image is near 0; that of pictures on 0-1 is near -117."""
FIRST_STEPS = 100


def check_pixels(images: np.ndarray) -> None:
    """Refuses a batch, as it goes into the network, whose pixels are not on the 0-255 scale.

    Args:
      images: float32 (N, H, W, 3), less the mean image.

    Raises:
      UserError: the pixels are scaled, or the mean image is on another scale than they are.
    """
    contrast = float(images.std(axis=(1, 2)).mean())  # of each image and color, so that color noise does not count
    if contrast < LEAST_CONTRAST:
        raise UserError(
            f"the pixels of the first batch spread over {contrast:.2g} grey levels, photographs' over 40 to 70: "
            "they seem to be scaled to 0-1; the network takes 0-255 less the mean image, never divided by 255"
        )
    mean = float(images.mean())
    if abs(mean) > FARTHEST_MEAN:
        raise UserError(
            f"the first batch less the mean image averages {mean:.0f} grey levels, not about 0: pictures and mean "
            "image seem to be on different scales (0-1 and 0-255); convert the pictures again"
        )


def check_labels(labels: np.ndarray, num_classes: int, source: object) -> None:
    """Refuses labels that are not 0 to num_classes - 1.

    Raises:
      UserError: names the label, and whether they seem to count from 1.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        fault = high if high >= num_classes else low
        hint = "they seem to count from 1; " if high == num_classes and low >= 1 else ""
        raise UserError(
            f"{source} holds label {fault}, labels go from 0 to {num_classes - 1}: {hint}"
            f"run python -m tfrecords.verify {source}, then convert again"
        )


def not_finite_advice(step: int) -> str:
    """What to try when a loss or the weights are not finite after `step` steps."""
    if step <= FIRST_STEPS:
        return (
            "so early, the rate is usually too high for the batch size: try a tenth of train.learning_rate in a new "
            "--run (0.01 is meant for batches of 128)"
        )
    return "try a lower train.learning_rate in a new --run"


def stuck_advice(step: int, loss: float, num_classes: int) -> str | None:
    """A warning if a mean loss is still that of guessing, ln(num_classes); None if something is learned."""
    chance = math.log(num_classes)
    if loss <= 0.99 * chance:
        return None
    return (
        f"warning: after {step} steps the loss is {loss:.3f}; guessing among {num_classes} classes gives {chance:.3f}, "
        "so nothing is learned yet. Try model.preset=2012-code (larger initial weights in conv3 to conv5), another "
        "train.learning_rate or a smaller data.batch_size, and look at some records with their labels"
    )


def shifted_labels(probabilities: np.ndarray, labels: np.ndarray) -> str | None:
    """A warning if the network's answers fit the labels moved by one far better than the labels themselves.

    Args:
      probabilities: (images, classes).
      labels: (images,), from 0.
    """
    answers = probabilities.argmax(axis=1)
    right = {shift: float((answers == labels + shift).mean()) for shift in (-1, 0, 1)}
    shift = max(right, key=lambda shift: right[shift])
    if len(labels) < 20 or right[shift] < 0.2 or right[shift] < 3 * right[0]:
        return None
    return (
        f"warning: {right[shift]:.0%} of the answers are the label {shift:+d}, only {right[0]:.0%} the label itself: "
        "the data's labels and the run's seem to be off by one; classes count from 0 in the order of their keys"
    )
