"""How well a network trains on a synthetic set: a population of fresh networks, scored on real images.

Protocol of the public codes: SGD at the set's step size, momentum 0.9, weight decay 5e-4, DSA, the step size times 0.1
after half of the epochs.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from medjax import cost, metrics, train
from medjax.config import option
from medjax.models.base import Model
from medjax.types import Dataset, PyTree, Synthetic

#: Test images a device call sees per network: bounds memory, like WORK_PER_CALL a constant.
TEST_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Networks trained on a synthetic set."""

    networks: int = option(5, "networks of the final evaluation", low=1)
    eval_epochs: int = option(1000, "epochs of each", low=1)
    eval_batch: int = option(256, "their batch size", low=1)
    eval_augment: bool = option(True, "DSA while they train")
    decay_parity: bool = option(
        False, "decay as the public code: after epoch E//2+1, momentum reset, E+1 epochs"
    )


@dataclasses.dataclass(frozen=True)
class InterimConfig:
    """Which iteration is kept, by cheap evaluations on the way."""

    eval_every: int = option(100, "iterations between interim evaluations", low=1)
    interim_networks: int = option(2, "networks of an interim evaluation", low=1)
    interim_epochs: int = option(300, "epochs of each", low=1)
    select: str = option(
        "val",
        "iteration kept: best on val, last, or best on test (optimistic)",
        choices=("val", "last", "test"),
    )


class Population(NamedTuple):
    """What a population of networks trains by; arrays, leading axis e.

    keys [e]; rates [e, t] step sizes; forget [t] epochs before which the optimiser is made anew.
    """

    keys: Array
    rates: Float[Array, "e t"]
    forget: Array


@functools.cache  # one object for equal arguments, so that the jitted functions below compile once
def trainer(
    config: EvalConfig, model: Model, classes: int, augment: train.Augment | None
) -> train.Trainer:
    """The evaluation's recipe."""
    augment = augment if config.eval_augment else None
    return train.Trainer(model, train.sgd(0.9, 5e-4), augment, config.eval_batch, classes)


def population(
    config: EvalConfig, key: Array, networks: int, epochs: int, step_sizes: Float[Array, " g"]
) -> Population:
    """``networks`` networks for each step size, the same keys for each, so that step sizes are compared in pairs."""
    parity = int(config.decay_parity)
    epoch = jnp.arange(epochs + parity)
    decayed = epoch > epochs // 2 + 1 if parity else epoch >= epochs // 2
    rates = jnp.float32(step_sizes).reshape(-1, 1) * jnp.where(decayed, 0.1, 1.0).reshape(1, -1)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(networks))
    forget = (epoch == epochs // 2 + 2) & bool(parity)
    count = rates.shape[0]
    return Population(
        jnp.tile(keys, count), jnp.repeat(rates.astype(jnp.float32), networks, axis=0), forget
    )


@functools.partial(jax.jit, static_argnums=0)
def start_networks(trainer: train.Trainer, people: Population) -> train.FitState:
    """Fresh networks, leading axis e."""
    return jax.vmap(lambda k: train.start(trainer, jax.random.fold_in(k, 0)))(people.keys)


@functools.partial(jax.jit, static_argnums=0)
def advance(
    trainer: train.Trainer,
    people: Population,
    data: Dataset,
    state: train.FitState,
    first: Int[Array, ""],
    last: Int[Array, ""],
) -> train.FitState:
    """Epochs ``first`` .. ``last`` - 1 of every network, in one program."""

    def one(key: Array, rates: Array, state: train.FitState) -> train.FitState:
        run_key = jax.random.fold_in(key, 1)
        return train.fit(trainer, run_key, state, data, rates, people.forget, first, last)

    return train.populate(one)(people.keys, people.rates, state)


def train_networks(
    trainer: train.Trainer,
    people: Population,
    data: Dataset,
    state: train.FitState,
    first: int = 0,
) -> Iterator[tuple[int, train.FitState]]:
    """Train from epoch ``first`` to the end; yields (epochs done, state) after every device call (some seconds)."""
    count, epochs = people.rates.shape
    epoch_flops = cost.GRADIENT * trainer.model.flops * data.labels.shape[0] * count
    per_call = max(1, int(cost.work_per_call() / epoch_flops))
    state = train.settle(state)
    for begin in range(first, epochs, per_call):
        end = min(begin + per_call, epochs)
        bounds = jnp.int32(begin), jnp.int32(end)
        state = train.settle(advance(trainer, people, data, state, *bounds))
        yield end, jax.block_until_ready(state)


@functools.partial(jax.jit, static_argnums=0)
def probabilities(
    model: Model, state: train.FitState, images: Float[Array, "n h w c"]
) -> Float[Array, "e n k"]:
    """Class probabilities of every network."""

    def one(params: PyTree, model_state: PyTree) -> Array:
        return jax.nn.softmax(model.apply(params, model_state, images, False)[0])

    return train.populate(one)(state.params, state.model_state)


def predict(
    model: Model, state: train.FitState, images: Float[Array, "n h w c"]
) -> Float[np.ndarray, "e n k"]:
    """Class probabilities of every network, ``TEST_CHUNK`` images at a time."""
    parts = [
        np.asarray(probabilities(model, state, images[i : i + TEST_CHUNK]))
        for i in range(0, images.shape[0], TEST_CHUNK)
    ]
    return np.concatenate(parts, axis=1)


def score(
    model: Model, state: train.FitState, images: Array, labels: Int[Array, " n"]
) -> list[metrics.Scores]:
    """The scores of every network on these real images."""
    truth = np.asarray(labels)
    return [metrics.scores(truth, p) for p in predict(model, state, images)]


def evaluate(
    trainer: train.Trainer, people: Population, synthetic: Synthetic, real: Dataset
) -> list[metrics.Scores]:
    """Train a population on ``synthetic`` and score it on ``real``, in one go."""
    fresh = start_networks(trainer, people)
    made = Dataset(synthetic.images, synthetic.labels)
    *_, (_, state) = train_networks(trainer, people, made, fresh)
    return score(trainer.model, state, real.images, real.labels)
