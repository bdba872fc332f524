"""Random selection: networks trained on random real images, a fresh subset for each network."""

from medjax import cost
from medjax.distill.random import random_images
from medjax.eval_config import EvalConfig, InterimConfig, search_epochs, seen
from medjax.packing import PackConfig
from medjax.recipes.base import Costs, Recipe, Setup


def costs(setup: Setup) -> Costs:
    """One network on each of several subsets, as many on one subset, and the search for a step size."""
    config, interim = setup.config(EvalConfig), setup.config(InterimConfig)
    images, batch = setup.held * setup.ipc * setup.classes, config.eval_batch
    passes = 2 * config.networks * config.eval_epochs * seen(config.eval_steps, images, batch)
    passes += search_epochs(interim) * seen(interim.interim_steps, images, batch)
    work = {"evaluation": cost.GRADIENT * setup.model.flops * passes}
    return Costs(work)


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
