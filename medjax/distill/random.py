"""Random selection: the baseline of every distilled set, and its usual start."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from medjax.types import Dataset


def random_images(
    key: Array, data: Dataset, ipc: int, classes: int
) -> tuple[Float[Array, "m h w c"], Int[Array, " m"]]:
    """``ipc`` random real images of each class, class by class; m = classes * ipc.

    A class with fewer than ``ipc`` images is used completely and then again from its start. Every class needs at least
    one image.
    """
    scores = jax.random.uniform(key, data.labels.shape)
    labels = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), ipc)
    # Sorting by (class, score) puts each class in random order, side by side.
    order = jnp.lexsort((scores, data.labels))
    counts = jnp.zeros(classes, jnp.int32).at[data.labels].add(1)
    first = jnp.cumsum(counts) - counts
    rank = jnp.tile(jnp.arange(ipc, dtype=jnp.int32), classes)
    chosen = order[first[labels] + rank % counts[labels]]
    return data.images[chosen], labels
