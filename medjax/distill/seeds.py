"""Several seeds of a method side by side, as a wrapper of any method: one feed and one program for all of them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from medjax import devices
from medjax.distill.base import Distiller
from medjax.types import Dataset, PyTree, Synthetic


def together(distillers: Sequence[Distiller]) -> Distiller:
    """The distillations of several seeds as one. Keys, states, infos and sets have a leading axis [s]; a seed's numbers
    are those of its own distillation, to rounding. The seeds are dealt out to the devices.

    distillers: one for each seed; they differ in what they feed on alone.
    """
    first = distillers[0]

    def init(keys: Array, data: Dataset) -> PyTree:
        return devices.map_sharded(lambda data, key: first.init(key, data), data)(keys)

    def feed(keys: Array, iterations: Int[Array | np.ndarray, " K"]) -> PyTree:
        fed = [d.feed(key, iterations) for d, key in zip(distillers, keys, strict=True) if d.feed]
        # What is on an accelerator stays there.
        stack = np.stack if devices.on_cpu() else jnp.stack
        return jax.tree.map(lambda *parts: stack(parts, axis=1), *fed)

    def step(keys: Array, state: PyTree, data: Dataset, item: PyTree) -> tuple[PyTree, PyTree]:
        def own(data: Dataset, key: Array, state: PyTree, *item: PyTree) -> tuple[PyTree, PyTree]:
            return first.step(key, state, data, item[0] if item else None)

        items = () if item is None else (item,)
        return devices.map_sharded(own, data)(keys, state, *items)

    def extract(state: PyTree) -> Synthetic:
        return jax.vmap(first.extract)(state)

    return Distiller(init, feed if first.feed else None, step, extract)


def stacked(trees: Sequence[PyTree]) -> PyTree:
    """The states of several seeds as one, leading axis [s]."""
    return jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(p) for p in parts]), *trees)


def nth(tree: PyTree, number: int) -> PyTree:
    """What belongs to one seed."""
    return jax.tree.map(lambda a: a[number], tree)
