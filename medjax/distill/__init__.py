"""The distillation methods, by name. Each lives in the module of its name, beside its configuration."""

from medjax.distill import dc, dm, mtt
from medjax.distill.base import Chunk, Distiller, run

#: name -> factory(config, *, model, augment, ipc, classes) -> Distiller; mtt also takes trajectories.
METHODS = {"dc": dc.dc, "dm": dm.dm, "mtt": mtt.mtt}

__all__ = ["METHODS", "Chunk", "Distiller", "run"]
