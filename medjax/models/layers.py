"""What the networks share: initialisation, linear layers, pooling, norms. Images are [h, w, n, c], see conv.py."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

#: Added to the variance by every norm, as in PyTorch.
EPS = 1e-5
#: Weight of the new batch in a running statistic, as in PyTorch.
MOMENTUM = 0.1


def uniform_fan_in(fan_in: int) -> Any:
    """PyTorch's default initialisation: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for weights and biases."""

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def conv_kernel(
    module: nn.Module, name: str, side: int, channels: int, width: int
) -> Float[Array, "a a c d"]:
    """The parameter ``name``_kernel of a convolution, ``side`` x ``side`` px; inside a compact method."""
    init = uniform_fan_in(side * side * channels)
    return module.param(f"{name}_kernel", init, (side, side, channels, width))


def conv_bias(module: nn.Module, name: str, kernel: Float[Array, "a a c d"]) -> Float[Array, " d"]:
    """The parameter ``name``_bias that belongs to a kernel; inside a compact method."""
    init = uniform_fan_in(kernel[..., 0].size)
    return module.param(f"{name}_bias", init, kernel.shape[3:])


def dense(x: Float[Array, "*m f"], width: int, name: str) -> Float[Array, "*m d"]:
    """A linear layer as a submodule, initialised as PyTorch does; inside a compact method."""
    init = uniform_fan_in(x.shape[-1])
    return nn.Dense(width, kernel_init=init, bias_init=init, name=name)(x)


def classifier(module: nn.Module, x: Float[Array, "n f"], classes: int) -> Float[Array, "n k"]:
    """The last linear layer, with parameters linear_kernel and linear_bias of the module; inside a compact method.
    (`dense` would draw other initial parameters.) Logits are float32 whatever x is."""
    init = uniform_fan_in(x.shape[-1])
    kernel = module.param("linear_kernel", init, (x.shape[-1], classes))
    return x.astype(kernel.dtype) @ kernel + module.param("linear_bias", init, (classes,)).reshape(
        1, -1
    )


@jax.custom_vjp
def relu(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """max(x, 0); its derivative at 0 is 0. Reverse-mode derivatives only, of any order."""
    return jnp.maximum(x, 0.0)


@jax.custom_vjp
def _masked(x: Array, mask: Array) -> Array:
    """x where the mask is true, else 0. All derivatives are this function again, so that they keep the mask alone, a
    byte a value; JAX's own rules keep arrays of zeros too."""
    return jnp.where(mask, x, 0.0)


relu.defvjp(lambda x: (relu(x), x > 0), lambda mask, dy: (_masked(dy, mask),))
_masked.defvjp(lambda x, mask: (_masked(x, mask), mask), lambda mask, dy: (_masked(dy, mask), None))


def flatten(x: Float[Array, "h w n c"]) -> Float[Array, "n f"]:
    """All values of an image in a row: f = h * w * c."""
    return x.transpose(2, 0, 1, 3).reshape(x.shape[2], -1)


def average_pool(x: Float[Array, "h w n c"]) -> Float[Array, "h2 w2 n c"]:
    """Mean of 2x2 squares; an odd last row or column is dropped."""
    return _squares(x).mean((1, 3))


def max_pool(x: Float[Array, "h w n c"]) -> Float[Array, "h2 w2 n c"]:
    """Maximum of 2x2 squares; an odd last row or column is dropped."""
    return _squares(x).max((1, 3))


def _squares(x: Float[Array, "h w n c"]) -> Float[Array, "h2 2 w2 2 n c"]:
    h, w = x.shape[0] // 2, x.shape[1] // 2
    return x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, *x.shape[2:])


def layer_norm(x: Float[Array, "n t d"], name: str) -> Float[Array, "n t d"]:
    """The norm of each token, affine; inside a compact method."""
    return nn.LayerNorm(epsilon=EPS, name=name)(x)


class Affine(nn.Module):
    """Scale and shift [c], initially 1 and 0."""

    @nn.compact
    def __call__(self, channels: int) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
        scale = self.param("scale", nn.initializers.ones, (channels,))
        return scale, self.param("shift", nn.initializers.zeros, (channels,))


def instance_norm(
    x: Float[Array, "h w n c"], scale: Float[Array, " c"], shift: Float[Array, " c"]
) -> Float[Array, "h w n c"]:
    """Instance norm (Ulyanov et al. 2016): per image and channel over h w, biased variance, affine.

    Statistics and sums are float32, also of bfloat16 images.
    A constant added to a channel does not change its norm. The bias of a convolution before it is therefore a parameter
    with gradient zero, which networks leave out of their sums; that saves a pass over memory in every derivative.
    """
    wide = x.astype(scale.dtype)
    mean = wide.mean((0, 1), keepdims=True)
    # One pass over memory instead of two. Rounding can make the difference slightly negative.
    variance = jnp.maximum((wide * wide).mean((0, 1), keepdims=True) - mean * mean, 0.0)
    gain = lax.rsqrt(variance + EPS) * scale.reshape(1, 1, 1, -1)
    out = wide * gain + (shift.reshape(1, 1, 1, -1) - mean * gain)
    return out.astype(x.dtype)


def norm_of_product(
    patches: Float[Array, "h w n q"],
    kernel: Float[Array, "q d"],
    scale: Float[Array, " d"],
    shift: Float[Array, " d"],
) -> Float[Array, "h w n d"]:
    """instance_norm(patches @ kernel) without passes over the product for its mean and variance and their derivatives.

    Both follow from the q x q covariance of an image's patches, which is small where q is. The norm becomes a factor on
    the kernel, one for each image.
    """
    h, w, n, q = patches.shape
    dtype, patches = patches.dtype, patches.astype(kernel.dtype)
    rows = patches.transpose(2, 0, 1, 3).reshape(n, h * w, q)
    rows = rows - rows.mean(1, keepdims=True)  # now the product has mean zero
    covariance = jnp.einsum("npq,npr->nqr", rows, rows) / (h * w)
    variance = jnp.einsum("qd,nqr,rd->nd", kernel, covariance, kernel)
    gain = lax.rsqrt(jnp.maximum(variance, 0.0) + EPS) * scale.reshape(1, -1)
    kernels = kernel[None] * gain.reshape(n, 1, -1)
    product = jnp.einsum("npq,nqd->npd", rows, kernels) + shift.reshape(1, 1, -1)
    return product.reshape(n, h, w, -1).transpose(1, 2, 0, 3).astype(dtype)


class BatchNorm(nn.Module):
    """The norm per channel over images and pixels, affine, with PyTorch's running mean and (unbiased) variance."""

    @nn.compact
    def __call__(self, x: Float[Array, "h w n c"], train: bool) -> Float[Array, "h w n c"]:
        dtype, c = x.dtype, x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (c,))
        shift = self.param("shift", nn.initializers.zeros, (c,))
        running_mean: Any = self.variable("batch_stats", "mean", jnp.zeros, (c,))
        running_variance: Any = self.variable("batch_stats", "variance", jnp.ones, (c,))
        x = x.astype(scale.dtype)
        if train:
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            count = x.size // c
            if not self.is_initializing():
                unbiased = variance * (count / max(count - 1, 1))
                running_mean.value += MOMENTUM * (mean - running_mean.value)
                running_variance.value += MOMENTUM * (unbiased - running_variance.value)
        else:
            mean, variance = running_mean.value, running_variance.value
        gain = lax.rsqrt(variance + EPS) * scale
        out = x * gain.reshape(1, 1, 1, -1) + (shift - mean * gain).reshape(1, 1, 1, -1)
        return out.astype(dtype)
