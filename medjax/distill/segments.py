"""Which pieces of the expert trajectories an MTT iteration reads."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from medjax.types import Trajectories


class Segments(NamedTuple):
    """Expert segments: flat parameters at the start and M epochs later, each [..., p]."""

    start: Any
    target: Any


class Draws(NamedTuple):
    """How segments are drawn: ``count`` an iteration (b), start epochs below ``starts`` (T+), ``span`` epochs long (M);
    experts drawn, or ``cycled`` through in shuffled order."""

    count: int
    starts: int
    span: int
    cycled: bool


def read_segments(
    trajectories: Trajectories, draws: Draws, key: Array, iterations: Int[Array | np.ndarray, " K"]
) -> Segments:
    """The expert segments of these iterations, float32 [K, b, p]; iteration i draws from fold_in(key, i)."""
    # On the host's own device: an accelerator is still computing earlier iterations, and the host would wait for it.
    host = jax.local_devices(backend="cpu")[0]
    drawn = draw_segments(draws, trajectories.experts, *jax.device_put((key, iterations), host))
    experts, starts = (np.asarray(a) for a in drawn)
    rows = [
        [
            trajectories.read(int(e), np.array([t, t + draws.span]))
            for e, t in zip(*pair, strict=True)
        ]
        for pair in zip(experts, starts, strict=True)
    ]
    stacked = np.asarray(rows, dtype=np.float32)
    return Segments(stacked[:, :, 0], stacked[:, :, 1])


@functools.partial(jax.jit, static_argnums=(0, 1))
def draw_segments(
    draws: Draws, experts: int, key: Array, iterations: Int[Array, " K"]
) -> tuple[Int[Array, "K b"], Int[Array, "K b"]]:
    """Which expert, and which start epoch, each segment of these iterations uses."""
    b = draws.count

    def draw(iteration: Array) -> tuple[Array, Array]:
        expert_key, epoch_key = jax.random.split(jax.random.fold_in(key, iteration))
        starts = jax.random.randint(epoch_key, (b,), 0, draws.starts)
        if not draws.cycled:
            return jax.random.randint(expert_key, (b,), 0, experts), starts
        # The public code goes through all experts before it shuffles them again.
        position = iteration * b + jnp.arange(b)

        def at(place: Array) -> Array:
            cycle = jax.random.fold_in(jax.random.fold_in(key, 2**31 - 1), place // experts)
            return jax.random.permutation(cycle, experts)[place % experts]

        return jax.vmap(at)(position), starts

    return jax.vmap(draw)(iterations)
