"""What goes wrong most often in a first run, each detected early and explained in one line."""

import math

import numpy as np

from alexnet_tf.program.errors import UserError

JUDGED = 64
"""Pictures that are looked at before anything is said of their scale."""
FIRST_STEPS = 100


class PixelCheck:
    """Whether pictures, mean image and what the network sees are all on the 0-255 scale, at the start of a run.

    Only proof of another scale ends the run. Pictures of night, snow or a single color are no proof: where pictures
    merely look odd, it warns.

    Args:
      mean_image: float64 (256, 256, 3).
    """

    def __init__(self, mean_image: np.ndarray) -> None:
        self.mean_image = mean_image
        self.pictures = 0
        self.sums = np.zeros(4)
        """Sums over pictures: contrast as stored and as the network sees it, mean level as stored and as it sees it."""
        self.largest = 0

    def done(self) -> bool:
        """Whether enough pictures were looked at."""
        return self.pictures >= JUDGED

    def add(self, pixels: np.ndarray, images: np.ndarray) -> str | None:
        """Looks at more pictures; once they are enough, a warning where they look odd.

        Args:
          pixels: uint8 (N, 256, 256, 3), as stored.
          images: float32 (N, size, size, 3), the same as they go into the network, times its color divisors.

        Raises:
          UserError: they are on different scales.
        """
        stored, seen = pixels[:JUDGED].astype(np.float32), images[:JUDGED]
        size = seen.shape[1]
        inside = (slice(None), slice(stored.shape[1] - size, size), slice(stored.shape[2] - size, size))
        # What every crop holds. Without the mean image, too: pictures of one scene have next to no contrast then.
        whole, rest = _contrasts(stored[inside]), _contrasts((stored - self.mean_image.astype(np.float32))[inside])
        means = stored.mean(axis=(1, 2, 3)), seen.mean(axis=(1, 2, 3))
        self.sums += [float(part.sum()) for part in (np.minimum(whole, rest), _contrasts(seen), *means)]
        self.largest = max(self.largest, int(stored.max()))
        self.pictures += len(stored)
        return self._judge() if self.done() else None

    def _judge(self) -> str | None:
        stored_contrast, contrast, stored_mean, mean = (self.sums / self.pictures).tolist()
        largest_mean = float(np.abs(self.mean_image).max())
        if stored_contrast >= 1 and contrast < stored_contrast / 20:
            raise UserError(
                f"the pictures spread over {stored_contrast:.3g} gray levels as stored and over {contrast:.2g} as the "
                "network sees them: they are scaled to 0-1 on the way; the network takes 0-255 less the mean image, "
                "never divided by 255"
            )
        if largest_mean <= 1 and stored_mean >= 20:
            raise UserError(
                f"the mean image has values up to {largest_mean:.2g}, the pictures average {stored_mean:.0f} gray "
                "levels: it is on the 0-1 scale, not on 0-255; set another data.statistics, or convert the data again"
            )
        if self.largest <= 1 and self.mean_image.mean() >= 20:
            raise UserError(
                f"no pixel of the first {self.pictures} pictures is above 1, their mean image averages "
                f"{self.mean_image.mean():.0f}: they were scaled to 0-1 before they were stored; convert the pictures "
                "as they were before that"
            )
        if contrast < 3:
            return (
                f"warning: the first {self.pictures} pictures spread over {contrast:.2g} gray levels only, photographs "
                "over 40 to 70; look at some with alexnet-tf verify --sample"
            )
        if abs(mean) > 90:
            return (
                f"warning: the first {self.pictures} pictures are {abs(mean):.0f} gray levels "
                f"{'brighter' if mean > 0 else 'darker'} than the mean image; is it that of such pictures?"
            )
        return None


def _contrasts(images: np.ndarray) -> np.ndarray:
    """Standard deviation of the pixels of each image and color, so that color noise does not count: (N,)."""
    return images.std(axis=(1, 2)).mean(axis=1)


def not_finite_advice(step: int) -> str:
    """What to try when a loss or the weights are not finite after `step` steps."""
    if step <= FIRST_STEPS:
        return (
            "so early, the rate is usually too high for the batch size: try a tenth of train.learning_rate in a new "
            "--run (0.01 is meant for batches of 128)"
        )
    return "try a lower train.learning_rate in a new --run"


def stuck_advice(step: int, loss: float, num_classes: int, preset: str) -> str | None:
    """A warning if a mean loss is still that of guessing, ln(num_classes); None if something is learned."""
    chance = math.log(num_classes)
    if loss <= 0.99 * chance:
        return None
    return (
        f"warning: after {step} steps the loss is {loss:.3f}; guessing among {num_classes} classes gives {chance:.3f}, "
        f"so nothing is learned yet. Try {other_preset(preset)}another train.learning_rate or a smaller "
        "data.batch_size, and look at some records with their labels"
    )


def other_preset(preset: str) -> str:
    """The preset that starts to learn sooner than this one, as the first item of a list of advice; or nothing."""
    return "model.preset=2012-code (larger initial weights in conv3 to conv5), " if preset == "paper" else ""
