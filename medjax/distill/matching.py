"""Distances that methods minimise: between parameter vectors (MTT); gradients follow with DC."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def parameter_distance(
    end: Float[Array, " p"], start: Float[Array, " p"], target: Float[Array, " p"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Normalised squared distance |end - target|^2 / |start - target|^2 (the study's eq. 5), and how far ``end`` went:
    |end - start| / |start - target|."""
    span = jnp.sum((start - target) ** 2)
    loss = jnp.sum((end - target) ** 2) / span
    return loss, jnp.sqrt(jnp.sum((end - start) ** 2) / span)
