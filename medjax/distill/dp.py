"""DP: distribution matching on one noisy release of the real images (`medjax.distill.release`).

As in DM (Zhao & Bilen 2023), an iteration takes one random network and brings the mean description of each class's
synthetic images to the released one:

    L_c = | m_{c,j} - mean over S_c of z_j(S) |^2

What is made of a release that is differentially private is so too, however many iterations it takes. Departures from
DM: no real image is read, so that there is no augmentation either, and networks come again.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from medjax import cost, devices
from medjax.config import option
from medjax.distill.base import Distiller
from medjax.distill.images import AS_PUBLISHED, ImagesConfig, Info, State, extract, update
from medjax.distill.release import Release, check, class_means, described, network
from medjax.models.base import Model
from medjax.types import Dataset, PyTree

#: Standard deviation of the noise that images begin with, in model space: little, for what stays of it is learned too.
START = 0.1


@dataclasses.dataclass(frozen=True)
class DPConfig:
    """Matching the release."""

    iterations: int = option(2000, "updates of the synthetic set, one network each", low=1)
    lr_img: float = option(
        0.01, "step size of the synthetic images; with Adam in pixels of [0, 1]", low=0
    )
    img_momentum: float = option(0.5, "momentum of the images (sgd)", low=0)


class Target(NamedTuple):
    """What an iteration reads: the number of its network, the released means [k, q] and the centre [q] in its
    directions, and uint32 data of the networks' key."""

    number: Any
    means: Any
    centre: Any
    key: Any


def dp(
    config: DPConfig,
    *,
    model: Model,
    release: Release,
    image: tuple[int, int, int],
    ipc: int,
    classes: int,
    kept: ImagesConfig = AS_PUBLISHED,
    begun: Float[Array, "m h w c"] | None = None,
) -> Distiller:
    """Matching a release, as a `Distiller` that never reads the images of ``data``. image: (h, w, c). begun: stored
    images of model space to begin with; else noise. Raises UserError where `check` does."""
    check(model)
    tx, means = kept.transformation(config.lr_img, config.img_momentum), class_means(release)
    networks, directions = release.centres.shape

    def init(key: Array, data: Dataset) -> State:
        images = begun
        if images is None:
            images = START * jax.random.normal(key, (ipc * classes, *image))
        images = data.packing.clip(data.packing.keep(images))
        labels = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), ipc)
        return devices.replicated(State(images, labels, tx.init(images)))

    def feed(key: Array, iterations: Int[Array | np.ndarray, " K"]) -> Target:
        there = jax.device_put((key, iterations), devices.host())
        drawn = np.asarray(_numbers(networks, *there))
        keys = np.tile(release.key, (len(drawn), 1))
        return Target(drawn, means[:, drawn].swapaxes(0, 1), release.centres[drawn], keys)

    def step(key: Array, state: State, data: Dataset, item: Target) -> tuple[State, Info]:
        base = jax.random.wrap_key_data(item.key)
        params, along, _ = network(model, base, item.number, directions, image)
        stored = state.images.reshape(classes, ipc, *state.images.shape[1:])
        seen, stored_gradients = jax.vjp(jax.vmap(data.packing.decode), stored)
        match = functools.partial(match_class, model)
        spread_out = devices.map_sharded(match, params, along, item.centre)
        losses, gradients = spread_out(item.means, seen)
        return update(tx, state, data.packing, losses, *stored_gradients(gradients))

    return Distiller(init, feed, step, extract, reads_images=False)


def match_class(
    model: Model,
    params: PyTree,
    along: Float[Array, "f q"],
    centre: Float[Array, " q"],
    mean: Float[Array, " q"],
    made: Float[Array, "i h w c"],
) -> tuple[Float[Array, ""], Float[Array, "i h w c"]]:
    """The squared distance of one class, and its gradient to that class's synthetic images."""
    target = lax.stop_gradient(mean)

    def loss(images: Array) -> Array:
        return ((target - described(model, params, along, centre, images).mean(0)) ** 2).sum()

    return jax.value_and_grad(loss)(made)


@functools.partial(jax.jit, static_argnums=0)
def _numbers(networks: int, key: Array, iterations: Int[Array, " K"]) -> Int[Array, " K"]:
    """The network of each iteration."""
    return jax.vmap(lambda i: jax.random.randint(jax.random.fold_in(key, i), (), 0, networks))(
        iterations
    )


def iteration_flops(model: Model, images: int) -> float:
    """Floating-point operations of one iteration on so many (decoded) synthetic images."""
    return cost.GRADIENT * model.flops * images
