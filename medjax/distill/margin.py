"""Margin selection: real images that networks get wrong (margin sampling, Scheffer et al. 2001, where labels are known;
selection by a proxy, Coleman et al. 2020).

The set begins with a few random real images of each class, which repeat until it is full. In a round, fresh networks
train on it for `MarginConfig.judge_steps` steps, as evaluated networks do in the study, whatever the options of the
evaluation say. By their mean probability p of each class, a training image x of class c has the margin

    p_c(x) - max over other classes of p(x)

and is wrong where that is negative. Each class then gets a number of its wrong images, drawn at random, in place of
those that have been in the set longest. These are repetitions at first: the set grows. A class with too few wrong
images gets, beside them, its images of the smallest margin. Experts, which were trained on all images, say which images
can be learned: one that they get wrong by their mean probability, as a wrong label is, comes last (the idea of the
reducible loss, Mindermann et al. 2022).

All images of the set are real. It is a baseline of methods that distil, and a start for them.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from medjax import cost, devices, evaluate, train
from medjax.augment import Augmentation
from medjax.config import option
from medjax.distill.base import Distiller
from medjax.distill.images import STEP_SIZE
from medjax.distill.random import packed_images, random_rows
from medjax.eval_config import EvalConfig, epochs_of
from medjax.models.base import Model, flattening
from medjax.types import Dataset, PyTree, Synthetic, Trajectories


@dataclasses.dataclass(frozen=True)
class MarginConfig:
    """Selection of images that networks get wrong."""

    iterations: int = option(3, "rounds of training networks and replacing images", low=1)
    begin: float = option(
        1.0, "share of each class that the first set has; its images repeat", low=0, high=1
    )
    replaced: float = option(0.2, "share of each class that a round replaces", low=0, high=1)
    judges: int = option(2, "networks that a round trains", low=1)
    judge_steps: int = option(500, "optimiser steps of each", low=1)
    judge_batch: int = option(64, "images of each step", low=1)

    def count(self, images: int) -> int:
        """Images that a round replaces of a class that has so many in the set."""
        return parts(self.replaced, images)

    def distinct(self, images: int) -> int:
        """Images, of so many of a class, that the set has at first."""
        return parts(self.begin, images)

    def grown(self, images: int) -> int:
        """Images, of so many of a class, that are no repetition after the last round."""
        return min(images, self.distinct(images) + self.iterations * self.count(images))


def parts(share: float, images: int) -> int:
    """A share of so many images, rounded up; one at least."""
    return max(1, math.ceil(share * images - 1e-9))


class MarginState(NamedTuple):
    """images [m, h, w, c] as they are kept, labels [m]; chosen [k, f * f * ipc]: their places in the training split, in
    the order in which they came."""

    images: Array
    labels: Array
    chosen: Array


class MarginInfo(NamedTuple):
    """One round, for the log.

    loss: cross-entropy of the networks' mean probability over the training split. wrong: the share of it that is wrong.
    learnable: the share of these that the experts get right. distinct: see `distinct`, after the round. skipped:
    whether nothing was replaced, for the networks had no finite probabilities.
    """

    loss: Array
    wrong: Array
    learnable: Array
    distinct: Array
    skipped: Array


def margin(
    config: MarginConfig,
    *,
    model: Model,
    augment: Augmentation | None,
    trajectories: Trajectories,
    ipc: int,
    classes: int,
) -> Distiller:
    """Margin selection as a `Distiller`. trajectories: of experts, whose last snapshots are read."""

    def kept(data: Dataset, chosen: Int[Array, "k i"]) -> MarginState:
        def select(*_: object) -> tuple[Array, Array]:
            each = jnp.arange(classes, dtype=jnp.int32)
            return data.images[chosen.reshape(-1)], jnp.repeat(each, chosen.shape[1])

        images, labels = packed_images(select, jax.random.key(0), data, ipc, classes)
        return devices.replicated(MarginState(images, labels, chosen))

    def init(key: Array, data: Dataset) -> MarginState:
        count = data.packing.held * ipc
        rows = random_rows(key, data.labels, count, classes).reshape(classes, count)
        return kept(data, rows[:, np.arange(count) % config.distinct(count)])

    def feed(key: Array, iterations: Int[Array | np.ndarray, " K"]) -> Float[np.ndarray, "K e p"]:
        last = np.array([trajectories.epochs])
        rows = [trajectories.read(expert, last)[0] for expert in range(trajectories.experts)]
        return np.broadcast_to(np.stack(rows), (len(iterations), len(rows), len(rows[0])))

    def step(
        key: Array, state: MarginState, data: Dataset, item: Float[Array, "e p"]
    ) -> tuple[MarginState, MarginInfo]:
        draw_key, *keys = jax.random.split(key, config.judges + 1)
        made = Dataset(data.packing.decode(state.images), data.packing.labels(state.labels))
        real = Dataset(data.images, data.labels)
        judged = devices.map_sharded(judge(config, model, augment, classes), made, real)
        margins, own = margins_of(judged(jnp.stack(keys)).mean(0), data.labels)
        asked = devices.map_sharded(functools.partial(ask, model, len(item)), real)
        learnable = margins_of(asked(item).mean(0), data.labels)[0] > 0
        replaced = replace(draw_key, config, state.chosen, margins, learnable, data.labels)
        finite, wrong = jnp.isfinite(margins).all(), margins < 0
        share = (wrong & learnable).sum() / jnp.maximum(wrong.sum(), 1)
        loss = -jnp.log(own + 1e-12).mean()
        chosen = jnp.where(finite, replaced, state.chosen)
        info = MarginInfo(loss, wrong.mean(), share, distinct(chosen, data.labels), ~finite)
        return kept(data, chosen), info

    def extract(state: MarginState) -> Synthetic:
        return Synthetic(state.images, state.labels, jnp.float32(STEP_SIZE))

    return Distiller(init, feed, step, extract)


def judge(
    config: MarginConfig, model: Model, augment: Augmentation | None, classes: int
) -> Callable[[Dataset, Dataset, Array], Float[Array, "n k"]]:
    """(set, training split, key) -> the probabilities [n, k] that a network of the key has for the training split after
    it was trained on the set."""
    recipe = EvalConfig(eval_batch=config.judge_batch)
    trainer = evaluate.trainer(recipe, model, classes, augment, config.judge_steps)

    def probabilities(made: Dataset, data: Dataset, key: Array) -> Float[Array, "n k"]:
        epochs = epochs_of(config.judge_steps, len(made.labels), config.judge_batch)
        rate_key, begin_key, run_key = jax.random.split(key, 3)
        people = evaluate.population(recipe, rate_key, 1, epochs, jnp.array([STEP_SIZE]))
        begun = train.start(trainer, begin_key)
        state = train.fit(trainer, run_key, begun, made, people.rates[0], people.forget, 0, epochs)
        return predicted(model, config.judges, state.params, state.model_state, data)

    return probabilities


def ask(model: Model, experts: int, data: Dataset, row: Float[Array, " p"]) -> Float[Array, "n k"]:
    """The probabilities that one of so many experts, with these parameters, has for the training split."""
    return predicted(model, experts, flattening(model)(row), {}, data)


def predicted(
    model: Model, networks: int, params: PyTree, model_state: PyTree, data: Dataset
) -> Float[Array, "n k"]:
    """The probabilities of one of so many networks side by side, `cost.chunk_size` images at a time; the last chunk is
    padded."""
    n = len(data.labels)
    size = min(n, cost.chunk_size(model, data.images.shape[1:], networks))
    table = jnp.minimum(jnp.arange(-(-n // size) * size), n - 1).reshape(-1, size)

    def logits(rows: Array) -> Array:
        return model.apply(params, model_state, data.images[rows], False)[0]

    found = lax.map(logits, table)
    return jax.nn.softmax(found.reshape(-1, found.shape[-1])[:n])


def margins_of(
    found: Float[Array, "n k"], labels: Int[Array, " n"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Of each image the probability of its class minus the largest of another, and the former alone."""
    rows = jnp.arange(len(labels))
    own = found[rows, labels]
    return own - found.at[rows, labels].set(-1.0).max(1), own


def replace(
    key: Array,
    config: MarginConfig,
    chosen: Int[Array, "k i"],
    margins: Float[Array, " n"],
    learnable: Bool[Array, " n"],
    labels: Int[Array, " n"],
) -> Int[Array, "k i"]:
    """The set after a round: of each class the first `MarginConfig.count` places go, and new ones come at the end. What
    a class cannot replace, because all of its images are in the set, stays."""
    classes, count = chosen.shape[0], config.count(chosen.shape[1])
    # Wrong images come first, in random order, from -1 to 0; then the others by their margin, from 0 to 1.
    order = jnp.where(margins < 0, jax.random.uniform(key, margins.shape) - 1, margins)
    order = jnp.where(learnable, order, order + 3)
    order = order.at[chosen.reshape(-1)].set(jnp.inf)
    sizes = jnp.zeros(classes, jnp.int32).at[labels].add(1)
    first = jnp.cumsum(sizes) - sizes
    ranks = jnp.tile(jnp.arange(count), (classes, 1))
    sizes, first = sizes.reshape(-1, 1), first.reshape(-1, 1)
    found = jnp.lexsort((order, labels))[first + jnp.minimum(ranks, sizes - 1)].astype(jnp.int32)
    free = jnp.isfinite(order[found])
    return jnp.concatenate([chosen[:, count:], jnp.where(free, found, chosen[:, :count])], axis=1)


def distinct(chosen: Int[Array, "k i"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """The images of the set, each counted once, as a share of those that it could have: a class may be smaller."""
    classes, count = chosen.shape
    ordered = jnp.sort(chosen, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]).sum()
    sizes = jnp.zeros(classes, jnp.int32).at[labels].add(1)
    return (chosen.size - repeated) / jnp.minimum(sizes, count).sum()


def iteration_flops(config: MarginConfig, model: Model, images: int, experts: int) -> float:
    """Floating-point operations of a round on a training split of so many images."""
    trained = cost.GRADIENT * config.judge_steps * config.judge_batch
    return model.flops * (config.judges * (trained + images) + experts * images)
