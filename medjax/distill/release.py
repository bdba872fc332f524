"""What is released of the real images under differential privacy: one table of sums (docs/dp.md has the proof).

Random networks that never saw the data describe each image by a vector of length 1 at most. The weighted sums of these
over the images of each class, with the weighted counts beside them, are all that is ever read of the data
(`joint_sums`). `medjax.pipeline.release` adds noise to them, once.

Such a split of release and distillation is that of decoupled distillation (Dosser, ICCV 2025). Departures: descriptions
have length 1 by construction, so that no clipping threshold is chosen; features are projected at random.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from medjax import devices, graphs
from medjax.config import option
from medjax.distill.moments import feature_count, pieces_at_once
from medjax.models.base import Model, require
from medjax.types import Dataset, PyTree

#: b: the share of a unit's length that counts it. Its counts have noise of standard deviation sigma / b.
COUNTED = 0.2
#: a: the rest of the length.
DESCRIBED = (1 - COUNTED**2) ** 0.5
#: The L2 sensitivity of the joint sums to one unit, added or removed.
SENSITIVITY = 1.0
#: Images of noise whose mean description is subtracted.
REFERENCES = 256


@dataclasses.dataclass(frozen=True)
class PrivacyConfig:
    """The guarantee."""

    epsilon: float = option(4.0, "privacy loss: above 0, smaller is more private", low=0, high=100)
    delta: float = option(
        1e-5, "chance of a larger loss: above 0, below 1 / number of units", low=0, below=1
    )
    unit: str = option(
        "auto",
        "who is protected. patient: data without patients are refused; auto: each image then, and it is said",
        choices=("auto", "patient"),
    )
    noise: bool = option(True, "false: no noise and no guarantee, to see what the noise costs")


@dataclasses.dataclass(frozen=True)
class StatisticsConfig:
    """What is released of the real images."""

    statistic_networks: int = option(128, "random networks that describe the images", low=1)
    directions: int = option(16, "random directions of each network's features", low=2)


class Release(NamedTuple):
    """What is known of the real images, on the host.

    sums: float32 [k, networks * directions + 1], those of `joint_sums` with noise. sigma: its standard deviation in
        every entry, 0 without noise.
    centres: float32 [networks, directions]; key: uint32 data of the key of networks and directions: public.
    guarantee: what result.json says of it.
    """

    sums: Float[np.ndarray, "k values"]
    sigma: float
    centres: Float[np.ndarray, "networks directions"]
    key: UInt32[np.ndarray, " words"]
    guarantee: dict[str, Any]


def network(
    model: Model, key: Array, number: Any, directions: int, image: tuple[int, ...]
) -> tuple[PyTree, Float[Array, "f q"], Array]:
    """A random network's parameters, its directions, and the key of its images of noise."""
    first, second, third = jax.random.split(jax.random.fold_in(key, number), 3)
    count = feature_count(model, image)
    return model.init(first)[0], jax.random.normal(second, (count, directions)), third


def described(
    model: Model, params: PyTree, along: Float[Array, "f q"], centre: Any, images: Array
) -> Float[Array, "n q"]:
    """The description of each image by one network: its length is at most 1 (to rounding)."""
    assert model.features
    way = model.features(params, {}, images) @ along - centre.reshape(1, -1)
    return way / jnp.sqrt((way**2).sum(1, keepdims=True) + 1e-12)


@graphs.jit(static_argnums=(0, 1, 2))
def _centre(
    model: Model, directions: int, image: tuple[int, ...], key: Array, number: Array
) -> Float[Array, " q"]:
    """The mean of the directions over images of noise."""
    params, along, own = network(model, key, number, directions, image)
    assert model.features
    noise = jax.random.normal(own, (REFERENCES, *image))
    return (model.features(params, {}, noise) @ along).mean(0)


@graphs.jit(static_argnums=(0, 1))
def _describe(
    model: Model,
    directions: int,
    key: Array,
    number: Array,
    centre: Float[Array, " q"],
    images: Float[Array, "n h w c"],
    rows: Int[Array, "g s"],
) -> Float[Array, "g s q"]:
    params, along, _ = network(model, key, number, directions, images.shape[1:])

    def piece(params: Any, along: Array, centre: Array, images: Array, rows: Array) -> Array:
        return described(model, params, along, centre, images[rows])

    return devices.map_sharded(piece, params, along, centre, images)(rows)


def joint_sums(
    config: StatisticsConfig,
    model: Model,
    key: Array,
    data: Dataset,
    weights: Float[np.ndarray, " n"],
    classes: int,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, "K q"]]:
    """All that is read of real images: for each class the weighted sum of (a z, b) in float64, and the networks'
    centres, which are of noise. weights: of a unit's images they add up to 1. tell: is called with the number of
    networks that are done. Raises UserError where `check` does.

    Every image goes through the network in a piece of the same size, so that its bits depend on itself alone.
    """
    check(model)
    n, image, q = len(data.labels), data.images.shape[1:], config.directions
    assert weights.shape == (n,)  # one that is shared by all would weigh each image alone
    at_once, size = pieces_at_once(model, image)
    at_once = min(at_once, -(-n // size))
    calls = -(-n // (at_once * size))
    rows = np.arange(calls * at_once * size).reshape(calls, at_once, size) % n
    member = np.zeros((classes, n))
    member[np.asarray(data.labels), np.arange(n)] = weights
    share = DESCRIBED / config.statistic_networks**0.5
    sums, centres = [], []
    for number in range(config.statistic_networks):
        own = jnp.int32(number)
        centre = _centre(model, q, image, key, own)
        about = model, q, key, own, centre, data.images
        found = [np.asarray(_describe(*about, jnp.asarray(r)), np.float64) for r in rows]
        z = np.concatenate(found).reshape(-1, q)[:n]
        z = np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0)
        z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1)
        sums.append(share * member @ z)
        centres.append(np.asarray(centre))
        tell(number + 1)
    counts = COUNTED * member.sum(1, keepdims=True)
    return np.concatenate([*sums, counts], axis=1), np.stack(centres)


def class_means(release: Release) -> Float[np.ndarray, "k K q"]:
    """The mean description of each class by each network, from the noisy sums and counts. No mean of vectors of
    length 1 is longer: noise that makes it so is taken back."""
    k, (networks, q) = len(release.sums), release.centres.shape
    counts = np.maximum(release.sums[:, -1:] / COUNTED, 1)
    means = release.sums[:, :-1] / counts * networks**0.5 / DESCRIBED
    means = means.reshape(k, networks, q)
    return (means / np.maximum(np.linalg.norm(means, axis=2, keepdims=True), 1)).astype(np.float32)


def signal_to_noise(release: Release) -> float:
    """How much larger the squared distances of the class means from their common mean are than the noise in them;
    below 0 where they are smaller than the noise alone would make them. Infinite without noise."""
    k, values = len(release.sums), release.sums.shape[1] - 1
    counts = np.maximum(release.sums[:, -1:] / COUNTED, 1)
    means = release.sums[:, :-1] / counts
    seen = ((means - means.mean(0)) ** 2).sum(1).mean()
    noise = values * ((release.sigma / counts) ** 2).mean()
    return float(seen / noise - (k - 1) / k) if noise else float("inf")


def check(model: Model) -> None:
    """UserError for a network whose images influence each other, or that does not say what its features are."""
    require(model, "dp", features=True, separable=True)


def release_flops(config: StatisticsConfig, model: Model, images: int) -> float:
    """Floating-point operations of describing so many real images."""
    return model.flops * config.statistic_networks * (images + REFERENCES)
