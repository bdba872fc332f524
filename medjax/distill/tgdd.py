"""TGDD: distribution matching on snapshots of trained networks (trajectory guided dataset distillation, AAAI 2026).

An iteration draws an expert i, a start epoch s and a later epoch l of its trajectory. In the features phi of snapshot
(i, s) the synthetic images S_c of a class approach its real images R_c, and the logits h of snapshot (i, l) tell their
class:

    L_c = D(phi_{i,s}(A(R_c)), phi_{i,s}(A(S_c))) / D_{i,s} + ce * CE(h_{i,l}(A(S_c)), c)

A is one differentiable augmentation, drawn per class, the same for real and synthetic images. By ``statistics``, D is
the squared distance of the features' means; of their means and standard deviations; or of their characteristic
functions, averaged over random frequencies.

Departures from the paper: the side of the real images is cached (`medjax.distill.moments`), over all images of a class
and for each of a few draws of A, so that an iteration touches no real image and has no sampling noise; and D is divided
by the mean squared distance D_{i,s} of the class means from their common mean, so that it is of order 1 whatever the
snapshot.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from medjax import cost, devices
from medjax.augment import Augmentation
from medjax.config import option
from medjax.distill.base import Distiller
from medjax.distill.images import (
    AS_PUBLISHED,
    ImagesConfig,
    Info,
    State,
    beginning,
    extract,
    update,
)
from medjax.distill.moments import (
    STATISTICS,
    Moments,
    draw_keys,
    feature_count,
    frequencies,
    spread,
)
from medjax.distill.segments import snapshot_reader
from medjax.errors import UserError
from medjax.models.base import Model, flattening, require
from medjax.types import Dataset, PyTree, Trajectories


@dataclasses.dataclass(frozen=True)
class TGDDConfig:
    """Distribution matching on snapshots of experts."""

    iterations: int = option(2000, "updates of the synthetic set", low=1)
    max_start_epoch: int = option(
        20, "T+: features are those of an expert at an epoch below this", low=1
    )
    ahead: int = option(
        6, "logits are those of the same expert at most so many epochs later", low=0
    )
    statistics: str = option(
        "means",
        "what is matched of the features of a class",
        choices=tuple(STATISTICS),
    )
    ce: float = option(0.3, "weight of the cross-entropy of the synthetic images", low=0)
    draws: int = option(8, "draws of the augmentation for which real images are cached", low=1)
    lr_img: float = option(
        0.01, "step size of the synthetic images; with Adam in pixels of [0, 1]", low=0
    )
    img_momentum: float = option(0.5, "momentum of the images (sgd)", low=0)
    init_images: str = option("real", "start of the images", choices=("real", "noise"))


class Matched(NamedTuple):
    """What an iteration reads. start, later: parameters [p] of the two snapshots. means [k, q], scale []: cached of the
    first (`moments.Snapshot`), for one draw. key: uint32 data of the moments' key. expert, epoch, draw: which ones."""

    start: Any
    later: Any
    means: Any
    scale: Any
    key: Any
    expert: Any
    epoch: Any
    draw: Any


def tgdd(
    config: TGDDConfig,
    *,
    model: Model,
    augment: Augmentation | None,
    trajectories: Trajectories,
    moments: Moments,
    ipc: int,
    classes: int,
    kept: ImagesConfig = AS_PUBLISHED,
    begun: Float[Array, "m h w c"] | None = None,
) -> Distiller:
    """TGDD as a `Distiller`. begun: stored images of model space to begin with. Raises UserError for values that
    cannot work together (see `check`)."""
    check(config, model, trajectories.epochs)
    tx = kept.transformation(config.lr_img, config.img_momentum)
    statistics = STATISTICS[config.statistics]
    reader = snapshot_reader(
        trajectories, min(config.max_start_epoch + config.ahead, trajectories.epochs + 1)
    )

    def feed(key: Array, iterations: Int[Array | np.ndarray, " K"]) -> Matched:
        # On the host's own device, as MTT's segments are drawn.
        counts = trajectories.experts, trajectories.epochs, draws_of(config, augment)
        drawn = draw_snapshots(config, *counts, *jax.device_put((key, iterations), devices.host()))
        experts, starts, ends, draws = (np.asarray(a) for a in drawn)
        own = [moments.read(int(e), int(s)) for e, s in zip(experts, starts, strict=True)]
        means = np.stack([one.means[draw] for one, draw in zip(own, draws, strict=True)])
        scales = np.asarray([one.scale for one in own], np.float32)
        start, later = (a[:, 0] for a in reader(*(a[:, None] for a in (experts, starts, ends))))
        keys = np.tile(moments.key, (len(experts), 1))
        return Matched(start, later, means, scales, keys, experts, starts, draws)

    def step(key: Array, state: State, data: Dataset, item: Matched) -> tuple[State, Info]:
        start, later = (flattening(model)(row) for row in (item.start, item.later))
        base, waves = jax.random.wrap_key_data(item.key), None
        if statistics.random:
            count = feature_count(model, state.images.shape[1:])
            waves = frequencies(base, item.expert, item.epoch, count, item.scale)
        stored = state.images.reshape(classes, ipc, *state.images.shape[1:])
        seen, stored_gradients = jax.vjp(jax.vmap(data.packing.decode), stored)
        level = spread(statistics, item.means)
        match = functools.partial(match_class, config, model, augment)
        spread_out = devices.map_sharded(match, start, later, waves, level)
        keys = draw_keys(base, item.draw, classes)
        losses, gradients = spread_out(keys, jnp.arange(classes), item.means, seen)
        return update(tx, state, data.packing, losses, *stored_gradients(gradients))

    init = beginning(tx, config.init_images, ipc, classes, begun)
    return Distiller(init, feed, step, extract, reads_images=False)


def match_class(
    config: TGDDConfig,
    model: Model,
    augment: Augmentation | None,
    start: PyTree,
    later: PyTree,
    waves: Float[Array, "f F"] | None,
    level: Float[Array, ""],
    key: Array,
    label: Int[Array, ""],
    means: Float[Array, " q"],
    made: Float[Array, "i h w c"],
) -> tuple[Float[Array, ""], Float[Array, "i h w c"]]:
    """The loss of one class, and its gradient to that class's synthetic images. waves: the snapshot's frequencies.
    level: what the distance is divided by. means: cached of the real images."""
    statistics, features = STATISTICS[config.statistics], model.features
    assert features

    def loss(images: Array) -> Array:
        if augment is not None:
            images = augment(key, images, siamese=True)
        found = statistics.of_images(features(start, {}, images), waves).mean(0)
        distance = ((statistics.describe(means) - statistics.describe(found)) ** 2).sum() / level
        if config.ce == 0:
            return distance
        logits, _ = model.apply(later, {}, images, True)
        named = jax.nn.log_softmax(logits)[:, label]
        return distance - config.ce * named.mean()

    return jax.value_and_grad(loss)(made)


def draws_of(config: TGDDConfig, augment: Augmentation | None) -> int:
    """Augmentation draws that differ: one where images are not augmented."""
    return 1 if augment is None else config.draws


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def draw_snapshots(
    config: TGDDConfig,
    experts: int,
    last: int,
    draws: int,
    key: Array,
    iterations: Int[Array, " K"],
) -> tuple[Array, Array, Array, Array]:
    """What each iteration draws: expert, start epoch below T+, later epoch up to the ``last`` one, and augmentation."""

    def one(iteration: Array) -> tuple[Array, Array, Array, Array]:
        keys = jax.random.split(jax.random.fold_in(key, iteration), 4)
        start = jax.random.randint(keys[1], (), 0, config.max_start_epoch)
        end = jnp.minimum(start + config.ahead, last)
        later = jax.random.randint(keys[2], (), start, end + 1)
        expert = jax.random.randint(keys[0], (), 0, experts)
        return expert, start, later, jax.random.randint(keys[3], (), 0, draws)

    return jax.vmap(one)(iterations)


def check(config: TGDDConfig, model: Model, epochs: int) -> None:
    """UserError if the network, or experts of ``epochs`` epochs, do not fit the configuration."""
    require(model, "TGDD", features=True, separable=True)
    if epochs < config.max_start_epoch - 1:
        raise UserError(
            f"experts reach epoch {epochs}, but starts below --max_start_epoch={config.max_start_epoch} read epoch"
            f" {config.max_start_epoch - 1}: train longer (--expert_epochs) or lower --max_start_epoch"
        )


def iteration_flops(config: TGDDConfig, model: Model, images: int) -> float:
    """Floating-point operations of one iteration on so many (decoded) synthetic images."""
    networks = 2 if config.ce > 0 else 1
    return networks * cost.GRADIENT * model.flops * images
