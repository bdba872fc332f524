"""Distil a data set by matching gradients (--method=dc), also under one augmentation (--method=dsa).

python -m experiments.dc --dataset=phantom --ipc=1 --preset=quick
"""

from pathlib import Path

import jax

from configs.dc import PRESETS
from experiments.flags import FLAGS, launch
from experiments.forecast import Costs, forecast
from experiments.method import Plan, method_groups, run_method
from experiments.session import Session
from medjax import devices, train
from medjax.augment import augment
from medjax.distill.dc import DCConfig, dc, iteration_flops
from medjax.errors import UserError

GROUPS = method_groups(DCConfig)


def costs(session: Session) -> Costs:
    """What it will cost."""
    config = session.settings.groups[DCConfig]
    flops = iteration_flops(config, session.model, session.ipc, session.classes)
    real = train.alive(config.batch_real, session.classes)
    at_once = devices.device_count() if jax.default_backend() == "cpu" else session.classes
    made = session.ipc * min(session.classes, at_once)
    return Costs({"distillation": config.iterations * flops}, config.iterations, made, real)


def plan(session: Session, folder: Path) -> Plan:
    """Say what it will cost."""
    config, shape = session.settings.groups[DCConfig], (session.ipc, session.classes)
    flops = iteration_flops(config, session.model, *shape)
    forecast(session, costs(session))
    distiller = dc(
        config, model=session.model, augment=augment, ipc=shape[0], classes=session.classes
    )
    return Plan(distiller, config.iterations, flops)


def main() -> None:
    method = FLAGS.method or "dc"
    if method not in PRESETS:
        raise UserError(f"--method={method} is not known: choose one of {', '.join(PRESETS)}")
    run_method(method, GROUPS, PRESETS[method], plan)


if __name__ == "__main__":
    launch("Gradient matching.", GROUPS, main)
