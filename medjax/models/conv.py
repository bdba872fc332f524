"""The convolution of all networks, zero padded, in three lowerings that agree.

``lax``       the library's convolution, cuDNN's kernels on a GPU (medjax/models/grouped_conv.py).
``im2col``    shifted slices side by side and ONE matrix product. Its derivatives of any order are matrix products too.
              On the CPU `lax` is slow inside `lax.scan` (XLA runs it on a single thread there), and distillation
              consists of scans.
``winograd``  matrix products too, with a quarter of the work and of the memory traffic (medjax/models/winograd.py);
              for 3x3 kernels and stride 1.

Images are [h, w, n, c] here: with n and c side by side, a product along h or w has long rows, and so do the sums of the
instance norm. On a GPU, XLA chooses the layout in memory.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from medjax import devices
from medjax.config import option
from medjax.models.grouped_conv import CONVOLUTION, conv_grouped
from medjax.models.winograd import TILE, conv_winograd

__all__ = ["CONVOLUTION", "LOWERINGS", "conv2d", "conv_option", "lowering", "patches_of"]

LOWERINGS = ("winograd", "im2col", "lax")

#: Winograd's transforms are faster for at least this many channels, and for images of at most this side.
MANY_CHANNELS, LARGE_SIDE = 16, 64


def conv_option(network: str) -> Any:
    """The option of a network that chooses the lowering of its convolutions."""
    help = f"{network}: convolution lowering; auto: by device, size and use (docs/performance.md)"
    return option("auto", help, choices=("auto", *LOWERINGS), speed=True)


def lowering(name: str, kernel: tuple[int, ...], side: int, stride: int = 1) -> str:
    """The lowering of one layer, kernel [a, b, c, d], images of ``side`` px. ``auto`` follows from the backend and the
    layer's shape, never from timing at run time. Another name is returned as it is, except that ``winograd`` becomes
    im2col for layers that it cannot compute, and for images smaller than a tile. There a weight often meets no pixel
    that is not zero. Winograd rounds the gradient of such a weight to 1e-6 instead of zero, of which Adam makes a whole
    step."""
    fits = kernel[:2] == (3, 3) and stride == 1 and kernel[2] >= MANY_CHANNELS and side >= TILE
    if name == "auto":
        fast = "winograd" if side <= LARGE_SIDE else "im2col"
        name = fast if devices.on_cpu() else "lax"
    return "im2col" if name == "winograd" and not fits else name


def conv2d(
    x: Float[Array, "h w n c"],
    kernel: Float[Array, "a b c d"],
    padding: int,
    lowering: str,
    stride: int = 1,
) -> Float[Array, "h2 w2 n d"]:
    """Cross-correlation with ``padding`` zeros on every side: h2 = (h + 2 * padding - a) // stride + 1, w2 likewise.

    The kernel takes the type of the images. Raises ValueError for an unknown lowering.
    """
    kernel = kernel.astype(x.dtype)
    if lowering == "lax":
        return conv_grouped(x, kernel, padding, stride)
    if lowering == "winograd":
        return conv_winograd(x, kernel, padding)
    if lowering != "im2col":
        raise ValueError(f"lowering {lowering!r} is not one of {LOWERINGS}")
    a, b, c, d = kernel.shape
    patches = patches_of(x, (a, b), padding, stride)
    rows = patches.reshape(-1, a * b * c) @ kernel.reshape(a * b * c, d)
    return rows.reshape(*patches.shape[:3], d)


def patches_of(
    x: Float[Array, "h w n c"], window: tuple[int, int], padding: int, stride: int = 1
) -> Float[Array, "h2 w2 n q"]:
    """The values that a kernel of ``window`` a x b reads at each place, side by side: q = a * b * c."""
    a, b = window
    padded = jnp.pad(x, ((padding, padding), (padding, padding), (0, 0), (0, 0)))
    h, w = padded.shape[0] - a + 1, padded.shape[1] - b + 1
    columns = [padded[i : i + h : stride, j : j + w : stride] for i in range(a) for j in range(b)]
    return columns[0] if len(columns) == 1 else jnp.concatenate(columns, axis=-1)
