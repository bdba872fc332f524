"""DC and DSA: one algorithm, without and with the augmentation."""

import functools

from medjax import devices, train
from medjax.augment import AugmentConfig
from medjax.distill import dc
from medjax.distill.base import Distiller
from medjax.distill.dc import DCConfig
from medjax.packing import PackConfig
from medjax.recipes.base import Costs, Recipe, Setup


def costs(setup: Setup) -> Costs:
    """The iterations."""
    config, classes = setup.config(DCConfig), setup.classes
    at_once = devices.device_count() if devices.on_cpu() else classes
    return Costs(
        {},
        config.iterations,
        dc.iteration_flops(config, setup.model, setup.ipc, classes, setup.held),
        made=setup.held * setup.ipc * min(classes, at_once),
        real=train.alive(setup.model, config.batch_real, classes),
    )


def build(setup: Setup, augmented: bool) -> Distiller:
    """DC, or DSA where the images are augmented."""
    augment = setup.config(AugmentConfig).chosen if augmented else None
    return dc.dc(
        setup.config(DCConfig),
        model=setup.model,
        augment=augment,
        ipc=setup.ipc,
        classes=setup.classes,
    )


DC = Recipe(
    name="dc",
    title="DC",
    summary="Dataset condensation by gradient matching (Zhao et al. 2021).",
    place=10,
    colour="#E69F00",
    marker="s",
    configs=(DCConfig, PackConfig),
    costs=costs,
    build=functools.partial(build, augmented=False),
    shown=("iterations", "batch_real"),
)
DSA = DC._replace(
    name="dsa",
    title="DSA",
    summary="Gradient matching under differentiable siamese augmentation (Zhao & Bilen 2021).",
    place=20,
    colour="#56B4E9",
    marker="D",
    configs=(DCConfig, AugmentConfig, PackConfig),
    build=functools.partial(build, augmented=True),
)
