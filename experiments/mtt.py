"""Distil a data set by matching training trajectories: everything that is still missing, in order.

python -m experiments.mtt --dataset=phantom --ipc=1 --preset=quick
"""

from pathlib import Path

from configs.mtt import PRESETS
from experiments.expert_stage import epochs_needed, experts_seconds, train_experts
from experiments.flags import IpcConfig, OthersConfig, RunConfig, launch
from experiments.forecast import forecast
from experiments.method import Plan, run_method
from experiments.search import start_step_size
from experiments.session import Session
from medjax import cost, train
from medjax.augment import augment
from medjax.data.preprocess import PreprocessConfig
from medjax.distill.mtt import MTTConfig, check, iteration_flops, mtt
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
    EvalConfig,
    InterimConfig,
    OthersConfig,
)


def plan(session: Session, folder: Path) -> Plan:
    """Check the values, say what they will cost, train the experts."""
    config, experts = (session.settings.groups[g] for g in (MTTConfig, ExpertsConfig))
    model, epochs, made = session.model, epochs_needed(session), session.ipc * session.classes
    check(config, model, epochs, made)
    flops = iteration_flops(config, model, made)
    images = experts.experts * epochs * len(session.train.labels)
    work = {
        "experts": cost.GRADIENT * model.flops * images,
        "distillation": config.iterations * flops,
    }
    batch = (config.batch_syn or made) * config.meta_batch
    real = train.alive(experts.expert_batch, min(experts.experts, group_size()))
    forecast(session, work, config.iterations, batch, real)
    parts = {"model": model, "augment": augment, "trajectories": train_experts(session)}
    distiller = mtt(config, **parts, ipc=session.ipc, classes=session.classes)
    prepare = start_step_size(session, folder, distiller, config)
    seconds = {"experts": experts_seconds(session)}
    return Plan(distiller, config.iterations, flops, prepare, seconds)


if __name__ == "__main__":
    title = "Matching training trajectories."
    launch(title, GROUPS, lambda: run_method("mtt", GROUPS, PRESETS, plan))
