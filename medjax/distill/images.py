"""What methods share: how images begin and are updated; the state of those that have no other (DC, DSA, DM,
TGDD)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from medjax import devices
from medjax.config import option
from medjax.distill.random import packed_images, random_images
from medjax.packing import Packing
from medjax.types import Dataset, Synthetic

#: Step size of the networks that are trained on a finished set: these methods learn none.
STEP_SIZE = 0.01


@dataclasses.dataclass(frozen=True)
class ImagesConfig:
    """How images are updated."""

    img_optimizer: str = option(
        "sgd",
        "of the images: SGD with momentum in model space (public codes), or Adam on their pixels, kept in [0, 1]",
        choices=("sgd", "adam"),
    )
    init_set: str = option(
        "",
        "start of the images: a synthetic.npz, or another data set (.npz) to draw from; else init_images",
    )

    @property
    def pixels(self) -> bool:
        """Whether images are kept as pixels."""
        return self.img_optimizer == "adam"

    def transformation(self, rate: float, momentum: float) -> optax.GradientTransformation:
        """The optimiser at a step size; only SGD takes the momentum."""
        return optax.adam(rate) if self.pixels else optax.sgd(rate, momentum=momentum)


def start_of(values: Mapping[str, Any], private: bool) -> str:
    """What the images of a run with these options began as: "set" (``init_set``), "noise" or "real". private: under a
    guarantee no image of the data is a start. Of any other method that has no such option the careful guess is
    real."""
    if values.get("init_set"):
        return "set"
    return "noise" if private else str(values.get("init_images") or "real")


#: As the public codes update images.
AS_PUBLISHED = ImagesConfig()


class State(NamedTuple):
    """What the next iteration needs: images [m, h, w, c] as they are kept, labels [m], their momentum."""

    images: Array
    labels: Array
    opt_state: Any


class Info(NamedTuple):
    """One update, for the log: the distance summed over classes, the norm of its gradient, and whether the update was
    skipped because it was not finite."""

    loss: Array
    grad_images: Array
    skipped: Array


def first_images(
    key: Array,
    data: Dataset,
    start: str,
    ipc: int,
    classes: int,
    begun: Float[Array, "m h w c"] | None = None,
) -> tuple[Float[Array, "m h w c"], Int[Array, " m"]]:
    """What a distillation begins with, as images are kept (`medjax.packing.Packing`). start: "real" (random real
    images) or "noise" (standard normal). begun: stored images of model space to begin with instead."""
    images, labels = packed_images(random_images, key, data, ipc, classes)
    if start == "noise":
        images = jax.random.normal(jax.random.fold_in(key, 1), images.shape)
        images = data.packing.clip(data.packing.keep(images))
    if begun is not None:
        images = data.packing.clip(data.packing.keep(begun))
    return images, labels


def beginning(
    tx: optax.GradientTransformation,
    start: str,
    ipc: int,
    classes: int,
    begun: Float[Array, "m h w c"] | None = None,
) -> Callable[[Array, Dataset], State]:
    """A method's ``init``; start, begun: as in `first_images`."""

    def init(key: Array, data: Dataset) -> State:
        images, labels = first_images(key, data, start, ipc, classes, begun)
        return devices.replicated(State(images, labels, tx.init(images)))

    return init


def update(
    tx: optax.GradientTransformation,
    state: State,
    packing: Packing,
    losses: Float[Array, " k"],
    gradients: Float[Array, "k i h w c"],
) -> tuple[State, Info]:
    """The images after one step along the gradients of all classes; unchanged if a gradient is not finite."""
    gradient = gradients.reshape(state.images.shape)
    updates, opt_state = tx.update(gradient, state.opt_state, state.images)
    images: Any = optax.apply_updates(state.images, updates)
    moved = state._replace(images=packing.clip(images), opt_state=opt_state)
    use = jnp.isfinite(gradient).all()
    kept = jax.tree.map(lambda new, old: jnp.where(use, new, old), moved, state)
    return kept, Info(losses.sum(), jnp.sqrt((gradient**2).sum()), ~use)


def extract(state: State) -> Synthetic:
    """A method's ``extract``."""
    return Synthetic(state.images, state.labels, jnp.float32(STEP_SIZE))
