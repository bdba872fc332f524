"""Expert trajectories: networks trained on the real images, with a snapshot of the parameters after every epoch.

Experts are trained in fixed groups by index (`devices.map_per_device`), so that a group trained again gives the same
bits. An expert is trained by plain SGD: its parameters are its whole state, and training can go on from any snapshot.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from medjax import cost, devices, train
from medjax.config import option
from medjax.models.base import Model, flattening
from medjax.types import Dataset, PyTree, Trajectories


@dataclasses.dataclass(frozen=True)
class ExpertsConfig:
    """Expert networks, trained by plain SGD with DSA (Cazenavette et al. 2022)."""

    experts: int = option(100, "number of expert networks", low=1)
    expert_epochs: int = option(0, "epochs of each expert; 0: as many as distillation reads", low=0)
    expert_lr: float = option(0.01, "SGD step size of experts", low=0)
    expert_batch: int = option(256, "images per step of experts", low=1)
    expert_sampling: str = option(
        "shuffled",
        "batches of experts: shuffled, or drawn class-balanced",
        choices=("shuffled", "balanced"),
    )


class ExpertProgress(NamedTuple):
    """After one device call: epochs finished, steps done and to do in the current one, mean loss of the group, and,
    where an epoch has just ended, the parameters float32 [g, p] on the host."""

    epoch: int
    step: int
    steps: int
    loss: float
    snapshot: np.ndarray | None


def group_size() -> int:
    """Experts trained side by side: on a CPU one for each of its devices."""
    return jax.local_device_count() if jax.default_backend() == "cpu" else 10


@functools.cache  # one object for equal arguments, so that the jitted functions below compile once
def trainer(
    config: ExpertsConfig, model: Model, classes: int, augment: train.Augment | None
) -> train.Trainer:
    """The experts' recipe."""
    balanced = config.expert_sampling == "balanced"
    return train.Trainer(model, train.sgd(), augment, config.expert_batch, classes, balanced)


@functools.partial(jax.jit, static_argnums=0)
def begin_experts(trainer: train.Trainer, keys: Array) -> train.FitState:
    """Freshly initialised experts, leading axis g."""
    return jax.vmap(lambda k: train.start(trainer, jax.random.split(k)[0]))(keys)


@functools.partial(jax.jit, static_argnums=0)
def continue_experts(trainer: train.Trainer, flat: Float[Array, "g p"]) -> train.FitState:
    """Experts from their flat parameters; plain SGD has no other state."""
    unravel = flattening(trainer.model)
    return jax.vmap(lambda row: train.resume(trainer, unravel(row), {}))(flat)


@functools.partial(jax.jit, static_argnums=0)
def begin_epoch(
    trainer: train.Trainer, keys: Array, epoch: Int[Array, ""], labels: Int[Array, " n"]
) -> tuple[Int[Array, "g n"], Array]:
    """Each expert's order of the images in this epoch, and its key for the epoch's steps."""

    def one(key: Array) -> tuple[Array, Array]:
        run_key = jax.random.split(key)[1]
        order_key, step_key = jax.random.split(jax.random.fold_in(run_key, epoch))
        return train.epoch_order(trainer, order_key, labels), step_key

    return jax.vmap(one)(keys)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def full_batches(
    trainer: train.Trainer,
    keys: Array,
    state: train.FitState,
    data: Dataset,
    orders: Int[Array, "g n"],
    rate: Float[Array, ""],
    first: Int[Array, ""],
    last: Int[Array, ""],
) -> train.FitState:
    """Steps ``first`` .. ``last`` - 1 of an epoch, every expert of the group."""

    def one(key: Array, state: train.FitState, order: Array) -> train.FitState:
        return train.train_steps(trainer, key, state, data, order, rate, first, last)

    return devices.map_per_device(one)(keys, state, orders)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def last_batch(
    trainer: train.Trainer,
    keys: Array,
    state: train.FitState,
    data: Dataset,
    orders: Int[Array, "g n"],
    rate: Float[Array, ""],
) -> train.FitState:
    """The partial batch that ends an epoch."""

    def one(key: Array, state: train.FitState, order: Array) -> train.FitState:
        return train.train_tail(trainer, key, state, data, order, rate)

    return devices.map_per_device(one)(keys, state, orders)


@jax.jit
def flatten(params: PyTree) -> Float[Array, "g p"]:
    """A group's parameters as one vector an expert."""
    return jax.vmap(lambda tree: ravel_pytree(tree)[0])(params)


def train_group(
    trainer: train.Trainer,
    keys: Array,
    data: Dataset,
    rate: float,
    *,
    epochs: int,
    resume: tuple[int, Float[np.ndarray, "g p"]] | None = None,
) -> Iterator[ExpertProgress]:
    """Train the experts of ``keys`` [g] for ``epochs`` epochs, from scratch or from (epoch, snapshot).

    Yields after every device call (a few seconds of work); from scratch, the first item holds the initialisation as
    epoch 0. Epoch i of an expert draws from its own key and i only.
    """
    n = data.labels.shape[0]
    full, steps = n // trainer.batch, train.steps_per_epoch(trainer, n)
    per_step = cost.GRADIENT * trainer.model.flops * trainer.batch * len(keys)
    per_call = max(1, int(cost.work_per_call() / per_step))
    step_size = jnp.float32(rate)
    if resume is None:
        done, state = 0, begin_experts(trainer, keys)
        yield ExpertProgress(0, 0, steps, float("nan"), np.asarray(flatten(state.params)))
    else:
        done, state = resume[0], continue_experts(trainer, jnp.asarray(resume[1]))
    state = devices.gather(state)
    for epoch in range(done, epochs):
        orders, step_keys = begin_epoch(trainer, keys, jnp.int32(epoch), data.labels)
        for first in range(0, full, per_call):
            bounds = jnp.int32(first), jnp.int32(min(first + per_call, full))
            state = full_batches(trainer, step_keys, state, data, orders, step_size, *bounds)
            state = devices.gather(state)
            yield ExpertProgress(epoch, int(bounds[1]), steps, float(state.loss.mean()), None)
        if full < steps:
            state = last_batch(trainer, step_keys, state, data, orders, step_size)
            state = devices.gather(state)
        snapshot = np.asarray(flatten(state.params))
        yield ExpertProgress(epoch + 1, steps, steps, float(state.loss.mean()), snapshot)


def train_in_memory(
    trainer: train.Trainer, key: Array, data: Dataset, rate: float, *, experts: int, epochs: int
) -> Trajectories:
    """All experts, kept in memory: for use from Python. Expert i draws from ``fold_in(key, i)``."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(experts))
    size, groups = group_size(), []
    for first in range(0, experts, size):
        items = train_group(trainer, keys[first : first + size], data, rate, epochs=epochs)
        groups.append(np.stack([item.snapshot for item in items if item.snapshot is not None]))
    rows = np.concatenate(groups, axis=1)
    return Trajectories(lambda expert, epochs: rows[epochs, expert], experts, epochs)
