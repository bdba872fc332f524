"""Soft labels that are learned beside the images (Guo et al. 2024, DATM): each image has a share of every class."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from medjax import train
from medjax.models.base import Model, flattening
from medjax.types import Trajectories

#: Momentum of their logits, as published.
MOMENTUM = 0.9
#: The share of an image's own class where no expert was asked.
SURE = 0.9


class SoftLabels(NamedTuple):
    """Logits [m, k] whose softmax are the labels, and their momentum."""

    logits: Array
    trace: Array


def nearly_hard(labels: Int[Array, " m"], classes: int) -> SoftLabels:
    """Labels of which `SURE` is the image's own class."""
    height = np.log(SURE / (1 - SURE) * (classes - 1))
    return begin(height * jax.nn.one_hot(labels, classes))


def begin(logits: Float[Array, "m k"]) -> SoftLabels:
    """Logits at rest."""
    return SoftLabels(logits, jnp.zeros_like(logits))


def shares(soft: SoftLabels | None, labels: Int[Array, " m"]) -> train.Labels:
    """What a network is trained on: the share of each class, or the labels where there are none."""
    return labels if soft is None else jax.nn.softmax(soft.logits)


def after_step(soft: SoftLabels, gradient: Float[Array, "m k"], rate: float) -> SoftLabels:
    """The labels after one step of SGD with momentum."""
    trace = MOMENTUM * soft.trace + gradient
    return SoftLabels(soft.logits - rate * trace, trace)


def of_experts(
    model: Model,
    trajectories: Trajectories,
    images: Float[Array, "n h w c"],
    labels: Int[Array, " m"],
) -> SoftLabels:
    """The mean logits of all experts at their last epoch, of images as networks see them: where n is a multiple of m,
    the mean over the images that a stored one holds. Where experts take an image for another class, its own class and
    that one exchange their logits, so that its own has the highest (the public code begins with images that experts
    get right)."""
    unravel = flattening(model)

    @jax.jit
    def logits(theta: Array) -> Array:
        return model.apply(unravel(theta), {}, images, False)[0]

    last = np.array([trajectories.epochs])
    mean = np.mean(
        [logits(trajectories.read(e, last)[0]) for e in range(trajectories.experts)], axis=0
    )
    mean = mean.reshape(-1, len(labels), mean.shape[1]).mean(0)
    rows, own, top = np.arange(len(labels)), np.asarray(labels), mean.argmax(1)
    mean[rows, own], mean[rows, top] = mean[rows, top], mean[rows, own]
    return begin(jnp.asarray(mean))
