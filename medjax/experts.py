"""Expert trajectories: networks trained on the real images, with a snapshot of the parameters after every epoch.

Experts are trained in fixed groups by index, one `vmap` a group, so that a group trained again gives the same bits.
An expert is plain SGD: its parameters are its whole state, and a trajectory can be continued from its last snapshot.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from medjax import cost, train
from medjax.config import option
from medjax.types import Dataset, Trajectories


@dataclasses.dataclass(frozen=True)
class ExpertsConfig:
    """Expert networks, trained by plain SGD with DSA (Cazenavette et al. 2022)."""

    experts: int = option(100, "expert networks", low=1)
    expert_epochs: int = option(0, "epochs of each; 0: as far as distillation reads", low=0)
    expert_lr: float = option(0.01, "their step size", low=0)
    expert_batch: int = option(256, "their batch size", low=1)
    expert_sampling: str = option(
        "shuffled",
        "their batches: shuffled, or drawn class-balanced",
        choices=("shuffled", "balanced"),
    )


class Progress(NamedTuple):
    """After one device call: epochs finished, steps done and to do in the current one, mean loss of the group, and,
    where an epoch has just ended, the parameters float32 [g, p] on the host."""

    epoch: int
    step: int
    steps: int
    loss: float
    snapshot: np.ndarray | None


def group_size() -> int:
    """Experts trained side by side. On a CPU one network already fills the cores; vmap only widens the traffic."""
    return 1 if jax.default_backend() == "cpu" else 10


def train_group(
    trainer: train.Trainer,
    keys: Array,
    data: Dataset,
    rate: float,
    *,
    epochs: int,
    resume: tuple[int, Float[np.ndarray, "g p"]] | None = None,
) -> Iterator[Progress]:
    """Train the experts of ``keys`` [g] for ``epochs`` epochs, from scratch or from (epoch, snapshot).

    Yields after every device call (a few seconds of work); the first item holds the initialisation as epoch 0, or
    nothing if resumed. Epoch i of expert e draws from ``fold_in(keys[e], i)`` only.
    """
    init_keys, run_keys = jnp.split(jax.vmap(lambda k: jax.random.split(k))(keys), 2, axis=1)
    init_keys, run_keys = init_keys[:, 0], run_keys[:, 0]
    n = data.labels.shape[0]
    full, steps = n // trainer.batch, train.steps_per_epoch(trainer, n)
    shapes = jax.eval_shape(trainer.model.init, keys[0])[0]
    unravel = ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))[1]
    rate_ = jnp.float32(rate)

    @jax.jit
    def begin(run_keys: Array, epoch: Array, labels: Array) -> tuple[Array, Array]:
        pair = jax.vmap(lambda k: jax.random.split(jax.random.fold_in(k, epoch)))(run_keys)
        orders = jax.vmap(lambda k: train.epoch_order(trainer, k, labels))(pair[:, 0])
        return orders, pair[:, 1]

    def some(keys: Array, state: train.FitState, data: Dataset, orders: Array, a: int, b: int):
        def one(key: Array, state: train.FitState, order: Array) -> train.FitState:
            return train.train_steps(trainer, key, state, data, order, rate_, a, b)

        return jax.vmap(one)(keys, state, orders)

    def tail(keys: Array, state: train.FitState, data: Dataset, orders: Array):
        def one(key: Array, state: train.FitState, order: Array) -> train.FitState:
            return train.train_tail(trainer, key, state, data, order, rate_)

        return jax.vmap(one)(keys, state, orders)

    some, tail = jax.jit(some, donate_argnums=1), jax.jit(tail, donate_argnums=1)
    flatten = jax.jit(jax.vmap(lambda params: ravel_pytree(params)[0]))
    if resume is None:
        state = jax.jit(jax.vmap(lambda k: train.start(trainer, k)))(init_keys)
        done = 0
        yield Progress(0, 0, steps, float("nan"), np.asarray(flatten(state.params)))
    else:
        done, flat = resume
        restore = jax.vmap(lambda row: train.resume(trainer, unravel(row), {}))
        state = jax.jit(restore)(jnp.asarray(flat))
    step_flops = 3 * trainer.model.flops * trainer.batch * len(keys)
    per_call = max(1, int(cost.work_per_call() / step_flops))
    for epoch in range(done, epochs):
        orders, step_keys = begin(run_keys, jnp.int32(epoch), data.labels)
        for first in range(0, full, per_call):
            last = min(first + per_call, full)
            state = some(step_keys, state, data, orders, first, last)
            yield Progress(epoch, last, steps, float(state.loss.mean()), None)
        if full < steps:
            state = tail(step_keys, state, data, orders)
        snapshot = np.asarray(flatten(state.params))
        yield Progress(epoch + 1, steps, steps, float(state.loss.mean()), snapshot)


def train_in_memory(
    trainer: train.Trainer, key: Array, data: Dataset, rate: float, *, experts: int, epochs: int
) -> Trajectories:
    """All experts at once, kept in memory: for use from Python. Expert i draws from ``fold_in(key, i)``."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(experts))
    items = train_group(trainer, keys, data, rate, epochs=epochs)
    rows = np.stack([item.snapshot for item in items if item.snapshot is not None])
    return Trajectories(lambda expert, epochs: rows[epochs, expert], experts, epochs)
