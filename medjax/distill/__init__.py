"""The distillation methods, by name. Each lives in the module of its name, beside its configuration."""

from medjax.distill import mtt
from medjax.distill.base import Chunk, Distiller, run

#: name -> factory(config, *, model, augment, trajectories, ipc, classes) -> Distiller
METHODS = {"mtt": mtt.mtt}

__all__ = ["METHODS", "Chunk", "Distiller", "run"]
