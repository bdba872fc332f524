"""Dataset distillation for medical images, in JAX.

    settings = medjax.settings("mtt", preset="quick", dataset="phantom", ipc=1)
    result = medjax.run("mtt", settings, "runs")

The public names are imported at first use, so that ``import medjax`` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medjax.audit.making import AuditConfig as AuditConfig
    from medjax.audit.making import audit_run as audit_run
    from medjax.bundle.loading import load_distilled as load_distilled
    from medjax.bundle.making import ShareConfig as ShareConfig
    from medjax.bundle.making import make_bundle as make_bundle
    from medjax.data.sources import from_arrays as from_arrays
    from medjax.data.sources import load as load
    from medjax.devices import use_cores as use_cores
    from medjax.distill.base import Distiller as Distiller
    from medjax.errors import UserError as UserError
    from medjax.models import Model as Model
    from medjax.pipeline.evaluate_saved import evaluate_saved as evaluate_saved
    from medjax.pipeline.evaluate_saved import evaluation_settings as evaluation_settings
    from medjax.pipeline.prepare import PrepareConfig as PrepareConfig
    from medjax.pipeline.prepare import prepare as prepare
    from medjax.pipeline.progress import Progress as Progress
    from medjax.pipeline.resolve import settings as settings
    from medjax.pipeline.run import run as run
    from medjax.pipeline.run import run_seeds as run_seeds
    from medjax.pipeline.settings import Settings as Settings
    from medjax.recipes import Costs as Costs
    from medjax.recipes import Recipe as Recipe
    from medjax.recipes import Setup as Setup
    from medjax.recipes import register as register
    from medjax.result import Result as Result
    from medjax.share import load_set as load_set
    from medjax.types import Dataset as Dataset
    from medjax.types import RawDataset as RawDataset
    from medjax.types import Synthetic as Synthetic
    from medjax.types import Trajectories as Trajectories

__version__ = "0.2.0"

#: module -> its public names
_PUBLIC = {
    "audit.making": ("AuditConfig", "audit_run"),
    "bundle.loading": ("load_distilled",),
    "bundle.making": ("ShareConfig", "make_bundle"),
    "data.sources": ("from_arrays", "load"),
    "devices": ("use_cores",),
    "distill.base": ("Distiller",),
    "errors": ("UserError",),
    "models": ("Model",),
    "pipeline.evaluate_saved": ("evaluate_saved", "evaluation_settings"),
    "pipeline.prepare": ("PrepareConfig", "prepare"),
    "pipeline.progress": ("Progress",),
    "pipeline.resolve": ("settings",),
    "pipeline.run": ("run", "run_seeds"),
    "pipeline.settings": ("Settings",),
    "recipes": ("Costs", "Recipe", "Setup", "register"),
    "result": ("Result",),
    "share": ("load_set",),
    "types": ("Dataset", "RawDataset", "Synthetic", "Trajectories"),
}
__all__ = sorted(name for names in _PUBLIC.values() for name in names)  # pyright: ignore


def __getattr__(name: str) -> Any:
    for module, names in _PUBLIC.items():
        if name in names:
            return getattr(importlib.import_module(f"medjax.{module}"), name)
    raise AttributeError(f"module 'medjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
