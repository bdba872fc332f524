"""Distances that methods minimise: between parameter vectors (MTT), and between gradients (DC, DSA)."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from medjax.types import PyTree

#: Added to the product of norms, as in DC's public code.
EPSILON = 1e-6


def parameter_distance(
    end: Float[Array, " p"], start: Float[Array, " p"], target: Float[Array, " p"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Normalised squared distance |end - target|^2 / |start - target|^2 (the study's eq. 5), and how far ``end`` went:
    |end - start| / |start - target|."""
    span = jnp.sum((start - target) ** 2)
    loss = jnp.sum((end - target) ** 2) / span
    return loss, jnp.sqrt(jnp.sum((end - start) ** 2) / span)


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


#: DC's distances between two gradients; the public code calls the first one "ours".
DISTANCES = {"layerwise": gradient_distance, "mse": square_distance, "cos": cosine_distance}


def _row_distances(a: Float[Array, "... d"], b: Float[Array, "... d"]) -> Float[Array, " d"]:
    a, b = (x.reshape(-1, x.shape[-1]) for x in (a, b))
    return 1 - (a * b).sum(0) / (_norms(a) * _norms(b) + EPSILON)


def _norms(x: Float[Array, "r d"]) -> Float[Array, " d"]:
    """Column norms whose gradient at a column of zeros is zero."""
    square = (x * x).sum(0)
    empty = square == 0
    return jnp.where(empty, 0.0, jnp.sqrt(jnp.where(empty, 1.0, square)))
