"""A convolution and its two gradients as three functions that are each other's derivatives, to any order.

A convolution is linear in its images and in its kernel, and so are its two gradients:

    forward    y  = conv(x, kernel)
    to_images  dx = the gradient of <dy, conv(x, kernel)> to x
    to_kernel  dk = the same to the kernel

so that each derivative of one of the three is another of them. A derivative keeps the two arguments, and nothing that a
lowering makes of them on its way.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jaxtyping import Array

#: (geometry, first, second) -> result; the geometry is static and hashable.
Bilinear = Callable[[Any, Array, Array], Array]


def differentiable(
    forward: Bilinear,
    to_images: Bilinear,
    to_kernel: Bilinear,
    mark: Callable[[Array], Array] = lambda a: a,
) -> Bilinear:
    """``forward`` (geometry, x, kernel) with reverse-mode derivatives of any order. The arguments of ``to_images`` are
    (geometry, dy, kernel), of ``to_kernel`` (geometry, x, dy). mark: what every result goes through."""
    made = [jax.custom_vjp(f, nondiff_argnums=(0,)) for f in (forward, to_images, to_kernel)]

    def of(which: int) -> Bilinear:
        return lambda geometry, a, b: mark(made[which](geometry, a, b))

    y, images, kernel = (of(i) for i in range(3))
    rules = (
        lambda g, ab, dy: (images(g, dy, ab[1]), kernel(g, ab[0], dy)),
        lambda g, ab, dx: (y(g, dx, ab[1]), kernel(g, dx, ab[0])),
        lambda g, ab, dk: (images(g, ab[1], dk), y(g, ab[0], dk)),
    )
    for function, rule in zip(made, rules, strict=True):
        function.defvjp(lambda g, a, b, f=function: (f(g, a, b), (a, b)), rule)
    return lambda geometry, x, kernel: y(geometry, *alike(x, kernel))


def alike(*arrays: Array) -> list[Array]:
    """Inside `jax.shard_map`: an array that is the same on all devices is marked as one of each device's own where
    another is, so that JAX sums its gradient over the devices."""
    own = [jax.typeof(a).mat.varying for a in arrays]
    axes = frozenset().union(*own)
    return [
        lax.pcast(a, tuple(axes - has), to="varying") if axes - has else a
        for a, has in zip(arrays, own, strict=True)
    ]
