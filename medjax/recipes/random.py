"""Random selection: networks trained on random real images, a fresh subset for each network."""

from medjax import cost
from medjax.distill.random import random_images
from medjax.eval_config import GRID, EvalConfig, InterimConfig, seen
from medjax.packing import PackConfig
from medjax.recipes.base import Costs, Recipe, Setup


def costs(setup: Setup) -> Costs:
    """One network on each of several subsets, as many on one subset, and the search for a step size."""
    config, interim = setup.config(EvalConfig), setup.config(InterimConfig)
    images, batch = setup.held * setup.ipc * setup.classes, config.eval_batch
    final, each = (seen(s, images, batch) for s in (config.eval_steps, interim.interim_steps))
    passes = cost.passes(2 * config.networks, config.eval_epochs, final, setup.test)
    searched = len(GRID) * interim.interim_networks
    passes += cost.passes(searched, interim.interim_epochs, each, setup.val)
    return Costs({"evaluation": setup.model.flops * passes})


RECIPE = Recipe(
    name="random",
    title="random",
    summary="Random selection: networks trained on random real images, the baseline of every method.",
    place=0,
    colour="#6e6e6e",
    marker="o",
    configs=(PackConfig,),
    costs=costs,
    select=lambda setup, data: random_images,
)
