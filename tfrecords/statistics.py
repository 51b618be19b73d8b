"""Mean image and RGB covariance of the training pictures, with its eigenvectors, from exact sums.

In the path of an image: shards.py adds up every training picture as it was resized, before JPEG
coding; alexnet_tf/input_pipeline.py subtracts the mean and draws its color noise along the
eigenvectors (section 4.1 of the paper). Everything is on the 0-255 scale. No TensorFlow here.

Sums are int64 and never rounded: ImageNet's largest is 1.3e6 * 256**2 * 255**2 = 5.5e15, far from
9.2e18. So the result depends neither on the order of the pictures nor on the number of workers.
"""

import os
import zipfile
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet_tf.errors import UserError

STATISTICS_FILE = "statistics.npz"

RUN = 256
"""Pixels whose products are summed in float32. It is exact to 2**24, and 256 * 255**2 is below that."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of the training pictures, on the 0-255 scale.

    Attributes:
        mean_image: float64 (size, size, 3).
        covariance: float64 (3, 3), of R, G, B over all pixels (population covariance: divided by
            the number of pixels, not by one less).
        eigenvalues: float64 (3,), descending; variances along the eigenvectors.
        eigenvectors: float64 (3, 3); the columns are the eigenvectors, each with its component of
            largest size positive.
        pixels: int64 scalar, the number of pixels summed.
    """

    mean_image: FloatArray
    covariance: FloatArray
    eigenvalues: FloatArray
    eigenvectors: FloatArray
    pixels: np.int64

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Reads the file that `save` wrote.

        Raises:
            UserError: the file is missing or broken.
        """
        try:
            # Opened here, because np.load forgets to close a file that it cannot read.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                found = cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except FileNotFoundError:
            raise UserError(f"{path} is missing: convert the data again") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
            raise UserError(f"{path} is broken ({fault}): convert the data again") from fault
        found._check(path)
        return found

    def _check(self, path: Path) -> None:
        shapes = [self.mean_image.shape[2:], self.covariance.shape, self.eigenvalues.shape]
        if shapes != [(3,), (3, 3), (3,)] or self.eigenvectors.shape != (3, 3):
            raise UserError(f"{path} is broken (arrays of other shapes): convert the data again")
        if not all(np.isfinite(getattr(self, field.name)).all() for field in fields(self)):
            raise UserError(f"{path} is broken (not finite): convert the data again")

    def save(self, path: Path) -> None:
        """Writes all arrays as one .npz, whole or not at all."""
        unfinished = path.with_name(f".unfinished-{path.name}")
        with unfinished.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)


class PixelSums:
    """Exact sums over pictures of one size; sums of parts merge into the sum of the whole.

    Attributes:
        pictures: how many were added.
        pixel_sum: int64 (size, size, 3), per position and channel.
        products: int64 (3, 3), sum over all pixels of the products of two channels.
    """

    def __init__(self, size: int) -> None:
        """Starts at zero for pictures of (size, size, 3)."""
        self.pictures = 0
        self.pixel_sum = np.zeros((size, size, 3), np.int64)
        self.products = np.zeros((3, 3), np.int64)
        # Black pixels fill up the last run; they add nothing.
        self._runs = np.zeros((3, -(-(size**2) // RUN), RUN), np.float32)

    def add(self, picture: npt.NDArray[np.uint8]) -> None:
        """Adds one picture, uint8 (size, size, 3)."""
        self.pictures += 1
        self.pixel_sum += picture
        channels = np.ascontiguousarray(picture.reshape(-1, 3).T)  # (3, size * size)
        self._runs.reshape(3, -1)[:, : channels.shape[1]] = channels
        for i in range(3):
            for j in range(i, 3):
                # No BLAS: its threads would get in the way of the other workers.
                runs = np.einsum("rp,rp->r", self._runs[i], self._runs[j])
                total = runs.sum(dtype=np.float64)
                self.products[i, j] += int(total)
                if i != j:
                    self.products[j, i] += int(total)

    def merge(self, other: "PixelSums") -> None:
        """Adds the sums of other pictures of the same size."""
        self.pictures += other.pictures
        self.pixel_sum += other.pixel_sum
        self.products += other.products

    def statistics(self) -> Statistics:
        """The statistics of all pictures added.

        Raises:
            ValueError: when there were none.
        """
        if self.pictures == 0:
            raise ValueError("no pictures were added")
        height, width, _ = self.pixel_sum.shape
        pixels = self.pictures * height * width
        covariance = self._covariance(pixels)
        eigenvalues, eigenvectors = principal_axes(covariance)
        return Statistics(self.pixel_sum / self.pictures, covariance, eigenvalues, eigenvectors, np.int64(pixels))

    def _covariance(self, pixels: int) -> FloatArray:
        # E[xy] - E[x]E[y] cancels badly in floating point; with Python's integers it is exact, and
        # only the finished quotient is rounded.
        sums = [int(s) for s in self.pixel_sum.sum(axis=(0, 1))]
        entries = [
            [float(Fraction(pixels * int(self.products[i, j]) - sums[i] * sums[j], pixels**2)) for j in range(3)]
            for i in range(3)
        ]
        return np.array(entries, np.float64)


def principal_axes(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues (3,) in descending order and eigenvectors (3, 3) as columns, signs fixed."""
    ascending, vectors = np.linalg.eigh(covariance)
    # A covariance has no negative eigenvalue; rounding may leave -1e-15 for gray pictures.
    eigenvalues = np.maximum(ascending[::-1], 0.0)
    eigenvectors = vectors[:, ::-1]
    # An eigenvector's sign is free and differs between LAPACK builds.
    largest = eigenvectors[np.abs(eigenvectors).argmax(axis=0), range(3)]
    return eigenvalues, np.ascontiguousarray(eigenvectors * np.sign(largest))
