"""Training one network by SGD as pure functions of keys; experts, baselines and evaluation share them.

An epoch is an order of the images, its full batches in one loop, and a last partial batch as a step of its own shape.
Every draw comes from ``fold_in(key, index)`` and the loops' bounds are arguments, so a run may be cut anywhere: it
goes on with the same numbers and without a new compilation.
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from medjax import cost, devices
from medjax.augment import Augmentation, cutmix
from medjax.models.base import Model
from medjax.types import Dataset, PyTree

#: A class for each image, or the share of each class in it.
Labels: TypeAlias = Int[Array, " n"] | Float[Array, "n k"]


def alive(model: Model, batch: int, networks: int) -> int:
    """Images whose activations are in memory at once while ``networks`` train on batches of ``batch`` images."""
    if not devices.on_cpu():  # in that of each of several
        return batch * -(-networks // jax.local_device_count())
    piece = min(batch, cost.CPU_PIECE) if model.separable else batch
    return piece * min(networks, jax.local_device_count())


class FitState(NamedTuple):
    """A network in training: parameters, batch statistics (or {}), the optimiser's state, the mean loss of the last
    step."""

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    loss: Array


class Trainer(NamedTuple):
    """The fixed part of training a network; all static.

    model: the network.
    tx: an optax transformation that turns gradients into directions; the step size is not part of it.
    augment: changes the images of each step, or None.
    batch: images a step.
    classes: k.
    balanced: draw every image of an epoch by class first (each class equally often in expectation), with
        replacement, instead of going through a permutation.
    dealt: deal the images of a batch out to the devices; for a network that trains alone in a program.
    cutmix: mix pairs of the images of a step (`medjax.augment.cutmix`).
    tail: end an epoch by a step on the images after the last full batch; without it they are left out of this epoch,
        unless they are all.
    epoch_steps: full batches of an epoch, of one pass or several through the images; 0: one pass, with its tail.
    """

    model: Model
    tx: optax.GradientTransformation
    augment: Augmentation | None
    batch: int
    classes: int
    balanced: bool = False
    dealt: bool = False
    cutmix: bool = False
    tail: bool = True
    epoch_steps: int = 0


def sgd(momentum: float = 0.0, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """PyTorch's SGD without its step size: decay added to the gradient, then a heavy-ball trace."""
    parts = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
    parts += [optax.trace(decay=momentum)] if momentum else []
    return optax.chain(*parts) if parts else optax.identity()


def start(trainer: Trainer, key: Array) -> FitState:
    """A freshly initialised network."""
    return resume(trainer, *trainer.model.init(key))


def resume(trainer: Trainer, params: PyTree, model_state: PyTree) -> FitState:
    """A network with these parameters and a fresh optimiser."""
    return FitState(params, model_state, trainer.tx.init(params), jnp.float32(jnp.nan))


def cross_entropies(logits: Float[Array, "n k"], labels: Labels) -> Float[Array, " n"]:
    """Cross-entropy of each image."""
    if labels.ndim == 2:
        return optax.softmax_cross_entropy(logits, labels)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def cross_entropy(logits: Float[Array, "n k"], labels: Labels) -> Float[Array, ""]:
    """Their mean."""
    return cross_entropies(logits, labels).mean()


def epoch_order(trainer: Trainer, key: Array, labels: Labels) -> Int[Array, " m"]:
    """The images of one epoch, in order."""
    n = labels.shape[0]
    m = trainer.epoch_steps * trainer.batch or n
    if not trainer.balanced:
        keys = jax.random.split(key, -(-m // n)) if m > n else [key]
        return jnp.concatenate([jax.random.permutation(key, n) for key in keys])[:m]
    # Cumulative weights 1 / class size: a uniform draw falls into each class with probability 1/k.
    counts = jnp.zeros(trainer.classes).at[labels].add(1.0)
    cumulative = jnp.cumsum(1.0 / counts[labels])
    draws = jax.random.uniform(key, (m,)) * cumulative[-1]
    return jnp.minimum(jnp.searchsorted(cumulative, draws), n - 1).astype(jnp.int32)


def batch_gradient(
    model: Model, params: PyTree, model_state: PyTree, batch: Dataset, training: bool = True
) -> tuple[Float[Array, ""], PyTree, PyTree]:
    """Mean loss of a batch, the new model state, and the gradient to the parameters; differentiable again. Without
    ``training`` batch statistics are used as they are.

    On a CPU the batch is worked on in pieces whose activations stay in cache (1.3 against 2.2 ms an image at batch
    256, ConvNet-3-128, 2 cores); the sum over the pieces is the same gradient.
    """

    def loss(params: PyTree, piece: Dataset) -> tuple[Array, PyTree]:
        logits, new_state = model.apply(params, model_state, piece.images, training)
        return cross_entropy(logits, piece.labels), new_state

    gradient, n = jax.value_and_grad(loss, has_aux=True), batch.labels.shape[0]
    if not devices.on_cpu() or not model.separable or n <= cost.CPU_PIECE:
        (value, model_state), grads = gradient(params, batch)
        return value, model_state, grads
    whole = n // cost.CPU_PIECE * cost.CPU_PIECE

    def add(total: PyTree, part: Dataset) -> tuple[PyTree, None]:
        (value, _), grads = gradient(params, part)
        share = part.labels.shape[0] / n
        return jax.tree.map(lambda a, b: a + share * b, total, (value, grads)), None

    total = jax.tree.map(jnp.zeros_like, (jnp.float32(0), params))
    pieces = jax.tree.map(lambda a: a[:whole].reshape(-1, cost.CPU_PIECE, *a.shape[1:]), batch)
    total, _ = lax.scan(add, total, pieces)
    if whole < n:
        total, _ = add(total, jax.tree.map(lambda a: a[whole:], batch))
    return total[0], model_state, total[1]


def dealt_gradient(model: Model, params: PyTree, batch: Dataset) -> tuple[Float[Array, ""], PyTree]:
    """Mean loss of a batch and its gradient, as `batch_gradient` gives them, its images dealt out to the lanes."""
    n = batch.labels.shape[0]
    share = -(-n // devices.device_count())
    piece = min(cost.CPU_PIECE, share) if devices.on_cpu() else share

    def loss(params: PyTree, part: Dataset, counts: Array) -> Array:
        logits, _ = model.apply(params, {}, part.images, True)
        return counts @ cross_entropies(logits, part.labels) / n

    def own(params: PyTree, batch: Dataset) -> PyTree:
        mine, counts = devices.shard(n, piece)

        def add(total: PyTree, xs: tuple[Array, Array]) -> tuple[PyTree, None]:
            chosen, counts = xs
            part = jax.tree.map(lambda a: a[chosen], batch)
            added = jax.value_and_grad(loss)(params, part, counts)
            return jax.tree.map(jnp.add, total, added), None

        nothing = jax.tree.map(jnp.zeros_like, (jnp.float32(0), params))
        return lax.scan(add, nothing, (mine.reshape(-1, piece), counts.reshape(-1, piece)))[0]

    return devices.replicate_and_sum(own)(params, batch)


def train_batch(
    trainer: Trainer,
    key: Array,
    state: FitState,
    data: Dataset,
    chosen: Int[Array, " b"],
    rate: Float[Array, ""],
) -> FitState:
    """One SGD step on the images ``chosen``, at step size ``rate``."""
    batch = Dataset(data.images[chosen], data.labels[chosen])
    if trainer.augment is not None:
        batch = batch._replace(images=trainer.augment(key, batch.images))
    if trainer.cutmix:  # not 0 or 1, into which the augmentation splits the key
        batch = Dataset(*cutmix(jax.random.fold_in(key, 2), *batch[:2], trainer.classes))
    params, model_state = state.params, state.model_state
    if trainer.dealt and trainer.model.separable and devices.splits(len(chosen)):
        loss, grads = dealt_gradient(trainer.model, params, batch)
    else:
        loss, model_state, grads = batch_gradient(trainer.model, params, model_state, batch)
    direction, opt_state = trainer.tx.update(grads, state.opt_state, state.params)
    params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)
    return FitState(params, model_state, opt_state, loss)


def steps_per_epoch(trainer: Trainer, n: int) -> int:
    """Steps an epoch takes on a set of ``n`` images; the last may be a partial batch."""
    return trainer.epoch_steps or -(-n // trainer.batch)


def train_steps(
    trainer: Trainer,
    key: Array,
    state: FitState,
    data: Dataset,
    order: Int[Array, " m"],
    rate: Float[Array, ""],
    first: Any,
    last: Any,
) -> FitState:
    """Full batches ``first`` .. ``last`` - 1 of an epoch in this order; step i draws from ``fold_in(key, i)``."""

    def step(i: Array, state: FitState) -> FitState:
        chosen = lax.dynamic_slice(order, (i * trainer.batch,), (trainer.batch,))
        return train_batch(trainer, jax.random.fold_in(key, i), state, data, chosen, rate)

    return lax.fori_loop(first, last, step, state)


def train_tail(
    trainer: Trainer, key: Array, state: FitState, data: Dataset, order: Array, rate: Array
) -> FitState:
    """The last, partial batch of an epoch, where there is one. Never a mask: it would corrupt batch norm."""
    full = order.shape[0] // trainer.batch
    if not len(chosen := order[full * trainer.batch :]):
        return state
    return train_batch(trainer, jax.random.fold_in(key, full), state, data, chosen, rate)


def fit(
    trainer: Trainer,
    key: Array,
    state: FitState,
    data: Dataset,
    rates: Float[Array, " t"],
    forget: Array,
    first: Any,
    last: Any,
) -> FitState:
    """Epochs ``first`` .. ``last`` - 1 of a schedule: step size ``rates[i]``; ``forget[i]`` (bool) makes the optimiser
    start again before epoch i (in PyTorch a step size is often lowered that way, and the momentum is lost)."""
    n = data.labels.shape[0]

    def epoch(i: Array, state: FitState) -> FitState:
        fresh = trainer.tx.init(state.params)
        kept = jax.tree.map(lambda a, b: jnp.where(forget[i], a, b), fresh, state.opt_state)
        state = state._replace(opt_state=kept)
        order_key, step_key = jax.random.split(jax.random.fold_in(key, i))
        order = epoch_order(trainer, order_key, data.labels)
        if full := n // trainer.batch:
            state = train_steps(trainer, step_key, state, data, order, rates[i], 0, full)
            if not trainer.tail:
                return state
        return train_tail(trainer, step_key, state, data, order, rates[i])

    return lax.fori_loop(first, last, epoch, state)
