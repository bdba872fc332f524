"""Representative real images: the baseline that any distillation should beat."""

import functools

import jax.numpy as jnp
import numpy as np

from medjax import cost, devices, train
from medjax.distill import kmeans
from medjax.errors import UserError
from medjax.experts import ExpertsConfig, group_size, training_flops
from medjax.models.base import flattening, require
from medjax.packing import PackConfig
from medjax.recipes import random
from medjax.recipes.base import Costs, Recipe, Select, Setup
from medjax.types import Dataset


def expert_epochs(setup: Setup) -> int:
    """How long the network trains whose features are read."""
    return setup.config(ExpertsConfig).expert_epochs


def check(setup: Setup) -> None:
    """UserError for a network or experts whose features cannot be read."""
    config = setup.config(ExpertsConfig)
    require(setup.model, "kmeans", features=True, separable=True)
    if config.experts != 1:
        raise UserError(
            f"--experts={config.experts}: kmeans reads the features of one expert: give --experts=1"
        )
    if config.expert_epochs < 1:
        raise UserError(
            "--expert_epochs=0 leaves the network untrained whose features kmeans reads: give 1 or more"
        )


def costs(setup: Setup) -> Costs:
    """The expert, its features of all images, and what random images cost. Raises UserError for values with which
    kmeans cannot work."""
    check(setup)
    model, images, experts = setup.model, setup.shape[0], setup.config(ExpertsConfig)
    work = {
        "experts": training_flops(experts, model, expert_epochs(setup), images, setup.val),
        "features": model.flops * images,
        **random.costs(setup).work,
    }
    chunk = cost.chunk_size(model, setup.shape[1:], 1)
    beside = 1 if devices.on_cpu() else group_size()
    return Costs(work, trained=train.alive(model, experts.expert_batch, beside), forward=chunk)


def select(setup: Setup, data: Dataset) -> Select:
    """k-means in the features of expert 0 after its last epoch."""
    assert setup.trajectories is not None, "the pipeline trains the expert before"
    row = setup.trajectories.read(0, np.array([expert_epochs(setup)]))[0]
    params = flattening(setup.model)(jnp.asarray(row))
    features = kmeans.embed(setup.model, params, {}, data.images)
    return functools.partial(kmeans.kmeans_images, kmeans.points_of(features))


RECIPE = Recipe(
    name="kmeans",
    title="k-means",
    summary="Representative selection: networks trained on the real images nearest to k-means centres.",
    place=5,
    colour="#a6761d",
    marker="h",
    configs=(ExpertsConfig, PackConfig),
    costs=costs,
    expert_epochs=expert_epochs,
    select=select,
    shown=("expert_epochs",),
)
