"""Distil a data set by matching training trajectories: everything that is still missing, in order.

python -m experiments.mtt --dataset=phantom --ipc=1 --preset=quick
"""

from pathlib import Path

from configs.mtt import PRESETS
from experiments.expert_stage import epochs_needed, experts_seconds, train_experts
from experiments.flags import launch
from experiments.forecast import Costs, forecast
from experiments.method import Plan, method_groups, run_method
from experiments.search import GRID, SEGMENTS, start_step_size
from experiments.session import Session
from medjax import cost, train
from medjax.augment import augment
from medjax.distill.mtt import (
    MTTConfig,
    batch_size,
    check,
    iteration_flops,
    kept_bytes,
    mtt,
    passes,
)
from medjax.experts import ExpertsConfig, group_size

GROUPS = method_groups(ExpertsConfig, MTTConfig)


def costs(session: Session) -> Costs:
    """What it will cost."""
    config, experts = (session.settings.groups[g] for g in (MTTConfig, ExpertsConfig))
    model, epochs, shape = session.model, epochs_needed(session), synthetic_shape(session)
    images = experts.experts * epochs * len(session.train.labels)
    work = {
        "experts": cost.GRADIENT * model.flops * images,
        "distillation": config.iterations * iteration_flops(config, model, shape),
    }
    if config.lr_init == 0:
        tried = len(GRID) * SEGMENTS * passes(config, shape[0]) / config.meta_batch
        work["distillation"] += cost.GRADIENT * model.flops * tried
    batch = batch_size(config, shape[0]) * config.meta_batch
    real = train.alive(experts.expert_batch, min(experts.experts, group_size()))
    return Costs(work, config.iterations, batch, real, kept_bytes(config, model, shape))


def synthetic_shape(session: Session) -> tuple[int, ...]:
    """[m, h, w, c] of the synthetic images."""
    return (session.ipc * session.classes, *session.train.images.shape[1:])


def plan(session: Session, folder: Path) -> Plan:
    """Check the values, say what they will cost, train the experts."""
    config, model = session.settings.groups[MTTConfig], session.model
    shape = synthetic_shape(session)
    check(config, model, epochs_needed(session))
    forecast(session, costs(session))
    parts = {"model": model, "augment": augment, "trajectories": train_experts(session)}
    distiller = mtt(config, **parts, ipc=session.ipc, classes=session.classes)
    prepare = start_step_size(session, folder, distiller, config)
    seconds, flops = {"experts": experts_seconds(session)}, iteration_flops(config, model, shape)
    return Plan(distiller, config.iterations, flops, prepare, seconds)


if __name__ == "__main__":
    title = "Matching training trajectories."
    launch(title, GROUPS, lambda: run_method("mtt", GROUPS, PRESETS, plan))
