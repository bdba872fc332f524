"""The library's convolution, for networks one by one and side by side.

Under `jax.vmap` it and each of its gradients (see bilinear.py) become ONE grouped convolution of their own kind. JAX's
own rule for a weight gradient under `vmap` gives a forward convolution with a window as large as the image instead, for
which cuDNN has no good kernel.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from medjax.models.bilinear import differentiable

#: The name of every result here, for `jax.checkpoint` policies.
CONVOLUTION = "convolution"


class Geometry(NamedTuple):
    """The fixed part: sides of the images and of the kernel, zeros on every side, and the stride."""

    image: tuple[int, ...]
    kernel: tuple[int, ...]
    padding: int
    stride: int


def conv_grouped(
    x: Float[Array, "h w n c"], kernel: Float[Array, "a b c d"], padding: int, stride: int = 1
) -> Float[Array, "h2 w2 n d"]:
    """3x3 or any cross-correlation, zero padded. Reverse-mode derivatives only."""
    return _conv(Geometry(x.shape[:2], kernel.shape[:2], padding, stride), x, kernel)


@functools.cache
def _beside(function: Callable[..., Array], shape: Geometry) -> Callable[..., Array]:
    """``function`` of two arrays with a leading axis of networks, which `jax.vmap` makes longer."""

    @jax.custom_batching.custom_vmap
    def grouped(a: Array, b: Array) -> Array:
        return function(shape, a, b)

    @grouped.def_vmap
    def rule(size: int, batched: list[bool], a: Array, b: Array) -> tuple[Array, bool]:
        if not batched[1] and function is not _kernel_of:
            # One kernel for all: their images are one batch.
            out = grouped(jnp.moveaxis(a, 0, 3).reshape(*a.shape[1:4], -1, a.shape[5]), b)
            out = out.reshape(*out.shape[:3], size, -1, out.shape[4])
            return jnp.moveaxis(out, 3, 0), True
        a, b = (
            v if there else jnp.broadcast_to(v[None], (size, *v.shape))
            for v, there in zip((a, b), batched, strict=True)
        )
        out = grouped(*(v.reshape(-1, *v.shape[2:]) for v in (a, b)))
        return out.reshape(size, -1, *out.shape[1:]), True

    return grouped


def _convolve(shape: Geometry, x: Array, kernel: Array) -> Array:
    """[g h w n c], [g a b c d] -> [g h2 w2 n d]."""
    out = lax.conv_general_dilated(
        _channels(x),
        _channels(kernel),
        (shape.stride, shape.stride),
        ((shape.padding, shape.padding),) * 2,
        dimension_numbers=("HWNC", "HWIO", "HWNC"),
        feature_group_count=len(x),
    )
    return _networks(out, len(x))


def _images_of(shape: Geometry, dy: Array, kernel: Array) -> Array:
    """[g h2 w2 n d], [g a b c d] -> [g h w n c]: dy, with zeros between its values, by the kernel turned round."""
    before = [taps - 1 - shape.padding for taps in shape.kernel]
    after = [
        side - (shape.stride * (made - 1) + 1) - pad + taps - 1
        for side, made, pad, taps in zip(
            shape.image, dy.shape[1:3], before, shape.kernel, strict=True
        )
    ]
    out = lax.conv_general_dilated(
        _channels(dy),
        _channels(kernel[:, ::-1, ::-1].swapaxes(3, 4)),
        (1, 1),
        list(zip(before, after, strict=True)),
        lhs_dilation=(shape.stride, shape.stride),
        dimension_numbers=("HWNC", "HWIO", "HWNC"),
        feature_group_count=len(dy),
    )
    return _networks(out, len(dy))


def _kernel_of(shape: Geometry, x: Array, dy: Array) -> Array:
    """[g h w n c], [g h2 w2 n d] -> [g a b c d]: x by dy, summed over the images."""
    after = [
        taps - 1 + shape.stride * (made - 1) + 1 - side - shape.padding
        for side, made, taps in zip(shape.image, dy.shape[1:3], shape.kernel, strict=True)
    ]
    out = lax.conv_general_dilated(
        _channels(x),
        _channels(dy),
        (1, 1),
        [(shape.padding, pad) for pad in after],
        rhs_dilation=(shape.stride, shape.stride),
        dimension_numbers=("HWCN", "HWIO", "HWNC"),
        batch_group_count=len(x),
    )
    return _networks(out, len(x))


def _channels(a: Array) -> Array:
    """[g p q r s] -> [p q r g*s]: the networks' channels side by side."""
    groups, p, q, r, s = a.shape
    return a[0] if groups == 1 else a.transpose(1, 2, 3, 0, 4).reshape(p, q, r, groups * s)


def _networks(a: Array, groups: int) -> Array:
    """[p q r g*s] -> [g p q r s]."""
    p, q, r, s = a.shape
    parts = a.reshape(p, q, r, groups, s // groups)
    return a[None] if groups == 1 else parts.transpose(3, 0, 1, 2, 4)


def _one(function: Callable[..., Array]) -> Callable[..., Array]:
    """``function`` of one network."""
    return lambda shape, a, b: _beside(function, shape)(a[None], b[None])[0]


_conv = differentiable(
    _one(_convolve), _one(_images_of), _one(_kernel_of), lambda a: checkpoint_name(a, CONVOLUTION)
)
