"""What TGDD caches of the real images: for snapshots of experts and a few augmentation draws, the mean over all images
of a class of what is compared of their features.

Images go through a network in pieces of one class. The sum over each piece is made on a device, and pieces are added on
the host in their own order and in float64: how many devices share the pieces makes a difference of rounding alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from medjax import cost, devices, graphs
from medjax.augment import Augmentation
from medjax.models.base import Model, flattening

#: Random frequencies of a characteristic function.
FREQUENCIES = 1024


class Statistics(NamedTuple):
    """What is compared of the features of a class.

    of_images: (features [n, f], frequencies [f, F] or None) -> [n, q]; its mean over the images of a class is cached.
    describe: that mean [..., q] -> [..., d]: what of it is compared, by squared distance.
    orders: how many equal parts q has. The first is what distances are measured against (`spread`).
    random: whether it reads frequencies.
    """

    of_images: Callable[[Array, Array | None], Array]
    describe: Callable[[Array], Array] = lambda mean: mean
    orders: int = 1
    random: bool = False


class Wanted(NamedTuple):
    """Which moments a method reads: a name in `STATISTICS`, the augmentation, its draws, and snapshots of each expert
    from epoch 0 on."""

    statistics: str
    augment: Augmentation | None
    draws: int
    snapshots: int


class Snapshot(NamedTuple):
    """The moments of one snapshot: the cached means [draws, k, q], float32; and the scale that features are divided by
    before they meet a frequency, 1 where none are used."""

    means: Any
    scale: Any


class Moments(NamedTuple):
    """A host reader of moments. read: (expert, epoch) -> `Snapshot`. key: uint32 data of the key that draws and
    frequencies come from."""

    read: Callable[[int, int], Snapshot]
    key: Any


class Pieces(NamedTuple):
    """Real images in pieces of one class: rows [g, s] of the data, weights [g, s] (0: padding), and classes [g]."""

    rows: Any
    weights: Any
    labels: Any


def _features(features: Array, frequencies: Array | None) -> Array:
    return features


def _norms(features: Array, frequencies: Array | None) -> Array:
    return jnp.sqrt((features**2).sum(1, keepdims=True))


def _powers(features: Array, frequencies: Array | None) -> Array:
    return jnp.concatenate([features, features**2], axis=1)


def _with_deviations(mean: Array) -> Array:
    """Means and standard deviations of mean powers; the derivative of a deviation at 0 is 0."""
    first, second = jnp.split(mean, 2, axis=-1)
    variance = second - first**2
    varied = variance > 0
    deviation = jnp.where(varied, jnp.sqrt(jnp.where(varied, variance, 1.0)), 0.0)
    return jnp.concatenate([first, deviation], axis=-1)


def _waves(features: Array, frequencies: Array | None) -> Array:
    assert frequencies is not None
    angles = features @ frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=1)


#: Means; means and standard deviations; values of the characteristic function (real and imaginary part).
STATISTICS = {
    "means": Statistics(_features),
    "moments": Statistics(_powers, _with_deviations, orders=2),
    "characteristic": Statistics(_waves, random=True),
}


def draw_keys(key: Array, draw: int | Int[Array, ""], classes: int) -> Array:
    """The key of each class in an augmentation draw, which is the same for all snapshots."""
    return jax.random.split(jax.random.fold_in(jax.random.split(key)[0], draw), classes)


def frequencies(
    key: Array, expert: Any, epoch: Any, features: int, scale: Any
) -> Float[Array, "f F"]:
    """The frequencies of a snapshot: standard normal for features that are divided by ``scale``."""
    own = jax.random.fold_in(jax.random.fold_in(jax.random.split(key)[1], expert), epoch)
    return jax.random.normal(own, (features, FREQUENCIES)) / scale


def feature_count(model: Model, image: tuple[int, ...]) -> int:
    """f, the number of features of an image (h, w, c)."""
    assert model.features
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    one = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    return jax.eval_shape(model.features, params, state, one).shape[1]


def spread(statistics: Statistics, means: Float[Array, "k q"]) -> Float[Array, ""]:
    """Mean squared distance of the class means from their common mean; 1 where they are equal."""
    first = jnp.split(means, statistics.orders, axis=1)[0]
    found = ((first - first.mean(0, keepdims=True)) ** 2).sum(1).mean()
    return jnp.where(found > 0, found, 1.0)


def pieces_at_once(model: Model, image: tuple[int, ...]) -> tuple[int, int]:
    """(pieces of a device call, images of a piece). On a CPU a piece's activations stay in cache."""
    size = cost.chunk_size(model, image, 1)
    if not devices.on_cpu():  # pieces are side by side there
        return devices.device_count(), size
    return max(1, int(cost.work_per_call() / (model.flops * size))), size


def cut(labels: Int[np.ndarray, " n"], at_once: int, size: int) -> list[Pieces]:
    """All images in pieces of at most ``size``, by class and in their order; at most ``at_once`` of them together. The
    groups are of one length: the last is padded with pieces that weigh nothing."""
    parts = []
    for label in range(labels.max() + 1):
        rows = np.flatnonzero(labels == label)
        parts += [(label, rows[i : i + size]) for i in range(0, len(rows), size)]
    calls = -(-len(parts) // at_once)
    length, longest = -(-len(parts) // calls), max(len(rows) for _, rows in parts)
    rows, weights = (np.zeros((calls * length, longest), t) for t in (np.int32, np.float32))
    classes = np.zeros(calls * length, np.int32)
    for place, (label, own) in enumerate(parts):
        rows[place, : len(own)], weights[place, : len(own)], classes[place] = own, 1, label
    whole = Pieces(rows, weights, classes)
    return [Pieces(*(a[i : i + length] for a in whole)) for i in range(0, len(classes), length)]


@graphs.jit(static_argnums=(0, 1, 2))
def _sums(
    of_images: Callable[..., Array],
    model: Model,
    augment: Augmentation | None,
    row: Float[Array, " p"],
    keys: Array,
    frequencies: Array | None,
    images: Float[Array, "n h w c"],
    pieces: Pieces,
) -> Float[Array, "g q"]:
    """The sum of ``of_images`` over each piece, for a network of parameters ``row``."""
    assert model.features

    def one(
        params: Any, keys: Array, frequencies: Array | None, images: Array, piece: Pieces
    ) -> Array:
        seen = images[piece.rows]
        if augment is not None:
            seen = augment(keys[piece.labels], seen, siamese=True)
        found = of_images(model.features(params, {}, seen), frequencies)  # type: ignore[misc]
        return (found * piece.weights.reshape(-1, 1)).sum(0)

    shared = flattening(model)(row), keys, frequencies, images
    return devices.map_sharded(one, *shared)(pieces)


def _class_sums(groups: list[Pieces], classes: int, *args: Any) -> Float[np.ndarray, "k q"]:
    total = np.float64(0.0)
    for pieces in groups:
        found = np.asarray(_sums(*args, pieces), np.float64)
        own = np.zeros((classes, found.shape[1]))
        np.add.at(own, pieces.labels, found)
        total = total + own
    return np.asarray(total)


def of_snapshot(
    wanted: Wanted,
    model: Model,
    key: Array,
    place: tuple[int, int],
    row: Float[np.ndarray, " p"],
    images: Float[Array, "n h w c"],
    groups: list[Pieces],
    classes: int,
    tell: Callable[[int], None] = lambda done: None,
) -> Snapshot:
    """The moments of all images for the network of parameters ``row``, which is the snapshot ``place`` (expert, epoch).
    groups: from `cut`. tell: is called with the number of draws that are finished.

    The scale of frequencies is the mean norm of the features of all images in the first draw.
    """
    statistics, scale, chosen = STATISTICS[wanted.statistics], 1.0, None
    counts = sum(np.bincount(p.labels, p.weights.sum(1), classes) for p in groups)
    counts, means = np.asarray(counts).reshape(-1, 1), []
    for draw in range(wanted.draws):
        about = model, wanted.augment, row, draw_keys(key, draw, classes)
        if statistics.random and draw == 0:
            scale = _class_sums(groups, classes, _norms, *about, None, images).sum() / counts.sum()
            scale = np.float32(scale)
            chosen = frequencies(key, *place, feature_count(model, images.shape[1:]), scale)
        sums = _class_sums(groups, classes, statistics.of_images, *about, chosen, images)
        means.append(sums / counts)
        tell(draw + 1)
    return Snapshot(np.stack(means).astype(np.float32), np.float32(scale))
