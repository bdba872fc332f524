"""The interface of every method, and the one driver that runs them."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from medjax import devices, graphs
from medjax.types import Dataset, PyTree, Synthetic


class Distiller(NamedTuple):
    """A distillation method as pure functions that a factory returns.

    init: (key, data) -> state. ``data`` is the training split on the device. It is compiled by `jax.jit`: what the host
        has to do belongs into the recipe's ``prepare``.
    feed: (key, iterations [K]) -> pytree with leading axis K, read on the host; None for methods that read ``data``
        alone. Iteration i depends on (key, i) alone, not on K and not on where a run was resumed.
    step: (key, state, data, item) -> (state, info); ``item`` is one iteration's slice of a feed, or None. Pure.
        ``info`` is a NamedTuple of scalars for the log, among them ``loss`` and ``skipped`` (whether the iteration
        changed nothing); where it has a ``step_size``, that is shown while the run goes on.
    extract: state -> Synthetic, its images as they are kept: in model space, or as pixels where ``data.packing`` says
        so. Labels rise: ipc of class 0, then of class 1, and so on.
    reads_images: whether ``step`` reads the images and labels of ``data``; else its packing alone.
    """

    init: Callable[[Array, Dataset], Any]
    feed: Callable[[Array, Any], PyTree] | None
    step: Callable[[Array, Any, Dataset, PyTree], tuple[Any, Any]]
    extract: Callable[[Any], Synthetic]
    reads_images: bool = True


class Chunk(NamedTuple):
    """The result of one device call of `run`.

    done: iterations finished since the very first.
    state: the method's state now. `run` may hand its buffers to the next call: copy what must outlive the loop's body.
    infos: each iteration's info, leading axis K, on the host.

    Of several seeds both have a leading axis [s] before it.
    """

    done: int
    state: Any
    infos: Any


def iterated(distiller: Distiller, several: bool) -> Callable[..., tuple[Any, Any]]:
    """The program of a device call: (state, key, data, numbers [K], items) -> (state, infos). Of ``several`` seeds
    state, key, items and infos have a leading axis [s], and data too where each seed has its own; the seeds are dealt
    out to the devices, which exchange nothing until the call's end. A seed's numbers are those of its own distillation,
    to rounding."""

    def one_seed(
        numbers: Array, data: Dataset, key: Array, state: Any, items: PyTree
    ) -> tuple[Any, Any]:
        def step(state: Any, xs: tuple[Array, PyTree]) -> tuple[Any, Any]:
            number, item = xs
            return distiller.step(jax.random.fold_in(key, number), state, data, item)

        return lax.scan(step, state, (numbers, items))

    # The key is an argument: a key that is closed over would be a constant, and every seed would compile anew.
    def call(state: Any, key: Array, data: Dataset, numbers: Any, items: PyTree) -> tuple[Any, Any]:
        spread = devices.map_sharded if several else functools.partial
        if data.labels.ndim > 1:
            return spread(one_seed, numbers)(data, key, state, items)
        return spread(one_seed, numbers, data)(key, state, items)

    return call


def run(
    distiller: Distiller,
    key: Array,
    data: Dataset,
    state: Any,
    *,
    first: int,
    iterations: int,
    chunk: int,
    every: int | None = None,
) -> Iterator[Chunk]:
    """Iterations ``first`` .. ``iterations`` - 1, ``chunk`` of them a device call; shorter calls are the last one and
    those that end at a multiple of ``every``.

    Yields after every call, so that the caller can log, draw and save; a caller that stops iterating stops the run. An
    accelerator is not kept waiting: the next call is handed to it before the results of the last one are. The next feed
    is read while the device works. The same key gives the same result, however the run is cut into calls. key: one, or
    the keys [s] of `together`; then data may have a leading axis [s] too (`stacked`), for images of each seed's own.
    """
    several = bool(key.ndim)
    split = jax.vmap(jax.random.split) if several else jax.random.split
    feed_key, step_key = jnp.moveaxis(split(key), -1, 0)
    # An accelerator that is at work would make the host wait for its key.
    feed_key = jax.device_put(feed_key, devices.host())
    call = graphs.jit(iterated(distiller, several), donate_argnums=0)

    def read(begin: int) -> tuple[np.ndarray, PyTree]:
        block, length = (begin // every * every, every) if every else (0, iterations)
        # The same ends wherever a run is taken up again.
        end = block + min(((begin - block) // chunk + 1) * chunk, length)
        numbers = np.arange(begin, min(end, iterations), dtype=np.int32)
        return numbers, distiller.feed(feed_key, numbers) if distiller.feed else None

    def begin(state: Any, first: int) -> tuple[int, Any, Any]:
        nonlocal following
        assert following is not None
        numbers, items = following
        state, infos = call(state, step_key, data, numbers, items)
        done = first + len(numbers)
        following = read(done) if done < iterations else None
        return done, state, infos

    following = read(first) if first < iterations else None
    state = jax.tree.map(jnp.array, state)  # a copy: the first call donates it
    working = begin(state, first) if following is not None else None
    while working is not None:
        done, state, infos = working
        # Where an evaluation is due the caller needs the device itself, and the time of each is to be known.
        ahead = following is not None and not devices.on_cpu() and not (every and done % every == 0)
        # The next call takes the state's buffers. On a CPU it would take cores from what the caller does.
        shown = jax.tree.map(jnp.array, state) if ahead else state
        working = begin(state, done) if ahead else None
        yield Chunk(done, shown, jax.device_get(infos))
        if working is None and following is not None:
            working = begin(state, done)
