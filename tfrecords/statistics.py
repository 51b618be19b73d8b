"""Mean image and RGB covariance of the training pictures, with its eigenvectors, from exact sums.

In the path of an image: shards.py adds up every training picture as it was resized, before JPEG
coding; alexnet_tf/pictures/input_pipeline.py subtracts the mean and draws its color noise along the
eigenvectors (section 4.1 of the paper). Everything is on the 0-255 scale. No TensorFlow here.

Sums are int64 and never rounded: ImageNet's largest is 1.3e6 * 256**2 * 255**2 = 5.5e15, far from
9.2e18. So the result depends neither on the order of the pictures nor on the number of workers.
"""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet_tf.program.errors import UserError
from alexnet_tf.program.file_faults import cannot_be_read
from alexnet_tf.program.paths import AnyPath
from alexnet_tf.program.whole_files import read_whole, write_whole

STATISTICS_FILE = "statistics.npz"

RUN = 256
"""Pixels whose products are summed in float32. It is exact to 2**24, and 256 * 255**2 is below that."""

MOST_RECENT = 257
"""Pictures that are first summed in uint16, of a quarter of the memory: 257 * 255 is its largest number."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of the training pictures, on the 0-255 scale.

    Attributes:
      mean_image: float64 (size, size, channels); 3 channels, or 1 of gray pictures.
      covariance: float64 (channels, channels), of R, G, B (or gray) over all pixels (population covariance: divided
        by the number of pixels, not by one less).
      eigenvalues: float64 (channels,), descending; variances along the eigenvectors.
      eigenvectors: float64 (channels, channels); the columns are the eigenvectors, each with its component of
        largest size positive.
      pixels: int64 scalar, the number of pixels summed.
    """

    mean_image: FloatArray
    covariance: FloatArray
    eigenvalues: FloatArray
    eigenvectors: FloatArray
    pixels: np.int64

    @classmethod
    def of_mean_image(cls, mean_image: FloatArray) -> "Statistics":
        """A mean image that came from elsewhere, with which no colors were measured."""
        channels = mean_image.shape[2]
        return cls(mean_image, np.zeros((channels, channels)), np.zeros(channels), np.eye(channels), np.int64(0))

    @classmethod
    def load(cls, path: AnyPath, remedy: str = "convert the data again") -> "Statistics":
        """Reads the file that `save` wrote.

        Args:
          path: the file.
          remedy: what helps where it is missing or broken; the end of the message.

        Raises:
          UserError: the file is missing or broken.
        """
        path = Path(path)
        try:
            found = cls(**_arrays(read_whole(path)))
        except FileNotFoundError:
            raise UserError(f"{path} is missing: {remedy}") from None
        except OSError as fault:
            raise cannot_be_read(path, fault) from fault
        except Exception as fault:  # what a damaged zip archive or header leads to is on no list
            raise UserError(f"{path} is broken: {remedy}") from fault
        found._check(path, remedy)
        return found

    def digest(self) -> str:
        """The SHA-256 of all numbers, by which the same statistics are recognized."""
        digest = hashlib.sha256()
        for field in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, field.name)).tobytes())
        return digest.hexdigest()

    def _check(self, path: Path, remedy: str) -> None:
        channels = 1 if self.mean_image.shape[-1:] == (1,) else 3
        square, pairs = (*self.mean_image.shape[:1] * 2, channels), (channels, channels)
        expected = {"mean_image": square, "covariance": pairs, "eigenvalues": (channels,), "eigenvectors": pairs}
        if self.pixels.shape != () or any(getattr(self, name).shape != shape for name, shape in expected.items()):
            raise UserError(f"{path} is broken (arrays of other shapes): {remedy}")
        if not all(np.isfinite(getattr(self, field.name)).all() for field in fields(self)):
            raise UserError(f"{path} is broken (not finite): {remedy}")

    def save(self, path: AnyPath) -> None:
        """Writes all arrays as one .npz, whole or not at all.

        Raises:
          UserError: it cannot be written.
        """
        path = Path(path)
        write_whole(path, npz_bytes({field.name: getattr(self, field.name) for field in fields(self)}))


def _arrays(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if archive.testzip() is not None:  # NumPy checks the sum only where it happens to read to the end
            raise ValueError("checksum")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        found = {field.name: arrays[field.name] for field in fields(Statistics)}
    return {**found, "pixels": np.int64(found["pixels"])}


def npz_bytes(arrays: dict[str, Any]) -> bytes:
    """Arrays as the content of an .npz file.

    In memory, because NumPy's own way into a file on a full disk leaves a zip archive behind that prints a traceback
    when it is thrown away.
    """
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


class PixelSums:
    """Exact sums over pictures of one size; sums of parts merge into the sum of the whole.

    Attributes:
      pictures: how many were added.
      products: int64 (channels, channels), sum over all pixels of the products of two channels.
    """

    def __init__(self, size: int, channels: int = 3) -> None:
        """Starts at zero for pictures of (size, size, channels)."""
        self.pictures = 0
        self.products = np.zeros((channels, channels), np.int64)
        self._pairs = [(i, j) for i in range(channels) for j in range(i, channels)]
        self._settled = np.zeros((size, size, channels), np.int64)
        self._recent = np.zeros((channels, size**2), np.uint16)
        self._recent_pictures = 0
        # Black pixels fill up the last run; they add nothing.
        self._runs = np.zeros((channels, -(-(size**2) // RUN), RUN), np.float32)
        self._channels = self._runs.reshape(channels, -1)[:, : size**2]
        self._run_products = np.zeros((len(self._pairs), self._runs.shape[1]), np.float32)

    def add(self, channels: Sequence[npt.NDArray[np.uint8]]) -> None:
        """Adds one picture: its red, green and blue, or its gray, uint8 (size * size,) each, row by row."""
        self.pictures += 1
        for i, channel in enumerate(channels):
            self._recent[i] += channel
            self._channels[i] = channel
        self._recent_pictures += 1
        if self._recent_pictures == MOST_RECENT:
            self._settle()
        for place, (i, j) in enumerate(self._pairs):
            # No BLAS: its threads would get in the way of the other workers.
            np.einsum("rp,rp->r", self._runs[i], self._runs[j], out=self._run_products[place])
        for (i, j), product in zip(self._pairs, self._run_products.sum(axis=1, dtype=np.float64), strict=True):
            self.products[i, j] += int(product)
            self.products[j, i] = self.products[i, j]

    @property
    def pixel_sum(self) -> npt.NDArray[np.int64]:
        """int64 (size, size, channels), per position and channel."""
        self._settle()
        return self._settled

    def _settle(self) -> None:
        self._settled += self._recent.T.reshape(self._settled.shape)
        self._recent[:] = 0
        self._recent_pictures = 0

    def restore(self, pictures: int, pixel_sum: npt.NDArray[Any], products: npt.NDArray[np.int64]) -> None:
        """Adds sums that were saved as these numbers."""
        self.pictures += pictures
        self._settled += pixel_sum
        self.products += products

    def merge(self, other: "PixelSums") -> None:
        """Adds the sums of other pictures of the same size."""
        self.restore(other.pictures, other.pixel_sum, other.products)

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
        channels = range(len(sums))
        entries = [
            [float(Fraction(pixels * int(self.products[i, j]) - sums[i] * sums[j], pixels**2)) for j in channels]
            for i in channels
        ]
        return np.array(entries, np.float64)


def principal_axes(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues in descending order and eigenvectors as columns, signs fixed; of (channels, channels)."""
    ascending, vectors = np.linalg.eigh(covariance)
    # A covariance has no negative eigenvalue; rounding may leave -1e-15 for gray pictures.
    eigenvalues = np.maximum(ascending[::-1], 0.0)
    eigenvectors = vectors[:, ::-1]
    # An eigenvector's sign is free and differs between LAPACK builds.
    largest = eigenvectors[np.abs(eigenvectors).argmax(axis=0), range(len(covariance))]
    return eigenvalues, np.ascontiguousarray(eigenvectors * np.sign(largest))
