"""DM: distribution matching (Zhao & Bilen 2023). In the features of a fresh random network, the mean of each class's
synthetic images approaches the mean of a batch of its real ones:

    min over S of  sum over classes c of  | mean f(A(T_c)) - mean f(A(S_c)) |^2

No network is ever trained. A is one differentiable augmentation, drawn per class, the same for real and synthetic
images; f is the network without its last layer. Batch norm normalises a batch by its own statistics, so a network with
batch norm sees the images of all classes as one batch, as in the public code: class by class, it would remove the
differences between the classes.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import optax
from jax import lax
from jaxtyping import Array, Float

from medjax import devices
from medjax.augment import Augmentation
from medjax.config import option
from medjax.distill.base import Distiller
from medjax.distill.images import Info, State, beginning, extract, update
from medjax.distill.random import random_images
from medjax.models.base import Model, require
from medjax.types import Dataset, PyTree


@dataclasses.dataclass(frozen=True)
class DMConfig:
    """Distribution matching."""

    iterations: int = option(20000, "random networks, one update each", low=1)
    lr_img: float = option(1.0, "step size of the synthetic images", low=0)
    img_momentum: float = option(0.5, "momentum of the images", low=0)
    batch_real: int = option(256, "real images per class and update", low=1)
    init_images: str = option("real", "start of the images", choices=("real", "noise"))


def dm(
    config: DMConfig, *, model: Model, augment: Augmentation | None, ipc: int, classes: int
) -> Distiller:
    """DM as a `Distiller`. Raises UserError for a network that does not say what its features are."""
    features = model.features
    require(model, "DM", features=True, separable=False)
    assert features is not None
    tx = optax.sgd(config.lr_img, momentum=config.img_momentum)

    def step(key: Array, state: State, data: Dataset, item: PyTree) -> tuple[State, Info]:
        network_key, real_key, augment_key = jax.random.split(key, 3)
        params, model_state = model.init(network_key)
        real, _ = random_images(real_key, data, config.batch_real, classes)
        by_class = (classes, -1, *real.shape[1:])
        embed = functools.partial(features, params, model_state)
        args = jax.random.split(augment_key, classes), real.reshape(by_class)
        stored = state.images.reshape(by_class)
        seen, stored_gradients = jax.vjp(jax.vmap(data.packing.decode), stored)
        args = (*args, seen)
        if model.separable:
            match = functools.partial(match_class, embed, augment)
            losses, gradients = devices.map_sharded(match)(*args)
        else:
            losses, gradients = match_together(embed, augment, *args)
        return update(tx, state, data.packing, losses, *stored_gradients(gradients))

    return Distiller(beginning(tx, config.init_images, ipc, classes), None, step, extract)


def match_class(
    embed: Callable[[Array], Array],
    augment: Augmentation | None,
    key: Array,
    real: Float[Array, "r h w c"],
    made: Float[Array, "i h w c"],
) -> tuple[Float[Array, ""], Float[Array, "i h w c"]]:
    """The squared distance of one class's mean features, and its gradient to that class's synthetic images."""

    def mean_features(images: Array) -> Array:
        if augment is not None:
            images = augment(key, images, siamese=True)
        return embed(images).mean(0)

    target = lax.stop_gradient(mean_features(real))
    return jax.value_and_grad(lambda images: ((target - mean_features(images)) ** 2).sum())(made)


def match_together(
    embed: Callable[[Array], Array],
    augment: Augmentation | None,
    keys: Array,
    real: Float[Array, "k r h w c"],
    made: Float[Array, "k i h w c"],
) -> tuple[Float[Array, " k"], Float[Array, "k i h w c"]]:
    """`match_class` of all classes in one batch: the squared distances, and the gradient of their sum."""

    def mean_features(images: Array) -> Array:
        if augment is not None:
            siamese = functools.partial(augment, siamese=True)
            images = jax.vmap(siamese)(keys, images)
        found = embed(images.reshape(-1, *images.shape[2:]))
        return found.reshape(*images.shape[:2], -1).mean(1)

    target = lax.stop_gradient(mean_features(real))

    def distances(images: Array) -> tuple[Array, Array]:
        each = ((target - mean_features(images)) ** 2).sum(1)
        return each.sum(), each

    gradient, losses = jax.grad(distances, has_aux=True)(made)
    return losses, gradient


def iteration_flops(config: DMConfig, model: Model, ipc: int, classes: int, held: int = 1) -> float:
    """Floating-point operations of one iteration. held: images that a stored one holds."""
    return model.flops * classes * (config.batch_real + 3 * held * ipc)
