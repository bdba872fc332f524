"""The distillation algorithms, one file each, beside its dataclass of options; the registry is `medjax.recipes`."""

from medjax.distill.base import Chunk, Distiller, run

__all__ = ["Chunk", "Distiller", "run"]
