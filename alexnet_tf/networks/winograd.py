"""Convolutions by Winograd's minimal filtering: half the multiplications, the same result but for rounding.

Take rows for coefficients of polynomials: a convolution along them is a product, and a product of polynomials is known
once it is known at enough points, where it costs one multiplication instead of one for every pair of rows. From a tile
of picture rows x and a kernel w of r rows come m rows y:

    B x               the picture at m + r - 1 points
    G w               the kernel at the same points
    (B x) * (G w)     at each point a convolution along the columns alone
    y = A (...)       back to rows

m + r - 1 convolutions of one row take the place of m * r: 7 of 15 for r = 3, 8 of 20 for r = 5. The gradient goes back
through the transposed matrices.

Winograd, "Arithmetic Complexity of Computations", 1980; for convolutional networks Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", 2015 (arXiv 1509.09308), who go to points along both axes. Along one axis less is
added and subtracted, which are passes over memory, and float32 loses one bit or two.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import tensorflow as tf

from alexnet_tf.networks.own_gradient import OwnGradient, with_gradient

POINTS = tuple(Fraction(point) for point in ("0", "1", "-1", "2", "-2", "1/2", "-1/2"))
"""As many as needed, from the left, and infinity. Small numbers, for it is their powers that cost precision."""
TILE_ROWS = {3: 7, 5: 8}
"""By the kernel's rows: what suits AlexNet's pictures of 13 rows (3 tiles of 5) and of 27 (7 of 4)."""

FEWEST_CHANNELS = 24
"""Of picture and result. With fewer, the passes over memory cost what is saved: forward and gradient, one thread of an
AMD EPYC (Zen 4), 64 pictures: 13x13 rows of 16 channels take 1.4 times a plain convolution's time, of 24 as long, of
128 three quarters; 27x27 of 16 channels 0.93 times, of 24 to 128 0.73 to 0.5 times."""


def convolve(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, relu: bool, device: str | None) -> tf.Tensor:
    """A convolution of stride 1 and padding "same", plus bias, then ReLU where `relu`; with its gradient.

    Args:
      x: (N, H, W, C), float32 or float64, H known.
      kernel: (r, s, C, K) with r in TILE_ROWS.
      bias: (K,).
      relu: whether ReLU comes last.
      device: where the gradient is computed.

    Returns:
      (N, H, W, K).
    """
    tiles = _Tiles(kernel.shape[0], x.shape[1])
    rows = tf.unstack(_compiled(_Tiles.to_points, tiles)(x))
    kernels = tf.unstack(tiles.kernel_to_points(kernel))
    products = [_along_columns(*pair) for pair in zip(rows, kernels, strict=True)]
    y = _compiled(_Tiles.from_points, tiles)(products, bias, relu)
    return with_gradient(y, [x, kernel, bias], [y, *rows, *kernels], _Gradient(tiles, relu, device))


def _along_columns(rows: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """(N, T, W, C) and (s, C, K) to (N, T, W, K)."""
    return tf.nn.conv2d(rows, kernel[None], 1, "SAME")


def _along_columns_back(rows: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients of `_along_columns` with respect to rows and kernel, from that of its result."""
    options = {"strides": [1, 1, 1, 1], "padding": "SAME", "out_backprop": upstream}
    kernel = kernel[None]
    drows = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(rows), filter=kernel, **options)
    dkernel = tf.raw_ops.Conv2DBackpropFilter(input=rows, filter_sizes=tf.shape(kernel), **options)
    return drows, dkernel[0]


@dataclass(frozen=True)
class _Gradient(OwnGradient):
    """The gradient of `convolve` with respect to picture, kernel and bias."""

    tiles: "_Tiles"
    relu: bool
    device: str | None

    def __call__(self, upstream: tf.Tensor, *saved: tf.Tensor) -> tuple[tf.Tensor, ...]:
        tiles, (y, *points) = self.tiles, saved
        rows, kernels = points[: len(points) // 2], points[len(points) // 2 :]
        with tf.device(self.device):  # a gradient function is called outside the layer's own scope
            upstream = _compiled(_Tiles.upstream_to_points, tiles)(y, upstream, self.relu)
            back = [_along_columns_back(*three) for three in zip(rows, kernels, tf.unstack(upstream), strict=True)]
            drows, dkernels = zip(*back, strict=True)
            dx = _compiled(_Tiles.rows_from_points, tiles)(drows)
            # At the point 1, whose powers are all 1, a tile's rows are summed already.
            dbias = tf.raw_ops.BiasAddGrad(out_backprop=upstream[POINTS.index(Fraction(1))])
            return dx, tiles.kernel_from_points(tf.stack(dkernels)), dbias


@functools.cache
def _compiled(method: Callable[..., tf.Tensor], tiles: "_Tiles") -> Callable[..., tf.Tensor]:
    """The method of these tiles, made one pass over memory by XLA; once for all layers of that size."""
    return tf.function(functools.partial(method, tiles), jit_compile=True, autograph=False)


@dataclass(frozen=True)
class Matrices:
    """What takes a tile to points and back: y = from_points @ ((to_points @ x) * (kernel_to_points @ w)).

    x has P = TILE_ROWS[r] rows, w has r, and y has m = P + 1 - r: y[k] = sum of x[k + i] w[i] over i.

    Attributes:
      to_points: B, (P, P).
      kernel_to_points: G, (P, r).
      from_points: A, (m, P).
    """

    to_points: np.ndarray
    kernel_to_points: np.ndarray
    from_points: np.ndarray


@functools.cache
def exact_matrices(kernel_rows: int) -> Matrices:
    """The matrices in fractions: interpolation after Toom and Cook, transposed."""
    points = POINTS[: TILE_ROWS[kernel_rows] - 1]
    outputs = len(points) + 2 - kernel_rows
    to_points, kernel_to_points, from_points = [], [], []
    for point in points:
        others = [other for other in points if other != point]
        weight = 1 / math.prod(point - other for other in others)
        to_points.append([*_coefficients(others), Fraction(0)])
        kernel_to_points.append([weight * point**power for power in range(kernel_rows)])
        from_points.append([point**power for power in range(outputs)])
    to_points.append(_coefficients(points))  # at infinity the highest power is all there is
    kernel_to_points.append([Fraction(power == kernel_rows - 1) for power in range(kernel_rows)])
    from_points.append([Fraction(power == outputs - 1) for power in range(outputs)])
    # A factor may go from a point's row in one matrix to its row in another: powers of two, which cost no precision,
    # until the picture at the points is of the picture's own scale.
    scales = [Fraction(2) ** round(math.log2(max(map(abs, row)))) for row in to_points]
    return Matrices(
        np.array([[entry / scale for entry in row] for row, scale in zip(to_points, scales, strict=True)]),
        np.array([[entry * scale for entry in row] for row, scale in zip(kernel_to_points, scales, strict=True)]),
        np.array(from_points).T,
    )


def _coefficients(roots: Iterable[Fraction]) -> list[Fraction]:
    """Of the product of (z - root) over `roots`, the constant one first."""
    found = [Fraction(1)]
    for root in roots:
        found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


@dataclass(frozen=True)
class _Tiles:
    """Pictures of `height` rows, cut for kernels of `kernel_rows`: T tiles of P rows, which overlap and give m rows."""

    kernel_rows: int
    height: int

    def to_points(self, x: tf.Tensor) -> tf.Tensor:
        """(N, H, W, C) to (P, N, T, W, C)."""
        below = self._outputs * self._number + self.kernel_rows - 1 - self.height - self._above
        x = tf.pad(x, [[0, 0], [self._above, below], [0, 0], [0, 0]])
        last = self._outputs * (self._number - 1) + 1
        tiles = [x[:, row : row + last : self._outputs] for row in range(TILE_ROWS[self.kernel_rows])]
        return _combine(self._matrices.to_points, tiles, axis=0)

    def from_points(self, products: Sequence[tf.Tensor], bias: tf.Tensor, relu: bool) -> tf.Tensor:
        """P times (N, T, W, K) to (N, H, W, K)."""
        y = _join(_combine(self._matrices.from_points, products, axis=2))[:, : self.height] + bias
        return tf.nn.relu(y) if relu else y

    def upstream_to_points(self, y: tf.Tensor, dy: tf.Tensor, relu: bool) -> tf.Tensor:
        """(N, H, W, K), twice, to (P, N, T, W, K): `from_points` transposed."""
        dy = tf.where(y > 0, dy, tf.zeros((), dy.dtype)) if relu else dy
        dy = tf.pad(dy, [[0, 0], [0, self._outputs * self._number - self.height], [0, 0], [0, 0]])
        dy = tf.reshape(dy, [-1, self._number, self._outputs, *dy.shape[2:]])
        return _combine(self._matrices.from_points.T, tf.unstack(dy, axis=2), axis=0)

    def rows_from_points(self, products: Sequence[tf.Tensor]) -> tf.Tensor:
        """P times (N, T, W, C) to (N, H, W, C): `to_points` transposed."""
        x = _combine(self._matrices.to_points.T, products, axis=2)  # (N, T, P, W, C); what overlaps is to be added
        spans = -(-x.shape[2] // self._outputs)  # each tile reaches into so many stretches of m rows
        total = tf.zeros((), x.dtype)
        for span in range(spans):
            part = x[:, :, span * self._outputs : (span + 1) * self._outputs]
            missing = self._outputs - part.shape[2]
            total += tf.pad(part, [[0, 0], [span, spans - 1 - span], [0, missing], [0, 0], [0, 0]])
        return _join(total)[:, self._above : self._above + self.height]

    def kernel_to_points(self, kernel: tf.Tensor) -> tf.Tensor:
        """(r, s, C, K) to (P, s, C, K)."""
        return tf.tensordot(_constant(self._matrices.kernel_to_points, kernel.dtype), kernel, 1)

    def kernel_from_points(self, products: tf.Tensor) -> tf.Tensor:
        """(P, s, C, K) to (r, s, C, K): `kernel_to_points` transposed."""
        return tf.tensordot(_constant(self._matrices.kernel_to_points.T, products.dtype), products, 1)

    @property
    def _matrices(self) -> Matrices:
        return exact_matrices(self.kernel_rows)

    @property
    def _outputs(self) -> int:
        return TILE_ROWS[self.kernel_rows] + 1 - self.kernel_rows

    @property
    def _number(self) -> int:
        return -(-self.height // self._outputs)

    @property
    def _above(self) -> int:
        """Rows of zeros above the picture."""
        return self.kernel_rows // 2


def _combine(matrix: np.ndarray, slices: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    """The matrix times stacked slices: its rows become `axis` of the result, its columns count the slices."""
    shape = [-1 if one == axis else 1 for one in range(slices[0].shape.rank + 1)]
    columns = tf.unstack(_constant(matrix, slices[0].dtype), axis=1)
    return tf.add_n([tf.reshape(c, shape) * tf.expand_dims(s, axis) for c, s in zip(columns, slices, strict=True)])


def _join(tiles: tf.Tensor) -> tf.Tensor:
    """(N, T, m, W, C) to (N, T * m, W, C)."""
    return tf.reshape(tiles, [-1, tiles.shape[1] * tiles.shape[2], *tiles.shape[3:]])


def _constant(matrix: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    return tf.constant(matrix.astype(float), dtype)
