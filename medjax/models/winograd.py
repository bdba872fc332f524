"""3x3 convolution by Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray 2016), as matrix products only.

Each 4x4 tile of the output needs 36 products per channel pair instead of 144, and no patches are copied: the input and
output transforms are banded matrices along h and along w, padding included, so that two products transform a whole
image.

Derivatives (see bilinear.py) keep images and kernels alone, and transform them again, instead of the transformed ones:
those have 2.25 times as many values, of a kernel 4 times, and an unroll keeps them for each of its steps.

The transforms follow from Toom and Cook's interpolation at POINTS and infinity. In float32 these points give the
smallest error among those tried (2e-6 of a ConvNet's gradient; 0, +-1, +-2 gives 3.5e-6).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from medjax.models.bilinear import alike, differentiable

POINTS = np.array([0.0, 1.0, -1.0, 0.5, -2.0])
#: Sides of an output tile and of the input tile that it reads.
TILE, READ = 4, 6


def conv_winograd(
    x: Float[Array, "h w n c"], kernel: Float[Array, "3 3 c d"], padding: int
) -> Float[Array, "h2 w2 n d"]:
    """3x3 cross-correlation with ``padding`` zeros on every side: h2 = h + 2 * padding - 2, w2 likewise. Reverse-mode
    derivatives only."""
    return _conv(padding, x, kernel)


def _to_images(padding: int, dy: Array, kernel: Array) -> Array:
    h, w, n, _ = dy.shape
    sides = h + 2 - 2 * padding, w + 2 - 2 * padding
    x, _ = alike(jnp.zeros((*sides, n, kernel.shape[2]), dy.dtype), dy)
    return jax.vjp(lambda x: _products(padding, x, kernel), x)[1](dy)[0]


def _to_kernel(padding: int, x: Array, dy: Array) -> Array:
    kernel, _ = alike(jnp.zeros((3, 3, x.shape[3], dy.shape[3]), dy.dtype), dy)
    return jax.vjp(lambda kernel: _products(padding, x, kernel), kernel)[1](dy)[0]


def _products(padding: int, x: Array, kernel: Array) -> Array:
    h, w, n, c = x.shape
    d = kernel.shape[-1]
    spread, rows, tiles_h = _bands(h, padding), _rows(h, padding), _tiles(h, padding)
    spread_w, columns, tiles_w = _bands(w, padding), _rows(w, padding), _tiles(w, padding)

    def matrix(a: np.ndarray) -> Array:
        return jnp.asarray(a, x.dtype)

    filters = matrix(np.kron(_kernel_map(), _kernel_map())) @ kernel.reshape(9, c * d)
    y = matrix(spread) @ x.reshape(h, w * n * c)
    y = _along_second(matrix(spread_w), y.reshape(-1, w, n * c))
    # [6 tiles, 6 tiles, n c] -> one matrix product of tiles x images for each of the 36 places in a tile.
    y = y.reshape(READ, tiles_h, READ, tiles_w, n * c).swapaxes(1, 2)
    z = y.reshape(READ * READ, -1, c) @ filters.reshape(READ * READ, c, d)
    z = z.reshape(READ, READ, tiles_h, tiles_w, n * d).swapaxes(1, 2)
    z = _along_second(matrix(columns), z.reshape(READ * tiles_h, READ * tiles_w, n * d))
    z = matrix(rows) @ z.reshape(READ * tiles_h, -1)
    return z.reshape(len(rows), len(columns), n, d)


_conv = differentiable(_products, _to_images, _to_kernel)


def _along_second(matrix: Float[Array, "q w"], x: Float[Array, "b w r"]) -> Float[Array, "b q r"]:
    """``matrix`` applied along the second axis, as a batch of products."""
    many = jnp.broadcast_to(matrix, (x.shape[0], *matrix.shape))
    return lax.dot_general(many, x, (((2,), (1,)), ((0,), (0,))))


def _tiles(side: int, padding: int) -> int:
    return -(-(side + 2 * padding - 2) // TILE)


@functools.cache
def _bands(side: int, padding: int) -> np.ndarray:
    """[6 tiles, side]: row (a, tile) gives coefficient a of a tile's six inputs; outside the image they are zero."""
    tiles, read = _tiles(side, padding), _input_map()
    bands = np.zeros((READ, tiles, side))
    for tile in range(tiles):
        for j in range(READ):
            if 0 <= (place := tile * TILE + j - padding) < side:
                bands[:, tile, place] = read[:, j]
    return bands.reshape(READ * tiles, side)


@functools.cache
def _rows(side: int, padding: int) -> np.ndarray:
    """[outputs, 6 tiles]: each output from the six coefficients of its tile; the last tile is cut to the image."""
    tiles, outputs = _tiles(side, padding), side + 2 * padding - 2
    rows = np.zeros((tiles, TILE, READ, tiles))
    for tile in range(tiles):
        rows[tile, :, :, tile] = _output_map()
    return rows.reshape(tiles * TILE, READ * tiles)[:outputs]


def _output_map() -> np.ndarray:
    """[4, 6]: from the values at the points to the four outputs of a tile."""
    return np.vstack([np.vander(POINTS, TILE, increasing=True), np.eye(TILE)[-1]]).T


def _kernel_map() -> np.ndarray:
    """[6, 3]: the kernel's polynomial at each point, divided by the point's Lagrange denominator."""
    denominators = [np.prod(p - POINTS[p != POINTS]) for p in POINTS]
    values = np.vander(POINTS, 3, increasing=True) / np.reshape(denominators, (-1, 1))
    return np.vstack([values, np.eye(3)[-1]])


def _input_map() -> np.ndarray:
    """[6, 6]: row i holds the coefficients of prod (x - p) over all points except the i-th; the last row, over all
    points."""
    rows = [np.append(np.poly(POINTS[p != POINTS])[::-1], 0) for p in POINTS]
    return np.array([*rows, np.poly(POINTS)[::-1]])
