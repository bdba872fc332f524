"""A student's SGD steps on a synthetic set, differentiable through all of them (the study's equation 4)."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from medjax import cost, devices, train
from medjax.models.base import Model, flattening
from medjax.models.conv import CONVOLUTION
from medjax.train import Augment
from medjax.types import PyTree, Synthetic


def minibatches(key: Array, images: int, batch: int, steps: int) -> Int[Array, "N batch"]:
    """The images of each inner step: the whole set where ``batch`` is all, else pieces of fresh permutations.

    The rest of a permutation after its last full piece is dropped (the public code takes a smaller step on it).
    """
    if batch == images:
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
    residuals: str = "recomputed",
) -> Float[Array, " p"]:
    """The parameters after eq. 4 from ``start``, one step on each row of ``table``; differentiable to any order.
    residuals: what of each step is kept for the derivative, one of `cost.RESIDUALS`."""
    unravel = flattening(model)
    steps, batch = table.shape
    dealt = devices.splits(batch)
    whole = batch == synthetic.labels.shape[0]

    def loss(params: PyTree, images: Array, labels: Array, weights: Array) -> Array:
        logits, _ = model.apply(params, {}, images, True)
        return weights @ train.cross_entropies(logits, labels)

    def inner(synthetic: Synthetic, theta: PyTree, xs: tuple[Array, Array]) -> tuple[PyTree, None]:
        key, chosen = xs
        images, labels = synthetic.images, synthetic.labels
        if not whole:
            images, labels = images[chosen], labels[chosen]
        if augment is not None:
            images = augment(key, images)
        weights = jnp.full(batch, 1 / batch)
        if dealt:
            mine, counts = devices.shard(batch)
            images, labels, weights = images[mine], labels[mine], counts / batch
        # Under `spread` the sum over the lanes is part of a gradient to what all lanes share.
        grads = jax.grad(loss)(theta, images, labels, weights)
        return jax.tree.map(lambda p, g: p - synthetic.step_size * g, theta, grads), None

    def walk(synthetic: Synthetic, start: Array, keys: Array, table: Array) -> Array:
        step = functools.partial(inner, synthetic)
        if residuals != "kept":
            saved = jax.checkpoint_policies.save_only_these_names(CONVOLUTION)
            policy = saved if residuals == "convolutions" else None
            step = jax.checkpoint(step, policy=policy)
        unroll = cost.unroll(batch)
        return ravel_pytree(lax.scan(step, unravel(start), (keys, table), unroll=unroll)[0])[0]

    keys = jax.random.split(key, steps)
    return (devices.replicate(walk) if dealt else walk)(synthetic, start, keys, table)
