"""Exact sums against plain float64 NumPy, and the file they are kept in."""

from pathlib import Path

import numpy as np
import pytest

from alexnet_tf.program.errors import UserError
from tfrecords.statistics import PixelSums, Statistics, principal_axes


def pictures(count: int = 7) -> np.ndarray:
    draw = np.random.default_rng(1)
    shared = draw.integers(0, 200, (count, 12, 12, 1))
    return (shared + draw.integers(0, 56, (count, 12, 12, 3))).astype(np.uint8)


def summed(batch: np.ndarray) -> PixelSums:
    sums = PixelSums(batch.shape[1])
    for picture in batch:
        sums.add(picture.reshape(-1, 3).T)
    return sums


def test_against_numpy() -> None:
    batch = pictures()
    found = summed(batch).statistics()
    pixels = batch.reshape(-1, 3).astype(np.float64)
    assert found.pixels == len(pixels)
    np.testing.assert_allclose(found.mean_image, batch.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(pixels.T, bias=True), rtol=1e-12)
    assert (np.diff(found.eigenvalues) < 0).all()
    rebuilt = found.eigenvectors @ np.diag(found.eigenvalues) @ found.eigenvectors.T
    np.testing.assert_allclose(rebuilt, found.covariance, rtol=1e-12)
    # Columns are the axes: the variance of the pixels along column i is eigenvalue i.
    along = (pixels - pixels.mean(axis=0)) @ found.eigenvectors
    np.testing.assert_allclose(along.var(axis=0), found.eigenvalues, rtol=1e-10)


def test_signs_are_fixed() -> None:
    _, vectors = principal_axes(np.array([[4.0, -3, 0], [-3, 4, 0], [0, 0, 9]]))
    largest = vectors[np.abs(vectors).argmax(axis=0), range(3)]
    assert (largest > 0).all()


def test_parts_merge_exactly_in_any_order() -> None:
    batch = pictures(9)
    whole = summed(batch)
    merged = PixelSums(12)
    for part in (batch[6:], batch[:1], batch[1:6]):
        merged.merge(summed(part))
    assert np.array_equal(merged.pixel_sum, whole.pixel_sum)
    assert np.array_equal(merged.products, whole.products)
    assert np.array_equal(merged.statistics().covariance, whole.statistics().covariance)


def test_exact_where_floating_point_cancels() -> None:
    # Nearly constant white: E[x2] - E[x]2 in floating point would lose the variance of 1/4096.
    batch = np.full((64, 8, 8, 3), 255, np.uint8)
    batch[0, 0, 0] = 254
    n = 64 * 64
    expected = 1 / n - 1 / n**2
    assert summed(batch).statistics().covariance[0, 1] == pytest.approx(expected, rel=1e-15)


def test_white_pictures_overflow_nothing() -> None:
    """More of them than are summed in uint16 at once, with the largest products; 20 * 20 pixels fill no whole runs."""
    sums = summed(np.full((600, 20, 20, 3), 255, np.uint8))
    assert (sums.pixel_sum == 600 * 255).all()
    assert (sums.products == 600 * 20 * 20 * 255**2).all()


def test_black_pictures_have_no_negative_variance() -> None:
    found = summed(np.zeros((2, 4, 4, 3), np.uint8)).statistics()
    assert (found.eigenvalues >= 0).all()


def test_save_and_load(tmp_path: Path) -> None:
    written = summed(pictures()).statistics()
    written.save(tmp_path / "s.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]
    read = Statistics.load(tmp_path / "s.npz")
    for name in ("mean_image", "covariance", "eigenvalues", "eigenvectors", "pixels"):
        assert np.array_equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == getattr(written, name).dtype


def test_missing_or_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    with pytest.raises(UserError, match=r"s\.npz is missing"):
        Statistics.load(path)
    summed(pictures()).statistics().save(path)
    whole = path.read_bytes()
    for broken in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"s\.npz is broken"):
            Statistics.load(path)
