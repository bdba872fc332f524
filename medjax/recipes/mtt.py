"""MTT: experts first, then a search for the step size where asked for, then the distillation."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from medjax import cost, train
from medjax.augment import Augmentation, AugmentConfig
from medjax.distill import mtt
from medjax.distill.base import Distiller
from medjax.distill.images import ImagesConfig
from medjax.distill.mtt_config import MTTConfig, check
from medjax.distill.segments import Segments, held_bytes
from medjax.distill.soft import of_experts, shares
from medjax.distill.step_size_search import search
from medjax.eval_config import SelectConfig
from medjax.experts import ExpertsConfig, side_by_side, training_flops
from medjax.models.base import parameter_count
from medjax.packing import PackConfig
from medjax.recipes.base import Costs, Recipe, Setup

#: Step sizes that the search tries, and the number of expert segments it tries each on.
GRID, SEGMENTS = tuple(10 ** (-4 + i / 3) for i in range(10)), 8


def expert_epochs(setup: Setup) -> int:
    """As far as the distillation reads: starts below T+, targets M epochs later; or what ``expert_epochs`` says."""
    config = setup.config(MTTConfig)
    asked = setup.config(ExpertsConfig).expert_epochs
    return asked or config.max_start_epoch - 1 + config.expert_span


def costs(setup: Setup) -> Costs:
    """Experts, search and iterations. Raises UserError for values with which MTT cannot work."""
    check(setup.config(MTTConfig), setup.model, expert_epochs(setup))
    return unchecked_costs(setup)


def unchecked_costs(setup: Setup) -> Costs:
    """The same where experts alone are trained: they may be shorter than a distillation needs."""
    config, experts = setup.config(MTTConfig), setup.config(ExpertsConfig)
    model, stored = setup.model, setup.synthetic_shape
    shape = (setup.held * stored[0], *stored[1:])
    trained = training_flops(experts, model, expert_epochs(setup), setup.shape[0], setup.val)
    work = {"experts": trained, "distillation": 0.0}
    if config.lr_init == 0:
        tried = len(GRID) * SEGMENTS * mtt.passes(config, shape[0]) / config.meta_batch
        work["distillation"] = cost.GRADIENT * model.flops * tried
    iteration = mtt.iteration_flops(config, model, shape)
    return Costs(
        work,
        config.iterations,
        iteration,
        made=mtt.batch_size(config, shape[0]) * config.meta_batch,
        trained=train.alive(model, experts.expert_batch, side_by_side(experts)),
        kept=mtt.kept_bytes(config, model, shape) + read_bytes(setup, iteration),
    )


def read_bytes(setup: Setup, iteration: float) -> float:
    """Bytes of the segments that device calls read, and of trajectories that an accelerator keeps. iteration: floating-
    point operations of one."""
    config, p = setup.config(MTTConfig), parameter_count(setup.model)
    every = min(setup.config(SelectConfig).eval_every, config.iterations)
    snapshots = config.max_start_epoch + config.expert_span
    held = held_bytes(setup.config(ExpertsConfig).experts, snapshots, 4 * p)
    return held + cost.fed_bytes(every, iteration, config.meta_batch * 2 * 4 * p)


def students_augmentation(setup: Setup) -> Augmentation | None:
    """How students augment the synthetic images."""
    return setup.config(AugmentConfig).chosen


def build(setup: Setup) -> Distiller:
    """MTT on the experts' trajectories."""
    assert setup.trajectories is not None, "the pipeline trains experts before it builds MTT"
    return mtt.mtt(
        setup.config(MTTConfig),
        model=setup.model,
        augment=students_augmentation(setup),
        trajectories=setup.trajectories,
        ipc=setup.ipc,
        classes=setup.classes,
        kept=setup.config(ImagesConfig),
        begun=setup.begun,
    )


def prepare(setup: Setup, distiller: Distiller, key: Array, state: Any) -> tuple[Any, dict] | None:
    """Soft labels begin as the experts see the images. With ``lr_init`` 0 the step size is that of ``GRID`` which
    matches best."""
    config, found = setup.config(MTTConfig), {}
    if config.labels == "soft":
        assert setup.trajectories is not None
        images = setup.packing.decode(state.images)
        begun = of_experts(setup.model, setup.trajectories, images, state.labels)
        state = state._replace(soft=begun)
        own = jnp.take_along_axis(jax.nn.softmax(begun.logits), state.labels.reshape(-1, 1), 1)
        found = {"own_class": float(own.mean())}
    if config.lr_init > 0:
        return (state, found) if found else None
    assert distiller.feed is not None
    feed_key, search_key = jax.random.split(key)
    drawn = distiller.feed(feed_key, jnp.arange(SEGMENTS))
    segments = Segments(drawn.start[:, 0], drawn.target[:, 0])

    images = setup.packing.decode(state.images)
    labels = setup.packing.labels(shares(state.soft, state.labels))
    parts = {"model": setup.model, "augment": students_augmentation(setup)}
    best, losses = search(config, search_key, images, labels, segments, jnp.asarray(GRID), **parts)
    found |= {"grid": GRID, "losses": losses.tolist(), "step_size": float(best)}
    return state._replace(step_size=best), found


RECIPE = Recipe(
    name="mtt",
    title="MTT",
    summary="Matching training trajectories (Cazenavette et al. 2022).",
    place=40,
    colour="#0072B2",
    marker="v",
    configs=(ExpertsConfig, MTTConfig, ImagesConfig, AugmentConfig, PackConfig),
    costs=costs,
    build=build,
    expert_epochs=expert_epochs,
    prepare=prepare,
    shown=("experts", "expert_epochs", "iterations"),
)
