"""TGDD: experts first, then the moments of the real images at their snapshots, then the distillation."""

from medjax import cost, devices, train
from medjax.augment import AugmentConfig
from medjax.distill import moments, tgdd
from medjax.distill.base import Distiller
from medjax.distill.images import ImagesConfig
from medjax.distill.moments import Wanted
from medjax.distill.tgdd import TGDDConfig
from medjax.eval_config import SelectConfig
from medjax.experts import ExpertsConfig, side_by_side, training_flops
from medjax.models.base import parameter_count
from medjax.packing import PackConfig
from medjax.recipes.base import Costs, Recipe, Setup


def expert_epochs(setup: Setup) -> int:
    """As far as the distillation reads: starts below T+, and ``ahead`` epochs more; or what ``expert_epochs`` says."""
    config = setup.config(TGDDConfig)
    asked = setup.config(ExpertsConfig).expert_epochs
    return asked or config.max_start_epoch - 1 + config.ahead


def wanted(setup: Setup) -> Wanted:
    """Moments of all snapshots that an iteration may start from."""
    config = setup.config(TGDDConfig)
    augment = setup.config(AugmentConfig).chosen
    draws = tgdd.draws_of(config, augment)
    return Wanted(config.statistics, augment, draws, config.max_start_epoch)


def costs(setup: Setup) -> Costs:
    """Experts, moments and iterations. Raises UserError for values with which TGDD cannot work."""
    config, experts = setup.config(TGDDConfig), setup.config(ExpertsConfig)
    model, classes, n = setup.model, setup.classes, setup.shape[0]
    tgdd.check(config, model, expert_epochs(setup))
    seen, read = experts.experts * n, wanted(setup)
    trained = training_flops(experts, model, expert_epochs(setup), n, setup.val)
    passes = read.snapshots * (read.draws + moments.STATISTICS[config.statistics].random)
    at_once, size = moments.pieces_at_once(model, setup.shape[1:])
    lanes = devices.device_count()
    each = setup.held * setup.ipc
    iteration = tgdd.iteration_flops(config, model, classes * each)
    every = min(setup.config(SelectConfig).eval_every, config.iterations)
    return Costs(
        {
            "experts": trained,
            "moments": model.flops * seen * passes,
        },
        config.iterations,
        iteration,
        real=each * (min(classes, lanes) if devices.on_cpu() else classes),
        trained=max(
            train.alive(model, experts.expert_batch, side_by_side(experts)),
            min(at_once, lanes if devices.on_cpu() else 1) * size,
        ),
        kept=cost.fed_bytes(every, iteration, 2 * 4 * parameter_count(model)),
    )


def build(setup: Setup) -> Distiller:
    """TGDD on the experts' trajectories and the moments."""
    assert setup.trajectories is not None and setup.moments is not None
    return tgdd.tgdd(
        setup.config(TGDDConfig),
        model=setup.model,
        augment=setup.config(AugmentConfig).chosen,
        trajectories=setup.trajectories,
        moments=setup.moments,
        ipc=setup.ipc,
        classes=setup.classes,
        kept=setup.config(ImagesConfig),
        begun=setup.begun,
    )


RECIPE = Recipe(
    name="tgdd",
    title="TGDD",
    summary="Distribution matching on snapshots of experts (TGDD, 2026).",
    place=36,
    colour="#D55E00",
    marker="p",
    configs=(ExpertsConfig, TGDDConfig, ImagesConfig, AugmentConfig, PackConfig),
    costs=costs,
    build=build,
    expert_epochs=expert_epochs,
    moments=wanted,
    shown=("experts", "expert_epochs", "iterations"),
)
