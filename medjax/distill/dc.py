"""DC and DSA: gradient matching (Zhao et al. 2021; Zhao & Bilen 2021; the study's equations 2 and 3).

Every iteration starts a fresh random network. Each of its outer loops moves the synthetic images of every class so that
the network's gradient on them points where its gradient on a batch of real images of that class does:

    min over S of  sum over classes c of  D(grad CE(T_c; theta), grad CE(S_c; theta))

with D of `DISTANCES`; then the network is trained on the synthetic set for the inner loops' epochs.
DSA is the same with one differentiable augmentation, drawn per class, applied to real and synthetic images alike.

One iteration, all its classes and loops, is one pure function, so that it compiles to one program.

A departure from the public code: a class with fewer real images than a batch is used completely and then again from its
start (`random.random_images`), so that all batches have one shape; images that are used twice count twice.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from medjax import cost, devices, train
from medjax.augment import Augmentation
from medjax.config import option
from medjax.distill.base import Distiller
from medjax.distill.images import Info, State, beginning, extract, update
from medjax.distill.random import random_images
from medjax.models.base import Model
from medjax.types import Dataset, PyTree

#: Inner loops of the public code by images per class; the outer loops are ipc itself, at most 50.
INNER = {1: 1, 10: 50, 20: 25, 30: 20, 40: 15, 50: 10}
#: Real images per class that set the statistics of a network with batch norm.
STATISTICS = 16
#: Added to the product of norms, as in DC's public code.
EPSILON = 1e-6


def gradient_distance(real: PyTree, synthetic: PyTree) -> Float[Array, ""]:
    """Sum over layers and over output rows of 1 - cos between two gradients (Zhao et al. 2021, eq. 10).

    A row is all that leads to one output: of a kernel [..., d] the d columns, flattened over the rest. Vectors (biases,
    norms) contribute nothing, as in the public code. A row of zeros counts 1; its gradient is finite, and zero where it
    is the real row.
    """
    layers = zip(jax.tree.leaves(real), jax.tree.leaves(synthetic), strict=True)
    rows = [_row_distances(a, b).sum() for a, b in layers if a.ndim > 1]
    return jnp.stack(rows).sum()


def square_distance(real: PyTree, synthetic: PyTree) -> Float[Array, ""]:
    """Sum of the squared differences of all values of two gradients, vectors included."""
    pairs = zip(jax.tree.leaves(real), jax.tree.leaves(synthetic), strict=True)
    return jnp.stack([((a - b) ** 2).sum() for a, b in pairs]).sum()


def cosine_distance(real: PyTree, synthetic: PyTree) -> Float[Array, ""]:
    """1 - cos between two gradients as one vector each, all layers and vectors included."""
    a, b = (ravel_pytree(tree)[0].reshape(-1, 1) for tree in (real, synthetic))
    return _row_distances(a, b)[0]


def _row_distances(a: Float[Array, "... d"], b: Float[Array, "... d"]) -> Float[Array, " d"]:
    a, b = (x.reshape(-1, x.shape[-1]) for x in (a, b))
    return 1 - (a * b).sum(0) / (_norms(a) * _norms(b) + EPSILON)


def _norms(x: Float[Array, "r d"]) -> Float[Array, " d"]:
    """Column norms whose gradient at a column of zeros is zero."""
    square = (x * x).sum(0)
    empty = square == 0
    return jnp.where(empty, 0.0, jnp.sqrt(jnp.where(empty, 1.0, square)))


#: Between two gradients; the public code calls the first one "ours".
DISTANCES = {"layerwise": gradient_distance, "mse": square_distance, "cos": cosine_distance}


@dataclasses.dataclass(frozen=True)
class DCConfig:
    """Gradient matching."""

    iterations: int = option(1000, "random networks, one after the other", low=1)
    lr_img: float = option(0.1, "step size of the synthetic images", low=0)
    img_momentum: float = option(0.5, "momentum of the images", low=0)
    batch_real: int = option(256, "real images per class and update", low=1)
    outer: int = option(0, "updates per network; 0: as the public code for this ipc", low=0)
    inner: int = option(
        0, "epochs on the synthetic set after each update; 0: as the public code", low=0
    )
    lr_net: float = option(0.01, "SGD step size of the network", low=0)
    batch_train: int = option(256, "synthetic images per step of the network", low=1)
    init_images: str = option("noise", "start of the images", choices=("noise", "real"))
    distance: str = option(
        "layerwise",
        "between gradients: 1 - cos of each layer's rows, squared differences, or one cos over all",
        choices=tuple(DISTANCES),
    )


def dc(
    config: DCConfig, *, model: Model, augment: Augmentation | None, ipc: int, classes: int
) -> Distiller:
    """DC as a `Distiller`; DSA where ``augment`` is given."""
    tx = optax.sgd(config.lr_img, momentum=config.img_momentum)
    outer, inner = loops(config, ipc)
    trainer = train.Trainer(model, train.sgd(), augment, config.batch_train, classes, dealt=True)

    def step(key: Array, state: State, data: Dataset, item: PyTree) -> tuple[State, Info]:
        network_key, loop_key = jax.random.split(key)

        def turn(carry: Any, number: Array) -> tuple[Any, Info]:
            state, network = carry
            keys = jax.random.split(jax.random.fold_in(loop_key, number), 4)
            network = set_statistics(model, keys[0], network, data, classes)
            real, _ = random_images(keys[1], data, config.batch_real, classes)
            by_class, packing = (classes, -1, *real.shape[1:]), data.packing
            args = jax.random.split(keys[2], classes), real.reshape(by_class)
            stored = state.images.reshape(by_class)
            seen, stored_gradients = jax.vjp(jax.vmap(packing.decode), stored)
            match = functools.partial(match_class, model, augment, config.distance, network)
            losses, gradients = devices.map_sharded(match)(*args, seen, jnp.arange(classes))
            state, info = update(tx, state, data.packing, losses, *stored_gradients(gradients))
            if outer > 1:
                # Not after the last update: the network is not used again.
                last = jnp.where(number < outer - 1, inner, 0)
                rates, forget = jnp.full(inner, config.lr_net), jnp.zeros(inner, bool)
                made = Dataset(packing.decode(state.images), packing.labels(state.labels))
                network = train.fit(trainer, keys[3], network, made, rates, forget, 0, last)
            return (state, network), info

        network = train.start(trainer, network_key)
        (state, _), infos = lax.scan(turn, (state, network), jnp.arange(outer))
        return state, Info(infos.loss.mean(), infos.grad_images.mean(), infos.skipped.any())

    return Distiller(beginning(tx, config.init_images, ipc, classes), None, step, extract)


def match_class(
    model: Model,
    augment: Augmentation | None,
    distance: str,
    network: train.FitState,
    key: Array,
    real: Float[Array, "r h w c"],
    made: Float[Array, "i h w c"],
    label: Int[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, "i h w c"]]:
    """The distance of one class, and its gradient to that class's synthetic images."""

    def gradient(images: Array) -> PyTree:
        if augment is not None:
            images = augment(key, images, siamese=True)
        batch = Dataset(images, jnp.full(len(images), label, jnp.int32))
        params, model_state = network.params, network.model_state
        return train.batch_gradient(model, params, model_state, batch, training=False)[2]

    target = lax.stop_gradient(gradient(real))
    return jax.value_and_grad(lambda images: DISTANCES[distance](target, gradient(images)))(made)


def loops(config: DCConfig, ipc: int) -> tuple[int, int]:
    """(outer, inner) for this ipc: flags, else the public code's table, interpolated between its entries."""
    inner = round(float(np.interp(ipc, list(INNER), list(INNER.values()))))
    return config.outer or min(ipc, max(INNER)), config.inner or inner


def set_statistics(
    model: Model, key: Array, network: train.FitState, data: Dataset, classes: int
) -> train.FitState:
    """Batch norm: its running statistics after one more pass over some real images of every class, frozen until the
    next. As in the public code, a pass moves them by a tenth (the momentum): a fresh network's stay near 0 and 1."""
    if model.separable:
        return network
    images, _ = random_images(key, data, STATISTICS, classes)
    _, model_state = model.apply(network.params, network.model_state, images, True)
    return network._replace(model_state=model_state)


def iteration_flops(config: DCConfig, model: Model, ipc: int, classes: int, held: int = 1) -> float:
    """Floating-point operations of one iteration. held: images that a stored one holds."""
    outer, inner = loops(config, ipc)
    made = held * ipc * classes
    real = cost.GRADIENT * config.batch_real * classes
    training = cost.GRADIENT * made * inner * (outer - 1) / outer
    return model.flops * outer * (real + cost.SECOND_GRADIENT * made + training)
