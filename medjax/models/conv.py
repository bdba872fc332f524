"""The one convolution of the models: 3x3, stride 1, zero padded, in three lowerings that agree.

``lax``       `jax.lax.conv_general_dilated`: cuDNN's kernels on a GPU.
``im2col``    nine shifted slices side by side and ONE matrix product. Its derivatives of any order are matrix products
              too. On the CPU `lax` is slow inside `lax.scan` (XLA runs it single-threaded there), and distillation is
              scans throughout.
``winograd``  matrix products too, but a quarter of the work and of the memory traffic (medjax/models/winograd.py).

Images are [h, w, n, c] here: with n and c side by side, a product along h or w has long rows, and so have the sums of
the instance norm. XLA chooses the layout in memory for itself on a GPU.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from medjax.models.winograd import conv_winograd

LOWERINGS = ("winograd", "im2col", "lax")

#: Winograd's transforms pay for many channels, and as dense products along a side for images of moderate size.
MANY_CHANNELS, LARGE_SIDE = 16, 64


def lowering(name: str, side: int, channels: int) -> str:
    """The lowering of one layer. ``auto`` follows from the backend and the layer's shape (our measurements, never
    timing at run time); a name stands for itself, save that ``winograd`` leaves few channels to im2col."""
    if name == "auto":
        fast = "winograd" if side <= LARGE_SIDE else "im2col"
        name = fast if jax.default_backend() == "cpu" else "lax"
    return "im2col" if name == "winograd" and channels < MANY_CHANNELS else name


def conv3x3(
    x: Float[Array, "h w n c"], kernel: Float[Array, "3 3 c d"], padding: int, lowering: str
) -> Float[Array, "h2 w2 n d"]:
    """3x3 cross-correlation with ``padding`` zeros on every side: h2 = h + 2 * padding - 2, w2 likewise.

    Raises ValueError for an unknown lowering.
    """
    if lowering == "lax":
        pads, order = ((padding, padding), (padding, padding)), ("HWNC", "HWIO", "HWNC")
        return lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=order)
    if lowering == "winograd":
        return conv_winograd(x, kernel, padding)
    if lowering != "im2col":
        raise ValueError(f"lowering {lowering!r} is not one of {LOWERINGS}")
    h, w, n, c = x.shape
    h, w = h + 2 * padding - 2, w + 2 * padding - 2
    padded = jnp.pad(x, ((padding, padding), (padding, padding), (0, 0), (0, 0)))
    columns = [padded[i : i + h, j : j + w] for i in range(3) for j in range(3)]
    patches = jnp.concatenate(columns, axis=-1).reshape(h * w * n, 9 * c)
    return (patches @ kernel.reshape(9 * c, -1)).reshape(h, w, n, -1)
