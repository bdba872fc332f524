"""Representative images: k-means of each class in the features of a trained network, and the real image nearest to each
centre (the selection baseline of DC-BENCH, Cui et al. 2022).

The start is k-means++ (Arthur & Vassilvitskii 2007), and Lloyd's iterations run until no image changes its centre. On
the host, in NumPy: no two classes have the same number of images, and each would compile programs of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from medjax import cost
from medjax.models.base import Model
from medjax.types import Dataset, PyTree

#: Lloyd's iterations at most: rounding could move an image to and fro without end.
MOST = 300


def embed(
    model: Model, params: PyTree, state: PyTree, images: Float[Array, "n h w c"]
) -> Float[np.ndarray, "n f"]:
    """The features of all images, on the host, `cost.chunk_size` images at a time. The network has features and is
    separable: with batch statistics `features` goes by those of the images it is given, whatever ``state`` holds, and
    an image would be seen beside its chunk."""
    assert model.features and model.separable
    features, count = jax.jit(model.features), images.shape[0]
    chunk, parts = cost.chunk_size(model, images.shape[1:], 1), []
    for first in range(0, count, chunk):
        # The last chunk is padded, so that all are one program.
        chosen = np.minimum(np.arange(first, first + chunk), count - 1)
        parts.append(np.asarray(features(params, state, images[chosen])))
    return np.concatenate(parts)[:count]


def kmeans_images(
    features: Float[np.ndarray, "n f"], key: Array, data: Dataset, ipc: int, classes: int
) -> tuple[Float[Array, "m h w c"], Int[Array, " m"]]:
    """``ipc`` representative real images of each class, class by class; m = classes * ipc. features: of ``data``.

    A class with no more than ``ipc`` images is used completely and then again from its start. Every class needs at
    least one image.
    """
    labels, chosen = np.asarray(data.labels), []
    draws = np.asarray(jax.random.uniform(key, (classes, ipc)), float)
    for number in range(classes):
        mine = np.flatnonzero(labels == number)
        places = np.arange(ipc) % len(mine)
        if len(mine) > ipc:
            # In float64: a distance is a difference of large squares.
            points = features[mine].astype(float)
            places = nearest(points, lloyd(points, starts(draws[number], points)))
        chosen.append(mine[places])
    repeated = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), ipc)
    return data.images[np.concatenate(chosen)], repeated


def starts(
    draws: Float[np.ndarray, " k"], points: Float[np.ndarray, "n f"]
) -> Float[np.ndarray, "k f"]:
    """k of the points by k-means++: the first uniformly, each further one with a probability that is in proportion to
    its squared distance from the nearest one drawn before. draws: uniform numbers in [0, 1)."""
    chosen, weights = [], np.ones(len(points))
    left = np.full(len(points), np.inf)
    for draw in draws:
        total = np.cumsum(weights)
        # From the right: a point of weight 0 is never drawn while another has some.
        found = min(int(np.searchsorted(total, draw * total[-1], side="right")), len(points) - 1)
        chosen.append(found)
        left = np.minimum(left, _distances(points, points[[found]])[:, 0])
        left[found] = 0.0
        weights = left
    return points[chosen]


def lloyd(
    points: Float[np.ndarray, "n f"], centres: Float[np.ndarray, "k f"]
) -> Float[np.ndarray, "k f"]:
    """The centres that Lloyd's iterations reach from these. A centre that loses all of its points stays where it is."""
    owners = np.full(len(points), -1)
    for _ in range(MOST):
        before, owners = owners, _distances(points, centres).argmin(1)
        if np.array_equal(before, owners):
            break
        centres = centres.copy()
        for owner in np.unique(owners):
            centres[owner] = points[owners == owner].mean(0)
    return centres


def nearest(
    points: Float[np.ndarray, "n f"], centres: Float[np.ndarray, "k f"]
) -> Int[np.ndarray, " k"]:
    """The point nearest to each centre, none twice: in the order of the centres, each takes from those that are left;
    k <= n."""
    distances, found = _distances(points, centres), []
    for number in range(len(centres)):
        found.append(int(distances[:, number].argmin()))
        distances[found[-1]] = np.inf
    return np.array(found)


def _distances(
    points: Float[np.ndarray, "n f"], centres: Float[np.ndarray, "k f"]
) -> Float[np.ndarray, "n k"]:
    """Squared distances, as a matrix product."""
    squares = (points**2).sum(1)[:, None] + (centres**2).sum(1)
    return np.maximum(squares - 2 * points @ centres.T, 0)
