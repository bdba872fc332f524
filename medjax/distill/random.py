"""Random selection: the baseline of every distilled set, and its usual start."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from medjax.types import Dataset


@functools.partial(jax.jit, static_argnums=(2, 3))
def random_images(
    key: Array, data: Dataset, ipc: int, classes: int
) -> tuple[Float[Array, "m h w c"], Int[Array, " m"]]:
    """``ipc`` random real images of each class, class by class (`random_rows`); m = classes * ipc."""
    labels = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), ipc)
    return data.images[random_rows(key, data.labels, ipc, classes)], labels


def random_rows(key: Array, labels: Int[Array, " n"], ipc: int, classes: int) -> Int[Array, " m"]:
    """The places of ``ipc`` random images of each class, class by class; m = classes * ipc.

    A class with fewer than ``ipc`` images is used completely and then again from its start. Every class needs at least
    one image.
    """
    scores = jax.random.uniform(key, labels.shape)
    owner = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), ipc)
    # Sorting by (class, score) puts each class in random order, side by side.
    order = jnp.lexsort((scores, labels))
    counts = jnp.zeros(classes, jnp.int32).at[labels].add(1)
    first = jnp.cumsum(counts) - counts
    rank = jnp.tile(jnp.arange(ipc, dtype=jnp.int32), classes)
    return order[first[owner] + rank % counts[owner]].astype(jnp.int32)


def packed_images(
    select: Callable[..., tuple[Array, Array]], key: Array, data: Dataset, ipc: int, classes: int
) -> tuple[Float[Array, "m h w c"], Int[Array, " m"]]:
    """``ipc`` images of each class, class by class, as ``data.packing`` keeps them, that hold the real images that
    ``select`` chooses: one each, or as many as it says."""
    held = data.packing.held
    images, labels = select(key, data, held * ipc, classes)
    if held == 1:
        return data.packing.pack(images), labels
    by_class = images.reshape(classes, held, ipc, *images.shape[1:])
    tiles = by_class.swapaxes(0, 1).reshape(images.shape)
    return data.packing.pack(tiles), labels[::held]
