"""Expert trajectories: networks trained on the real images, with a snapshot of the parameters after every epoch.

Experts are trained in fixed groups by index (`devices.map_per_device`), so that a group trained again gives the same
bits. By default an expert is trained by plain SGD: its parameters are its whole state, and training can go on from any
snapshot. With momentum it goes on from parameters and momentum.
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

from medjax import cost, devices, graphs, train
from medjax.augment import ALL, strategy
from medjax.config import option
from medjax.models.base import Model, flattening, parameter_count
from medjax.types import Dataset, PyTree, Trajectories


@dataclasses.dataclass(frozen=True)
class ExpertsConfig:
    """Expert networks, trained by SGD with DSA (Cazenavette et al. 2022)."""

    experts: int = option(100, "number of expert networks", low=1)
    expert_epochs: int = option(0, "epochs of each expert; 0: as many as distillation reads", low=0)
    expert_epoch_steps: int = option(
        0,
        "steps of a full expert_batch that an epoch of experts has; 0: once through the images",
        low=0,
    )
    expert_seed: int = option(
        -1, "seed of the experts, which runs of other seeds can share; -1: the run's", low=-1
    )
    expert_lr: float = option(0.01, "SGD step size of experts", low=0)
    expert_batch: int = option(256, "images per step of experts", low=1)
    expert_sampling: str = option(
        "shuffled",
        "batches of experts: shuffled, or drawn class-balanced",
        choices=("shuffled", "balanced"),
    )
    expert_momentum: float = option(0.0, "momentum of the experts' SGD", low=0, below=1)
    expert_weight_decay: float = option(0.0, "weight decay of the experts' SGD", low=0)
    expert_augment: str = option(
        ALL, "families of DSA while experts train, joined by _; none: images as they are"
    )

    def __post_init__(self) -> None:
        """Raises UserError for an unknown augmentation."""
        strategy(self.expert_augment, "expert_augment")


class ExpertProgress(NamedTuple):
    """After one device call: epochs finished, steps done and to do in the current one, mean loss of the group, and,
    where an epoch has just ended, what training goes on from: float32 [g, q] on the host, the parameters [g, p] and
    behind them the momentum, where there is one (q = p or 2 p)."""

    epoch: int
    step: int
    steps: int
    loss: float
    snapshot: np.ndarray | None


def group_size() -> int:
    """Experts trained side by side: one for each of a CPU's devices, ten for each accelerator."""
    return jax.local_device_count() * (1 if devices.on_cpu() else 10)


def side_by_side(config: ExpertsConfig) -> int:
    """Experts that are trained at once. On a GPU that is always a whole group."""
    return min(config.experts, group_size()) if devices.on_cpu() else group_size()


@functools.cache  # one object for equal arguments, so that the jitted functions below compile once
def trainer(config: ExpertsConfig, model: Model, classes: int) -> train.Trainer:
    """The experts' recipe."""
    balanced = config.expert_sampling == "balanced"
    tx = train.sgd(config.expert_momentum, config.expert_weight_decay)
    augment = strategy(config.expert_augment, "expert_augment")
    steps = config.expert_epoch_steps
    return train.Trainer(
        model, tx, augment, config.expert_batch, classes, balanced, epoch_steps=steps
    )


def epoch_images(config: ExpertsConfig, n: int) -> int:
    """Images that an expert sees in an epoch on a set of ``n``."""
    return config.expert_epoch_steps * config.expert_batch or n


def training_flops(config: ExpertsConfig, model: Model, epochs: int, n: int, val: int = 0) -> float:
    """Floating-point operations of all experts on ``n`` images, and of their scores on ``val`` in the end."""
    return model.flops * cost.passes(config.experts, epochs, epoch_images(config, n), val)


def row_length(trainer: train.Trainer) -> int:
    """q: the values that training of one expert goes on from (see `ExpertProgress`)."""
    params, _, opt_state = jax.eval_shape(
        lambda key: train.start(trainer, key)[:3], jax.random.key(0)
    )
    return sum(leaf.size for leaf in jax.tree.leaves((params, opt_state)))


@graphs.jit(static_argnums=0)
def begin_experts(trainer: train.Trainer, keys: Array) -> train.FitState:
    """Freshly initialised experts, leading axis g."""
    return jax.vmap(lambda k: train.start(trainer, jax.random.split(k)[0]))(keys)


@graphs.jit(static_argnums=0)
def continue_experts(trainer: train.Trainer, flat: Float[Array, "g q"]) -> train.FitState:
    """Experts from what `flatten` made of them."""
    unravel, count = flattening(trainer.model), parameter_count(trainer.model)

    def one(row: Array) -> train.FitState:
        fresh = train.resume(trainer, unravel(row[:count]), {})
        return fresh._replace(opt_state=ravel_pytree(fresh.opt_state)[1](row[count:]))

    return jax.vmap(one)(flat)


@graphs.jit(static_argnums=0)
def begin_epoch(
    trainer: train.Trainer, keys: Array, epoch: Int[Array, ""], labels: Int[Array, " n"]
) -> tuple[Int[Array, "g m"], Array]:
    """Each expert's order of the images in this epoch, and its key for the epoch's steps."""

    def one(key: Array) -> tuple[Array, Array]:
        run_key = jax.random.split(key)[1]
        order_key, step_key = jax.random.split(jax.random.fold_in(run_key, epoch))
        return train.epoch_order(trainer, order_key, labels), step_key

    return jax.vmap(one)(keys)


@graphs.jit(static_argnums=0, donate_argnums=2)
def full_batches(
    trainer: train.Trainer,
    keys: Array,
    state: train.FitState,
    data: Dataset,
    orders: Int[Array, "g m"],
    rate: Float[Array, ""],
    first: Int[Array, ""],
    last: Int[Array, ""],
) -> train.FitState:
    """Steps ``first`` .. ``last`` - 1 of an epoch, every expert of the group."""

    def one(data: Dataset, key: Array, state: train.FitState, order: Array) -> train.FitState:
        return train.train_steps(trainer, key, state, data, order, rate, first, last)

    return devices.map_per_device(one, data)(keys, state, orders)


@graphs.jit(static_argnums=0, donate_argnums=2)
def last_batch(
    trainer: train.Trainer,
    keys: Array,
    state: train.FitState,
    data: Dataset,
    orders: Int[Array, "g m"],
    rate: Float[Array, ""],
) -> train.FitState:
    """The partial batch that ends an epoch."""

    def one(data: Dataset, key: Array, state: train.FitState, order: Array) -> train.FitState:
        return train.train_tail(trainer, key, state, data, order, rate)

    return devices.map_per_device(one, data)(keys, state, orders)


@jax.jit
def _flatten(trees: PyTree) -> Float[Array, "g q"]:
    return jax.vmap(lambda tree: ravel_pytree(tree)[0])(trees)


def flatten(state: train.FitState) -> Float[np.ndarray, "g q"]:
    """A group's parameters, and momentum where there is one, as one vector an expert."""
    return np.asarray(_flatten((state.params, state.opt_state)))


def train_group(
    trainer: train.Trainer,
    keys: Array,
    data: Dataset,
    rate: float,
    *,
    epochs: int,
    resume: tuple[int, Float[np.ndarray, "g q"]] | None = None,
) -> Iterator[ExpertProgress]:
    """Train the experts of ``keys`` [g] for ``epochs`` epochs, from scratch or from (epoch, snapshot).

    Yields after every device call (a few seconds of work); from scratch, the first item holds the initialisation as
    epoch 0. Epoch i of an expert draws from its own key and i only.
    """
    n = data.labels.shape[0]
    full = trainer.epoch_steps or n // trainer.batch
    steps = train.steps_per_epoch(trainer, n)
    per_step = cost.GRADIENT * trainer.model.flops * trainer.batch * len(keys)
    per_call = max(1, int(cost.work_per_call() / per_step))
    step_size = jnp.float32(rate)
    if resume is None:
        done, state = 0, begin_experts(trainer, keys)
        yield ExpertProgress(0, 0, steps, float("nan"), flatten(state))
    else:
        done, state = resume[0], continue_experts(trainer, jnp.asarray(resume[1]))
    state, labels = devices.gather(state), data.labels
    data = devices.place(data, len(keys))
    for epoch in range(done, epochs):
        orders, step_keys = begin_epoch(trainer, keys, jnp.int32(epoch), labels)
        for first in range(0, full, per_call):
            bounds = jnp.int32(first), jnp.int32(min(first + per_call, full))
            state = full_batches(trainer, step_keys, state, data, orders, step_size, *bounds)
            state = devices.gather(state)
            yield ExpertProgress(epoch, int(bounds[1]), steps, float(state.loss.mean()), None)
        if full < steps:
            state = last_batch(trainer, step_keys, state, data, orders, step_size)
            state = devices.gather(state)
        snapshot = flatten(state)
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
    rows = rows[..., : parameter_count(trainer.model)]
    return Trajectories(lambda expert, epochs: rows[epochs, expert], experts, epochs)
