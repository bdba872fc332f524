"""DP: one noisy release of the real images, then distribution matching on it alone."""

from medjax import devices
from medjax.distill import dp, release
from medjax.distill.base import Distiller
from medjax.distill.dp import DPConfig
from medjax.distill.images import ImagesConfig
from medjax.distill.moments import pieces_at_once
from medjax.distill.release import PrivacyConfig, StatisticsConfig
from medjax.packing import PackConfig
from medjax.recipes.base import Costs, Recipe, Setup


def costs(setup: Setup) -> Costs:
    """The release and the iterations. Raises UserError for a network with which it cannot work."""
    release.check(setup.model)
    config, each = setup.config(DPConfig), setup.held * setup.ipc
    at_once, size = pieces_at_once(setup.model, setup.shape[1:])
    lanes = devices.device_count()
    statistics = setup.config(StatisticsConfig)
    return Costs(
        {"release": release.release_flops(statistics, setup.model, setup.shape[0])},
        config.iterations,
        dp.iteration_flops(setup.model, setup.classes * each),
        real=each * (min(setup.classes, lanes) if devices.on_cpu() else setup.classes),
        forward=max(min(at_once, lanes) * size, release.REFERENCES),
        searches=0,  # its start has a step size too
    )


def build(setup: Setup) -> Distiller:
    """Matching the release."""
    assert setup.release is not None
    return dp.dp(
        setup.config(DPConfig),
        model=setup.model,
        release=setup.release,
        image=setup.shape[1:],
        ipc=setup.ipc,
        classes=setup.classes,
        kept=setup.config(ImagesConfig),
        begun=setup.begun,
    )


RECIPE = Recipe(
    name="dp",
    title="DP",
    summary="Distribution matching on one noisy release of the data: differentially private.",
    place=38,
    colour="#7F7FBF",
    marker="H",
    configs=(PrivacyConfig, StatisticsConfig, DPConfig, ImagesConfig, PackConfig),
    costs=costs,
    build=build,
    release=release.joint_sums,
    shown=("epsilon", "delta", "iterations"),
)
