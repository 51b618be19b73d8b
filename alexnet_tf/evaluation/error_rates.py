"""Top-1 and top-5 error from probabilities and labels."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ErrorRates:
    """Shares of images, from 0 to 1."""

    top1_error: float
    top5_error: float
    loss: float
    """Mean cross-entropy of the averaged probabilities, in nats."""
    images: int


def error_rates(probabilities: np.ndarray, labels: np.ndarray) -> ErrorRates:
    """Error rates from sums over every image; of equal probabilities the lower class index comes first.

    Args:
      probabilities: (images, classes).
      labels: (images,), from 0.
    """
    return rates_of_sums(error_sums(probabilities, labels))


def error_sums(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What error rates are made of, and what may be added up over parts of a split; arguments as for `error_rates`.

    Returns:
      float64 (4,): images wrong at top-1, images wrong at top-5, cross-entropy in nats, images.
    """
    images = len(labels)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    hits = order == labels[:, None]
    of_label = probabilities[np.arange(images), labels]
    loss = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).sum()
    return np.array([images - hits[:, 0].sum(), images - hits.any(axis=1).sum(), loss, images], np.float64)


def rates_of_sums(sums: np.ndarray) -> ErrorRates:
    """Error rates of all images that went into `error_sums`."""
    top1, top5, loss, images = sums.tolist()
    return ErrorRates(top1_error=top1 / images, top5_error=top5 / images, loss=loss / images, images=int(images))


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
