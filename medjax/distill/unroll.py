"""A student's SGD steps on a synthetic set, differentiable through all of them (the study's equation 4)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from medjax.models.base import Model, flattening
from medjax.train import Augment, batch_gradient
from medjax.types import Dataset, Synthetic


def minibatches(key: Array, images: int, batch: int, steps: int) -> Int[Array, "N batch"]:
    """The images of each inner step: the whole set where ``batch`` is 0, else pieces of fresh permutations.

    What a permutation leaves after its last full piece is dropped (the public code steps on it, smaller).
    """
    if batch in (0, images):
        return jnp.tile(jnp.arange(images, dtype=jnp.int32), (steps, 1))
    pieces = images // batch
    keys = jax.random.split(key, -(-steps // pieces))
    orders = jax.vmap(lambda k: jax.random.permutation(k, images))(keys)
    return orders[:, : pieces * batch].reshape(-1, batch)[:steps].astype(jnp.int32)


def student(
    model: Model,
    augment: Augment | None,
    key: Array,
    synthetic: Synthetic,
    start: Float[Array, " p"],
    table: Int[Array, "N batch"],
) -> Float[Array, " p"]:
    """Where eq. 4 leads from ``start``, one step on each row of ``table``; differentiable to any order."""
    unravel = flattening(model)
    whole = table.shape[1] == synthetic.labels.shape[0]

    @jax.checkpoint
    def inner(theta: Any, xs: tuple[Array, Array]) -> tuple[Any, None]:
        key, chosen = xs
        images, labels = synthetic.images, synthetic.labels
        if not whole:
            images, labels = images[chosen], labels[chosen]
        if augment is not None:
            images = augment(key, images)
        _, _, grads = batch_gradient(model, theta, {}, Dataset(images, labels))
        return jax.tree.map(lambda p, g: p - synthetic.step_size * g, theta, grads), None

    keys = jax.random.split(key, table.shape[0])
    theta, _ = lax.scan(inner, unravel(start), (keys, table))
    return ravel_pytree(theta)[0]
