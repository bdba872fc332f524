"""Which pieces of the expert trajectories an iteration reads."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from medjax import devices
from medjax.types import Trajectories

#: Share of an accelerator's memory that the trajectories of one seed may take there.
HELD_SHARE = 0.05


class Segments(NamedTuple):
    """Expert segments: flat parameters at the start and M epochs later, each [..., p]."""

    start: Any
    target: Any


class Draws(NamedTuple):
    """How segments are drawn: ``count`` an iteration (b); start epochs from ``first`` (T-) and below ``starts`` (T+);
    the latest start rises to it over ``growth`` iterations (Guo et al. 2024, DATM); ``span`` epochs long (M); experts
    drawn, or ``cycled`` through in shuffled order."""

    count: int
    first: int
    starts: int
    growth: int
    span: int
    cycled: bool


def segment_reader(trajectories: Trajectories, draws: Draws) -> Callable[[Array, Any], Segments]:
    """The feed of MTT: (key, iterations [K]) -> their expert segments, float32 [K, b, p]; iteration i draws from
    fold_in(key, i)."""
    segments = snapshot_reader(trajectories, draws.starts + draws.span)

    def read(key: Array, iterations: Int[Array | np.ndarray, " K"]) -> Segments:
        # On the host's own device: an accelerator is still at work on earlier iterations, and the host would wait.
        drawn = draw_segments(
            draws, trajectories.experts, *jax.device_put((key, iterations), devices.host())
        )
        experts, starts = (np.asarray(a) for a in drawn)
        return segments(experts, starts, starts + draws.span)

    return read


def snapshot_reader(
    trajectories: Trajectories, snapshots: int
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], Segments]:
    """(experts [K, b], start and target epochs below ``snapshots``) -> segments, float32 [K, b, p]. An accelerator
    keeps the trajectories and picks from them itself, where they take a small share of its memory; the host would copy
    two gigabytes for a call of a thousand iterations."""
    held = functools.cache(lambda: _on_accelerator(trajectories, snapshots))

    def segments(experts: np.ndarray, starts: np.ndarray, targets: np.ndarray) -> Segments:
        if (there := held()) is not None:
            return Segments(_picked(there, experts, starts), _picked(there, experts, targets))
        epochs = np.stack([starts, targets], axis=-1)
        rows = [
            [trajectories.read(int(e), own) for e, own in zip(*pair, strict=True)]
            for pair in zip(experts, epochs, strict=True)
        ]
        stacked = np.asarray(rows, dtype=np.float32)
        return Segments(stacked[:, :, 0], stacked[:, :, 1])

    return segments


def held_bytes(experts: int, snapshots: int, snapshot: float) -> float:
    """Bytes of the trajectories of one seed that an accelerator keeps, where a snapshot has so many; 0 where they stay
    on the host."""
    size = experts * snapshots * snapshot
    fits = not devices.on_cpu() and size <= HELD_SHARE * devices.accelerator_bytes()
    return size if fits else 0.0


def _on_accelerator(trajectories: Trajectories, snapshots: int) -> Array | None:
    """The first snapshots of all experts [e, t, p]; None on a CPU, and where they would take more than HELD_SHARE."""
    if devices.on_cpu():
        return None
    snapshot = 4 * trajectories.read(0, np.arange(1)).size
    if not held_bytes(trajectories.experts, snapshots, snapshot):
        return None
    epochs = np.arange(snapshots)
    return jnp.stack([trajectories.read(e, epochs) for e in range(trajectories.experts)])


@jax.jit
def _picked(
    held: Float[Array, "e t p"], experts: Int[Array, "K b"], epochs: Int[Array, "K b"]
) -> Float[Array, "K b p"]:
    return held[experts, epochs]


@functools.partial(jax.jit, static_argnums=(0, 1))
def draw_segments(
    draws: Draws, experts: int, key: Array, iterations: Int[Array, " K"]
) -> tuple[Int[Array, "K b"], Int[Array, "K b"]]:
    """Which expert, and which start epoch, each segment of these iterations uses."""
    b = draws.count

    def draw(iteration: Array) -> tuple[Array, Array]:
        expert_key, epoch_key = jax.random.split(jax.random.fold_in(key, iteration))
        below = draws.starts
        if draws.growth:
            share = jnp.minimum(1.0, (iteration + 1) / draws.growth)
            below = draws.first + jnp.ceil(share * (draws.starts - draws.first)).astype(jnp.int32)
        starts = jax.random.randint(epoch_key, (b,), draws.first, below)
        if not draws.cycled:
            return jax.random.randint(expert_key, (b,), 0, experts), starts
        # The public code goes through all experts before it shuffles them again.
        position = iteration * b + jnp.arange(b)

        def at(place: Array) -> Array:
            cycle = jax.random.fold_in(jax.random.fold_in(key, 2**31 - 1), place // experts)
            return jax.random.permutation(cycle, experts)[place % experts]

        return jax.vmap(at)(position), starts

    return jax.vmap(draw)(iterations)
