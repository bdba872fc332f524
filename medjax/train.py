"""Training one network by SGD as pure functions of keys; experts, baselines and evaluation share them.

An epoch is an order of the images, its full batches in one loop, and a last partial batch as a step of its own shape.
Every draw comes from ``fold_in(key, index)`` and the loops' bounds are arguments, so a run may be cut anywhere: it
goes on with the same numbers and without a new compilation.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int

from medjax.models.base import Model
from medjax.types import Dataset, PyTree

Augment = Callable[[Array, Array], Array]

#: Images whose activations of one layer stay in a CPU's cache (ConvNet-3-128, 32 px).
CPU_PIECE = 16

#: Networks that a CPU trains at a time, at most.
CORES = 8

#: Name of the axis of a CPU's devices, one a core.
LANES = "lanes"


def each(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` over a leading axis, inside a step: side by side, or on a CPU one after the other. There a single
    network keeps both cores busy and its activations in cache (five at once took 1.4 times as long)."""
    if jax.default_backend() != "cpu":
        return jax.vmap(function)
    return lambda *args: lax.map(lambda xs: function(*xs), args)


def populate(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` over a leading axis of networks that a whole program trains: side by side on an accelerator; on a
    CPU each on a device of its own (`use_cores`), of which there must be enough. A network with a core to itself waits
    for nobody: 5 networks of 8 images took 1.25 times as long one after the other on two cores.

    What comes back lies on several devices: `settle` it before it goes into such a program again.
    """
    if lanes() == 1:
        return each(function)

    def dealt(*args: Any) -> Any:
        networks = jax.tree.leaves(args)[0].shape[0]
        if networks > lanes():
            raise ValueError(f"{networks} networks for {lanes()} devices: use in_groups")

        def own(*mine: Any) -> Any:
            out = function(*jax.tree.map(lambda a: a[0], mine))
            return jax.tree.map(lambda a: a[None], out)

        spec, mesh = jax.P(LANES), _mesh(networks)
        return jax.shard_map(own, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)(*args)

    return dealt


def lanes() -> int:
    """Devices among which one network's batch is dealt out: on a CPU all of them."""
    return jax.local_device_count() if jax.default_backend() == "cpu" else 1


def spread(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, the same on each of the `lanes`, whose index ``lax.axis_index(LANES)`` tells it. Arguments and
    result are whole on all of them; what a lane adds to a gradient is summed over the lanes. One student's images on
    two cores: 1.2 times as fast as one program on both, for nothing waits but the sum."""
    if lanes() == 1:
        return function
    return jax.shard_map(function, mesh=_mesh(lanes()), in_specs=jax.P(), out_specs=jax.P())


def everywhere(tree: PyTree) -> PyTree:
    """Inside a program: the tree on all lanes, where `spread` leaves what depends on it, so that a program that is
    called again with what it gave back need not be compiled again."""
    if lanes() == 1:
        return tree
    return lax.with_sharding_constraint(tree, jax.sharding.NamedSharding(_mesh(lanes()), jax.P()))


def _mesh(lanes: int) -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.array(jax.local_devices()[:lanes]), (LANES,))


def in_groups(program: Callable[..., PyTree], *networks: PyTree) -> PyTree:
    """``program(at_work, *networks)`` over leading axes of any length: all at once on an accelerator, on a CPU as many
    at a time as it has devices, so that one compiled program serves every number of networks. The last group is filled
    up with copies that are not at work (a bool for each) and whose results are dropped."""
    count = jax.tree.leaves(networks)[0].shape[0]
    size = jax.local_device_count() if jax.default_backend() == "cpu" else count
    if size == count:
        return settle(program(np.ones(count, bool), *networks))
    parts = []
    for first in range(0, count, size):
        lanes = np.arange(first, first + size)
        chosen = np.minimum(lanes, count - 1)
        group = jax.tree.map(lambda a, chosen=chosen: a[chosen], networks)
        parts.append(settle(program(lanes < count, *group)))
    return jax.tree.map(lambda *a: np.concatenate(a)[:count], *parts)


def alive(batch: int, networks: int) -> int:
    """Images whose activations are in memory at once while ``networks`` are trained on batches of so many."""
    if jax.default_backend() != "cpu":
        return batch * networks
    return min(batch, CPU_PIECE) * min(networks, jax.local_device_count())


def settle(tree: PyTree) -> PyTree:
    """What `populate` made, where every call finds it alike (on a CPU: the host), or the next would compile anew."""
    return jax.device_get(tree) if jax.default_backend() == "cpu" else tree


def use_cores() -> None:
    """Make every core (up to ``CORES``) a device of JAX's CPU backend, unless JAX_NUM_CPU_DEVICES says how many.
    Before JAX is used; later it has no effect."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", min(cores or 1, CORES))


class FitState(NamedTuple):
    """A network in training: parameters, batch statistics (or {}), the optimiser's state, the latest mean loss."""

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    loss: Array


class Trainer(NamedTuple):
    """What stays fixed while a network trains; all static.

    model: the network.
    tx: an optax transformation that turns gradients into directions; the step size is not part of it.
    augment: (key, images) -> images, or None.
    batch: images a step.
    classes: k.
    balanced: draw every image of an epoch by class first (each class equally often in expectation), with
        replacement, instead of going through a permutation.
    """

    model: Model
    tx: optax.GradientTransformation
    augment: Augment | None
    batch: int
    classes: int
    balanced: bool = False


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


def cross_entropies(logits: Float[Array, "n k"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
    """Cross-entropy of each image; integer labels."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def cross_entropy(logits: Float[Array, "n k"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """Their mean."""
    return cross_entropies(logits, labels).mean()


def epoch_order(trainer: Trainer, key: Array, labels: Int[Array, " n"]) -> Int[Array, " n"]:
    """The images of one epoch, in order."""
    n = labels.shape[0]
    if not trainer.balanced:
        return jax.random.permutation(key, n)
    # Cumulative weights 1 / class size: a uniform draw falls into each class with probability 1/k.
    counts = jnp.zeros(trainer.classes).at[labels].add(1.0)
    cumulative = jnp.cumsum(1.0 / counts[labels])
    draws = jax.random.uniform(key, (n,)) * cumulative[-1]
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

    gradient = jax.value_and_grad(loss, has_aux=True)
    n = batch.labels.shape[0]
    if jax.default_backend() != "cpu" or not model.separable or n <= CPU_PIECE:
        (value, model_state), grads = gradient(params, batch)
        return value, model_state, grads
    whole = n // CPU_PIECE * CPU_PIECE

    def add(total: PyTree, part: Dataset) -> tuple[PyTree, None]:
        (value, _), grads = gradient(params, part)
        share = part.labels.shape[0] / n
        return jax.tree.map(lambda a, b: a + share * b, total, (value, grads)), None

    total = jax.tree.map(jnp.zeros_like, (jnp.float32(0), params))
    pieces = jax.tree.map(lambda a: a[:whole].reshape(-1, CPU_PIECE, *a.shape[1:]), batch)
    total, _ = lax.scan(add, total, pieces)
    if whole < n:
        total, _ = add(total, jax.tree.map(lambda a: a[whole:], batch))
    return total[0], model_state, total[1]


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
    loss, model_state, grads = batch_gradient(trainer.model, state.params, state.model_state, batch)
    direction, opt_state = trainer.tx.update(grads, state.opt_state, state.params)
    params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)
    return FitState(params, model_state, opt_state, loss)


def steps_per_epoch(trainer: Trainer, n: int) -> int:
    """Steps an epoch of ``n`` images takes; the last may be a partial batch."""
    return -(-n // trainer.batch)


def train_steps(
    trainer: Trainer,
    key: Array,
    state: FitState,
    data: Dataset,
    order: Int[Array, " n"],
    rate: Float[Array, ""],
    first: Any,
    last: Any,
) -> FitState:
    """Full batches ``first`` .. ``last`` - 1 of an epoch in this order; step i draws from ``fold_in(key, i)``."""
    batch = trainer.batch

    def step(i: Array, state: FitState) -> FitState:
        chosen = lax.dynamic_slice(order, (i * batch,), (batch,))
        return train_batch(trainer, jax.random.fold_in(key, i), state, data, chosen, rate)

    return lax.fori_loop(first, last, step, state)


def train_tail(
    trainer: Trainer, key: Array, state: FitState, data: Dataset, order: Array, rate: Array
) -> FitState:
    """The last, partial batch of an epoch, where there is one. Never a mask: it would corrupt batch norm."""
    full = order.shape[0] // trainer.batch
    chosen = order[full * trainer.batch :]
    if not chosen.shape[0]:
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
    anew before epoch i (PyTorch users lower a step size that way, and lose the momentum)."""
    n = data.labels.shape[0]

    def epoch(i: Array, state: FitState) -> FitState:
        fresh = trainer.tx.init(state.params)
        kept = jax.tree.map(lambda a, b: jnp.where(forget[i], a, b), fresh, state.opt_state)
        state = state._replace(opt_state=kept)
        order_key, step_key = jax.random.split(jax.random.fold_in(key, i))
        order = epoch_order(trainer, order_key, data.labels)
        full = n // trainer.batch
        if full:
            state = train_steps(trainer, step_key, state, data, order, rates[i], 0, full)
        return train_tail(trainer, step_key, state, data, order, rates[i])

    return lax.fori_loop(first, last, epoch, state)
