"""DM: distribution matching."""

from medjax import devices
from medjax.augment import AugmentConfig
from medjax.distill import dm
from medjax.distill.base import Distiller
from medjax.distill.dm import DMConfig
from medjax.packing import PackConfig
from medjax.recipes.base import Costs, Recipe, Setup


def costs(setup: Setup) -> Costs:
    """The iterations."""
    config, classes = setup.config(DMConfig), setup.classes
    one_by_one = setup.model.separable and devices.on_cpu()
    at_once = devices.device_count() if one_by_one else classes
    return Costs(
        {},
        config.iterations,
        dm.iteration_flops(config, setup.model, setup.ipc, classes, setup.held),
        real=setup.held * setup.ipc * min(classes, at_once),
        forward=config.batch_real * min(classes, at_once),
    )


def build(setup: Setup) -> Distiller:
    """DM with its augmentation."""
    config, model = setup.config(DMConfig), setup.model
    augment = setup.config(AugmentConfig).chosen
    return dm.dm(config, model=model, augment=augment, ipc=setup.ipc, classes=setup.classes)


RECIPE = Recipe(
    name="dm",
    title="DM",
    summary="Distribution matching (Zhao & Bilen 2023).",
    place=30,
    colour="#009E73",
    marker="^",
    configs=(DMConfig, AugmentConfig, PackConfig),
    costs=costs,
    build=build,
    shown=("iterations", "batch_real"),
)
