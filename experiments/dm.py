"""Distil a data set by matching mean features of random networks.

python -m experiments.dm --dataset=phantom --ipc=1 --preset=quick
"""

from pathlib import Path

import jax

from configs.dm import PRESETS
from experiments.flags import launch
from experiments.forecast import Costs, forecast
from experiments.method import Plan, method_groups, run_method
from experiments.session import Session
from medjax import devices
from medjax.augment import augment
from medjax.distill.dm import DMConfig, dm, iteration_flops

GROUPS = method_groups(DMConfig)


def costs(session: Session) -> Costs:
    """What it will cost."""
    config = session.settings.groups[DMConfig]
    flops = iteration_flops(config, session.model, session.ipc, session.classes)
    work = {"distillation": config.iterations * flops}
    at_once = devices.device_count() if jax.default_backend() == "cpu" else session.classes
    images = max(config.batch_real, session.ipc) * min(session.classes, at_once)
    return Costs(work, config.iterations, 0, images)


def plan(session: Session, folder: Path) -> Plan:
    """Say what it will cost."""
    config, ipc, classes = session.settings.groups[DMConfig], session.ipc, session.classes
    flops = iteration_flops(config, session.model, ipc, classes)
    forecast(session, costs(session))
    distiller = dm(config, model=session.model, augment=augment, ipc=ipc, classes=classes)
    return Plan(distiller, config.iterations, flops)


if __name__ == "__main__":
    title = "Distribution matching."
    launch(title, GROUPS, lambda: run_method("dm", GROUPS, PRESETS, plan))
