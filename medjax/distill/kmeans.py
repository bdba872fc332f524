"""Representative images: k-means of each class in the features of a trained network, and the real image nearest to each
centre (the selection baseline of DC-BENCH, Cui et al. 2022).

The start is k-means++ (Arthur & Vassilvitskii 2007), and Lloyd's iterations run until no image changes its centre. On
the host, in NumPy: no two classes have the same number of images, and each would compile programs of its own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from medjax import cost
from medjax.models.base import Model
from medjax.types import Dataset, PyTree

#: Lloyd's iterations at most: rounding could move an image to and fro without end.
MOST = 300
#: Points that are held in float64 at once.
BLOCK = 1024


class Points(NamedTuple):
    """Points [n, f] and their squared lengths [n], computed once for all iterations, draws and subsets.

    Points are float32; lengths, centres and products are float64, for a distance is a difference of large squares. In
    float32 around the mean of a class it would be exact enough to find clusters, but an image that is nearly as near as
    another could be taken in its place, and a run repeated would differ from one that is stored.
    """

    rows: Float[np.ndarray, "n f"]
    squares: Float[np.ndarray, " n"]

    def at(self, places: Int[np.ndarray, " m"]) -> "Points":
        """Some of them."""
        return Points(self.rows[places], self.squares[places])


def points_of(features: Float[np.ndarray, "n f"]) -> Points:
    """These features as points."""
    squares = np.empty(len(features))
    for first in range(0, len(features), BLOCK):
        at = slice(first, first + BLOCK)
        squares[at] = (features[at].astype(float) ** 2).sum(1)
    return Points(features, squares)


def embed(
    model: Model, params: PyTree, state: PyTree, images: Float[Array, "n h w c"]
) -> Float[np.ndarray, "n f"]:
    """The features of all images, on the host, `cost.chunk_size` images at a time. The network has features and is
    separable: with batch statistics `features` goes by those of the images it is given, whatever ``state`` holds, and
    an image would be seen beside its chunk."""
    assert model.features and model.separable
    features, count = jax.jit(model.features), images.shape[0]
    chunk = cost.chunk_size(model, images.shape[1:], 1)
    width = jax.eval_shape(features, params, state, images[:1]).shape[1]
    found = np.empty((count, width), np.float32)
    for first in range(0, count, chunk):
        # The last chunk is padded, so that all are one program.
        chosen = np.minimum(np.arange(first, first + chunk), count - 1)
        own = features(params, state, images[chosen])
        found[first : first + chunk] = np.asarray(own)[: count - first]
    return found


def kmeans_images(
    points: Points, key: Array, data: Dataset, ipc: int, classes: int
) -> tuple[Float[Array, "m h w c"], Int[Array, " m"]]:
    """``ipc`` representative real images of each class, class by class; m = classes * ipc. points: the features of
    ``data``.

    A class with no more than ``ipc`` images is used completely and then again from its start. Every class needs at
    least one image.
    """
    labels, chosen = np.asarray(data.labels), []
    draws = np.asarray(jax.random.uniform(key, (classes, ipc)), float)
    for number in range(classes):
        mine = np.flatnonzero(labels == number)
        places = np.arange(ipc) % len(mine)
        if len(mine) > ipc:
            own = points.at(mine)
            places = nearest(own, lloyd(own, starts(draws[number], own)))
        chosen.append(mine[places])
    repeated = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), ipc)
    return data.images[np.concatenate(chosen)], repeated


def starts(draws: Float[np.ndarray, " k"], points: Points) -> Float[np.ndarray, "k f"]:
    """k of the points by k-means++: the first uniformly, each further one with a probability that is in proportion to
    its squared distance from the nearest one drawn before. draws: uniform numbers in [0, 1)."""
    count = len(points.rows)
    chosen, weights, left = [], np.ones(count), np.full(count, np.inf)
    for draw in draws:
        total = np.cumsum(weights)
        # From the right: a point of weight 0 is never drawn while another has some.
        found = min(int(np.searchsorted(total, draw * total[-1], side="right")), count - 1)
        chosen.append(found)
        own = points.rows[[found]].astype(float)
        left = np.minimum(left, _distances(points, own)[:, 0])
        left[found] = 0.0
        weights = left
    return points.rows[chosen].astype(float)


def lloyd(points: Points, centres: Float[np.ndarray, "k f"]) -> Float[np.ndarray, "k f"]:
    """The centres that Lloyd's iterations reach from these. A centre that loses all of its points stays where it is."""
    owners = np.full(len(points.rows), -1)
    for _ in range(MOST):
        before, owners = owners, _distances(points, centres).argmin(1)
        if np.array_equal(before, owners):
            break
        centres = centres.copy()
        for owner in np.unique(owners):
            centres[owner] = points.rows[owners == owner].astype(float).mean(0)
    return centres


def nearest(points: Points, centres: Float[np.ndarray, "k f"]) -> Int[np.ndarray, " k"]:
    """The point nearest to each centre, none twice: in the order of the centres, each takes from those that are left;
    k <= n."""
    distances, found = _distances(points, centres), []
    for number in range(len(centres)):
        found.append(int(distances[:, number].argmin()))
        distances[found[-1]] = np.inf
    return np.array(found)


def _distances(points: Points, centres: Float[np.ndarray, "k f"]) -> Float[np.ndarray, "n k"]:
    """Squared distances, as matrix products."""
    squares, doubled = (centres**2).sum(1), 2 * centres.T
    found = np.empty((len(points.rows), len(centres)))
    for first in range(0, len(found), BLOCK):
        at = slice(first, first + BLOCK)
        products = points.rows[at].astype(float) @ doubled
        found[at] = np.maximum(points.squares[at, None] + squares - products, 0)
    return found
