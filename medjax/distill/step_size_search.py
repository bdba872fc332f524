"""The first step size of MTT's students, searched on a few expert segments before the first iteration."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from medjax import train
from medjax.augment import Augmentation
from medjax.distill.mtt import match
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.segments import Segments
from medjax.models.base import Model

#: Losses up to this multiple of the lowest count as equal to it.
SLACK = 1.15


def search_step_size(
    config: MTTConfig,
    key: Array,
    images: Float[Array, "m h w c"],
    labels: train.Labels,
    segments: Segments,
    grid: Float[Array, " g"],
    *,
    model: Model,
    augment: Augmentation | None,
) -> tuple[Float[Array, ""], Float[Array, " g"]]:
    """The largest step size of ``grid`` (which rises) whose mean loss over ``segments`` [s, p] is at most `SLACK` times
    the lowest, and all these losses.

    Real images lead a student hardly nearer to its target. So the losses are nearly equal up to the step size at which
    the student goes astray, and the lowest may be that of a student which does not move: its images learn nothing.
    Every step size sees the same segments and the same augmentations.
    """
    keys = jax.random.split(key, segments.start.shape[0])

    def mean_loss(step_size: Array) -> Array:
        def one(xs: tuple[Array, Array, Array]) -> Array:
            key, start, target = xs
            segment = Segments(start, target)
            return match(config, model, augment, key, images, labels, step_size, segment)[0]

        return lax.map(one, (keys, segments.start, segments.target)).mean()

    losses = lax.map(mean_loss, grid)
    equal = jnp.isfinite(losses) & (losses <= SLACK * jnp.nanmin(losses))
    last = len(losses) - 1 - equal[::-1].argmax()
    # Of losses that are all NaN the first, which is the smallest step size.
    return grid[jnp.where(equal.any(), last, 0)], losses


#: The same, compiled once for all seeds.
search = jax.jit(search_step_size, static_argnames=("config", "model", "augment"))
