"""Distil a data set by matching training trajectories: everything that is still missing, in order.

python -m experiments.mtt --dataset=phantom --ipc=1 --preset=quick
"""

from pathlib import Path

from configs.mtt import PRESETS
from experiments.expert_stage import epochs_needed, experts_seconds, train_experts
from experiments.flags import IpcConfig, OthersConfig, RunConfig, launch
from experiments.forecast import Costs, forecast
from experiments.method import Plan, run_method
from experiments.search import start_step_size
from experiments.session import Session
from medjax import cost, train
from medjax.augment import augment
from medjax.data.preprocess import PreprocessConfig
from medjax.distill.average import AverageConfig
from medjax.distill.mtt import MTTConfig, check, iteration_flops, mtt, unrolled_flops
from medjax.evaluate import EvalConfig, InterimConfig
from medjax.experts import ExpertsConfig, group_size
from medjax.models import ConvNetConfig

GROUPS = (
    RunConfig,
    IpcConfig,
    PreprocessConfig,
    ConvNetConfig,
    ExpertsConfig,
    MTTConfig,
    AverageConfig,
    EvalConfig,
    InterimConfig,
    OthersConfig,
)


def costs(session: Session) -> Costs:
    """What it will cost."""
    config, experts = (session.settings.groups[g] for g in (MTTConfig, ExpertsConfig))
    model, epochs, made = session.model, epochs_needed(session), session.ipc * session.classes
    images = experts.experts * epochs * len(session.train.labels)
    work = {
        "experts": cost.GRADIENT * model.flops * images,
        "distillation": config.iterations * iteration_flops(config, model, made),
    }
    batch = (config.batch_syn or made) * config.meta_batch
    real = train.alive(experts.expert_batch, min(experts.experts, group_size()))
    forward = unrolled_flops(config, model, made)
    kept = cost.STEP_BYTES * forward if cost.keeps(forward) else 0.0
    return Costs(work, config.iterations, batch, real, kept)


def plan(session: Session, folder: Path) -> Plan:
    """Check the values, say what they will cost, train the experts."""
    config, model = session.settings.groups[MTTConfig], session.model
    made = session.ipc * session.classes
    check(config, model, epochs_needed(session), made)
    forecast(session, costs(session))
    parts = {"model": model, "augment": augment, "trajectories": train_experts(session)}
    distiller = mtt(config, **parts, ipc=session.ipc, classes=session.classes)
    prepare = start_step_size(session, folder, distiller, config)
    seconds, flops = {"experts": experts_seconds(session)}, iteration_flops(config, model, made)
    return Plan(distiller, config.iterations, flops, prepare, seconds)


if __name__ == "__main__":
    title = "Matching training trajectories."
    launch(title, GROUPS, lambda: run_method("mtt", GROUPS, PRESETS, plan))
