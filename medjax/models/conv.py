"""The one convolution of the models: 3x3, stride 1, zero padded, in two lowerings that agree.

``lax``     `jax.lax.conv_general_dilated`: cuDNN's kernels on a GPU.
``im2col``  nine shifted slices side by side and ONE matrix product. Its derivatives of any order are matrix products
            too, and under `vmap` over weights it is a batched product rather than a grouped convolution. On the CPU
            `lax` is slow inside `lax.scan` (XLA runs it single-threaded there), and distillation is scans throughout.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

LOWERINGS = ("im2col", "lax")


def default_lowering() -> str:
    """The lowering for this process's backend; from our measurements, never from timing at run time."""
    return "im2col" if jax.default_backend() == "cpu" else "lax"


def conv3x3(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c d"], padding: int, lowering: str
) -> Float[Array, "n h2 w2 d"]:
    """3x3 cross-correlation with ``padding`` zeros on every side: h2 = h + 2 * padding - 2, w2 likewise.

    Raises ValueError for an unknown lowering.
    """
    if lowering == "lax":
        pads = ((padding, padding), (padding, padding))
        return lax.conv_general_dilated(
            x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    if lowering != "im2col":
        raise ValueError(f"lowering {lowering!r} is not one of {LOWERINGS}")
    n, h, w, c = x.shape
    h, w = h + 2 * padding - 2, w + 2 * padding - 2
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    columns = [padded[:, i : i + h, j : j + w, :] for i in range(3) for j in range(3)]
    patches = jnp.concatenate(columns, axis=-1).reshape(n * h * w, 9 * c)
    return (patches @ kernel.reshape(9 * c, -1)).reshape(n, h, w, -1)
