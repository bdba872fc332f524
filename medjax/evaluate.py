"""How well a network trains on a synthetic set: a population of fresh networks, scored on real images.

Protocol of the public codes: SGD at the set's step size, momentum 0.9, weight decay 5e-4, DSA, the step size times 0.1
after half of the epochs.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from medjax import cost, devices, graphs, metrics, train
from medjax.augment import Augmentation
from medjax.eval_config import CUTMIX, EvalConfig
from medjax.models.base import Model
from medjax.types import Dataset, PyTree, Synthetic

#: Schedules are as long as a multiple of this, so that one compiled program serves interim and final evaluations.
SCHEDULE = 1024


class Population(NamedTuple):
    """How a population of networks trains; arrays with leading axis e.

    keys [e]; rates [e, t]: step size of each epoch; forget [t]: epochs before which the optimiser starts anew; rows
    [e, m]: the images of the data that each network trains on, None: all images.
    """

    keys: Array
    rates: Float[Array, "e t"]
    forget: Array
    rows: Int[Array, "e m"] | None = None


class Best(NamedTuple):
    """Each network as it was after its best epoch so far, leading axis e: parameters, batch statistics, and the AUC."""

    params: PyTree
    model_state: PyTree
    auc: Float[np.ndarray, " e"]


@functools.cache  # one object for equal arguments, so that the jitted functions below compile once
def trainer(
    config: EvalConfig,
    model: Model,
    classes: int,
    augment: Augmentation | None,
    steps: int = 0,
) -> train.Trainer:
    """The evaluation's recipe. steps: where optimiser steps are counted, every one takes a full batch."""
    augment = augment if config.eval_augment else None
    parts = model, train.sgd(0.9, 5e-4), augment, config.eval_batch, classes
    return train.Trainer(*parts, cutmix=config.eval_recipe == CUTMIX, tail=not steps)


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def population(
    config: EvalConfig, key: Array, networks: int, epochs: int, step_sizes: Float[Array, " g"]
) -> Population:
    """``networks`` networks for each step size, the same keys for each, so that step sizes are compared in pairs."""
    parity = int(config.decay_parity)
    epoch = jnp.arange(epochs + parity)
    decayed = epoch > epochs // 2 + 1 if parity else epoch >= max(1, epochs // 2)
    rates = jnp.float32(step_sizes).reshape(-1, 1) * jnp.where(decayed, 0.1, 1.0).reshape(1, -1)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(networks))
    forget = (epoch == epochs // 2 + 2) & bool(parity)
    count = rates.shape[0]
    return Population(
        jnp.tile(keys, count), jnp.repeat(rates.astype(jnp.float32), networks, axis=0), forget
    )


def start_networks(trainer: train.Trainer, people: Population) -> train.FitState:
    """Fresh networks, leading axis e."""
    return devices.map_in_groups(lambda _, keys: _start(trainer, keys), people.keys)


@graphs.jit(static_argnums=0)
def _start(trainer: train.Trainer, keys: Array) -> train.FitState:
    return jax.vmap(lambda k: train.start(trainer, jax.random.fold_in(k, 0)))(keys)


@graphs.jit(static_argnums=0)
def advance(
    trainer: train.Trainer,
    people: Population,
    data: Dataset,
    state: train.FitState,
    first: Int[Array, ""],
    last: Int[Array, " e"],
) -> train.FitState:
    """Epochs ``first`` .. ``last`` - 1 (each network's own) of a population, in one program."""

    def one(
        data: Dataset,
        key: Array,
        rates: Array,
        rows: Array | None,
        state: train.FitState,
        last: Array,
    ) -> train.FitState:
        own = data if rows is None else jax.tree.map(lambda a: a[rows], data)
        run_key = jax.random.fold_in(key, 1)
        return train.fit(trainer, run_key, state, own, rates, people.forget, first, last)

    networks = people.keys, people.rates, people.rows, state
    if devices.on_cpu():
        return devices.map_per_device(one, data)(*networks, last)
    # Side by side all go equally far: with a bound of its own each would be selected from old and new in every epoch.
    furthest = functools.partial(one, last=last.max())
    return devices.map_per_device(furthest, data)(*networks)


def train_networks(
    trainer: train.Trainer,
    people: Population,
    data: Dataset,
    state: train.FitState,
    first: int = 0,
    every_epoch: bool = False,
) -> Iterator[tuple[int, train.FitState]]:
    """Train from epoch ``first`` to the end; yields (epochs done, state) after every device call. every_epoch: call the
    device for one epoch at a time, however short it is."""
    count, epochs = people.rates.shape
    # A distillation leaves its set on several devices of a CPU.
    data = devices.place(devices.gather(data), devices.group_size(count))
    images = (data.labels if people.rows is None else people.rows[0]).shape[0]
    epoch_flops = cost.GRADIENT * trainer.model.flops * images * count
    per_call = 1 if every_epoch else max(1, int(cost.work_per_call() / epoch_flops))
    rest = -epochs % SCHEDULE
    rates, forget = jnp.pad(people.rates, ((0, 0), (0, rest))), jnp.pad(people.forget, (0, rest))
    for begin in range(first, epochs, per_call):
        end = min(begin + per_call, epochs)

        def call(
            at_work: np.ndarray,
            keys: Array,
            rates: Array,
            rows: Array | None,
            state: train.FitState,
            begin: int = begin,
            end: int = end,
        ) -> train.FitState:
            group, last = Population(keys, rates, forget, rows), np.where(at_work, end, begin)
            return advance(trainer, group, data, state, jnp.int32(begin), jnp.int32(last))

        state = devices.map_in_groups(call, people.keys, rates, people.rows, state)
        yield end, jax.block_until_ready(state)


@graphs.jit(static_argnums=0)
def logits(
    model: Model, params: PyTree, model_state: PyTree, images: Float[Array, "n h w c"]
) -> Float[Array, "e n k"]:
    """The logits of every network."""

    def one(params: PyTree, model_state: PyTree) -> Array:
        return model.apply(params, model_state, images, False)[0]

    return devices.map_per_device(one)(params, model_state)


def predict(
    model: Model, state: train.FitState | Best, images: Float[Array, "n h w c"]
) -> Float[np.ndarray, "e n k"]:
    """The log odds of each class by every network (`metrics.log_odds`), `cost.chunk_size` images at a time; the last
    chunk is padded."""
    count, networks = images.shape[0], len(jax.tree.leaves(state.params)[0])
    chunk = cost.chunk_size(model, images.shape[1:], networks)

    def group(_: np.ndarray, params: PyTree, model_state: PyTree) -> np.ndarray:
        parts = []
        for first in range(0, count, chunk):
            chosen = np.minimum(np.arange(first, first + chunk), count - 1)
            parts.append(np.asarray(logits(model, params, model_state, images[chosen])))
        return np.concatenate(parts, axis=1)[:, :count]

    return metrics.log_odds(devices.map_in_groups(group, state.params, state.model_state))


def score(
    model: Model, state: train.FitState, images: Array, labels: Int[Array, " n"]
) -> list[metrics.Metrics]:
    """The scores of every network on these real images."""
    truth = np.asarray(labels)
    return [metrics.scores(truth, p) for p in predict(model, state, images)]


def none_yet(fresh: train.FitState) -> Best:
    """Networks before their first epoch, which is better whatever it scores."""
    return Best(fresh.params, fresh.model_state, np.full(len(fresh.loss), -2.0))


def best_of(model: Model, best: Best, state: train.FitState, val: Dataset) -> Best:
    """``best`` after one more epoch, judged by the AUC on ``val`` (one that is not defined is worse than any). The
    first of equals stays."""
    found = score(model, state, val.images, val.labels)
    auc = np.nan_to_num(np.array([one.auc for one in found]), nan=-1.0)
    now = Best(state.params, state.model_state, auc)
    better = auc > best.auc

    def pick(new: Any, old: Any) -> np.ndarray:
        return np.where(better.reshape(-1, *[1] * (np.ndim(new) - 1)), new, old)

    return jax.tree.map(pick, now, best)


def evaluate(
    trainer: train.Trainer, people: Population, synthetic: Synthetic, real: Dataset
) -> list[metrics.Metrics]:
    """Train a population on ``synthetic`` and score it on ``real``."""
    fresh = start_networks(trainer, people)
    *_, (_, state) = train_networks(trainer, people, synthetic.training, fresh)
    return score(trainer.model, state, real.images, real.labels)
