"""Several seeds of a method side by side, for any method."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from medjax import devices
from medjax.distill.base import Distiller
from medjax.types import PyTree


def together(distillers: Sequence[Distiller]) -> Distiller:
    """The distiller of several seeds, for `run` with the keys [s]: it feeds them all, leading axes [s, K].

    distillers: one for each seed; they differ in what they feed on alone.
    """
    first = distillers[0]

    def feed(keys: Array, iterations: Int[Array | np.ndarray, " K"]) -> PyTree:
        fed = [d.feed(key, iterations) for d, key in zip(distillers, keys, strict=True) if d.feed]
        # What is on an accelerator stays there.
        stack = np.stack if devices.on_cpu() else jnp.stack
        return jax.tree.map(lambda *parts: stack(parts), *fed)

    return first._replace(feed=feed if first.feed else None)


def stacked(trees: Sequence[PyTree]) -> PyTree:
    """The states, or the data, of several seeds as one, leading axis [s]."""
    return jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(p) for p in parts]), *trees)


def nth(tree: PyTree, number: int) -> PyTree:
    """What belongs to one seed."""
    return jax.tree.map(lambda a: a[number], tree)
