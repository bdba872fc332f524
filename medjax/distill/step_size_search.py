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
    """The step size of ``grid`` with the lowest mean loss over ``segments`` [s, p], and all these losses.

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
    # Of losses that are all NaN the first, which is the smallest step size.
    return grid[jnp.where(jnp.isfinite(losses), losses, jnp.inf).argmin()], losses
