"""A student's SGD steps on a synthetic set, differentiable through all of them (the study's equation 4)."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from medjax import cost, devices, train
from medjax.augment import Augmentation
from medjax.models.base import Model, flattening
from medjax.models.conv import CONVOLUTION
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
    augment: Augmentation | None,
    key: Array,
    synthetic: Synthetic,
    start: Float[Array, " p"],
    table: Int[Array, "N batch"],
    residuals: str = "recomputed",
) -> Float[Array, " p"]:
    """The parameters after eq. 4 from ``start``, one step on each row of ``table``; differentiable to any order.
    synthetic: its labels are classes, or shares of them (`train.Labels`).
    residuals: what of each step is kept for the derivative, one of `cost.RESIDUALS`."""
    unravel = flattening(model)
    steps, batch = table.shape
    dealt = devices.splits(batch)
    whole = batch == synthetic.labels.shape[0]
    drawn = None
    if augment is not None:
        keys = jax.random.split(key, steps)
        drawn = jax.vmap(lambda key: augment.draw(key, batch))(keys)

    def loss(theta: Array, images: Array, labels: Array, weights: Array) -> Array:
        logits, _ = model.apply(unravel(theta), {}, images, True)
        return weights @ train.cross_entropies(logits, labels)

    def inner(
        synthetic: Synthetic, weights: Array, theta: Array, xs: tuple[Array, PyTree]
    ) -> tuple[Array, None]:
        chosen, drawn = xs
        images, labels = synthetic.images, synthetic.labels
        if not whole:
            images, labels = images[chosen], labels[chosen]
        if augment is not None:
            images = augment.apply(images, drawn)
        # Under `replicate` the sum over the devices is part of a gradient to what all devices share.
        gradient = jax.grad(loss)(theta, images, labels, weights)
        return theta - synthetic.step_size * gradient, None

    def walk(synthetic: Synthetic, start: Array, table: Array, drawn: PyTree) -> Array:
        weights = jnp.full(batch, 1 / batch)
        if dealt:
            mine, counts = devices.shard(batch)
            table, drawn = jax.tree.map(lambda a: a[:, mine], (table, drawn))
            weights = counts / batch
            if whole:
                images, labels = synthetic.images[mine], synthetic.labels[mine]
                synthetic = synthetic._replace(images=images, labels=labels)
        step = functools.partial(inner, synthetic, weights)
        if residuals != "kept":
            saved = jax.checkpoint_policies.save_only_these_names(CONVOLUTION)
            policy = saved if residuals == "convolutions" else None
            step = jax.checkpoint(step, policy=policy)
        unroll = cost.unroll(batch)
        return lax.scan(step, start, (table, drawn), unroll=unroll)[0]

    return (devices.replicate(walk) if dealt else walk)(synthetic, start, table, drawn)
