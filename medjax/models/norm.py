"""Instance norm (Ulyanov et al. 2016): per image and channel over h w, biased variance, eps 1e-5, affine.

A constant added to a channel leaves its norm as it is: the bias of a convolution before one is a parameter that nothing
depends on (its gradient is zero), so networks leave it out of their sums and spare a pass over memory in every
derivative.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

EPS = 1e-5


class Affine(nn.Module):
    """Scale and shift [c], at the start 1 and 0."""

    @nn.compact
    def __call__(self, channels: int) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
        scale = self.param("scale", nn.initializers.ones, (channels,))
        return scale, self.param("shift", nn.initializers.zeros, (channels,))


def instance_norm(
    x: Float[Array, "h w n c"], scale: Float[Array, " c"], shift: Float[Array, " c"]
) -> Float[Array, "h w n c"]:
    """The norm of ``x``."""
    mean = x.mean((0, 1), keepdims=True)
    # One pass over memory rather than two; rounding may leave it a hair below zero.
    variance = jnp.maximum((x * x).mean((0, 1), keepdims=True) - mean * mean, 0.0)
    gain = lax.rsqrt(variance + EPS) * scale.reshape(1, 1, 1, -1)
    return x * gain + (shift.reshape(1, 1, 1, -1) - mean * gain)


def norm_of_product(
    patches: Float[Array, "h w n q"],
    kernel: Float[Array, "q d"],
    scale: Float[Array, " d"],
    shift: Float[Array, " d"],
) -> Float[Array, "h w n d"]:
    """instance_norm(patches @ kernel) without a pass over the product for its mean and variance, and without passes
    over its derivatives for theirs: both follow from the q x q covariance of an image's patches, which is small where q
    is. The norm becomes a factor on the kernel, one for each image."""
    h, w, n, q = patches.shape
    rows = patches.transpose(2, 0, 1, 3).reshape(n, h * w, q)
    rows = rows - rows.mean(1, keepdims=True)  # the product's mean is zero now
    covariance = jnp.einsum("npq,npr->nqr", rows, rows) / (h * w)
    variance = jnp.einsum("qd,nqr,rd->nd", kernel, covariance, kernel)
    gain = lax.rsqrt(jnp.maximum(variance, 0.0) + EPS) * scale.reshape(1, -1)
    kernels = kernel[None] * gain.reshape(n, 1, -1)
    product = jnp.einsum("npq,nqd->npd", rows, kernels) + shift.reshape(1, 1, -1)
    return product.reshape(n, h, w, -1).transpose(1, 2, 0, 3)
