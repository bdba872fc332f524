"""Dataset distillation for medical images, in JAX.

    settings = medjax.settings("mtt", preset="quick", dataset="phantom", ipc=1)
    result = medjax.run("mtt", settings, "runs")

The names below are imported at first use, so that ``import medjax`` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medjax.data.sources import load
    from medjax.devices import use_cores
    from medjax.distill.base import Distiller
    from medjax.errors import UserError
    from medjax.models import Model
    from medjax.pipeline.evaluate_saved import evaluate_saved, evaluation_settings
    from medjax.pipeline.prepare import PrepareConfig, prepare
    from medjax.pipeline.progress import Progress
    from medjax.pipeline.run import run
    from medjax.pipeline.settings import Settings, settings
    from medjax.recipes import Costs, Recipe, Setup, register
    from medjax.result import Result
    from medjax.share import load as load_set
    from medjax.types import Dataset, RawDataset, Synthetic, Trajectories

__version__ = "0.2.0"

#: public name -> (module, its name there)
_PUBLIC = {
    "load": ("medjax.data.sources", "load"),
    "prepare": ("medjax.pipeline.prepare", "prepare"),
    "PrepareConfig": ("medjax.pipeline.prepare", "PrepareConfig"),
    "settings": ("medjax.pipeline.settings", "settings"),
    "Settings": ("medjax.pipeline.settings", "Settings"),
    "run": ("medjax.pipeline.run", "run"),
    "Progress": ("medjax.pipeline.progress", "Progress"),
    "Result": ("medjax.result", "Result"),
    "load_set": ("medjax.share", "load"),
    "evaluation_settings": ("medjax.pipeline.evaluate_saved", "evaluation_settings"),
    "evaluate_saved": ("medjax.pipeline.evaluate_saved", "evaluate_saved"),
    "Recipe": ("medjax.recipes", "Recipe"),
    "Setup": ("medjax.recipes", "Setup"),
    "Costs": ("medjax.recipes", "Costs"),
    "register": ("medjax.recipes", "register"),
    "Distiller": ("medjax.distill.base", "Distiller"),
    "Model": ("medjax.models", "Model"),
    "Dataset": ("medjax.types", "Dataset"),
    "RawDataset": ("medjax.types", "RawDataset"),
    "Synthetic": ("medjax.types", "Synthetic"),
    "Trajectories": ("medjax.types", "Trajectories"),
    "UserError": ("medjax.errors", "UserError"),
    "use_cores": ("medjax.devices", "use_cores"),
}

__all__ = [
    "Costs",
    "Dataset",
    "Distiller",
    "Model",
    "PrepareConfig",
    "Progress",
    "RawDataset",
    "Recipe",
    "Result",
    "Settings",
    "Setup",
    "Synthetic",
    "Trajectories",
    "UserError",
    "evaluate_saved",
    "evaluation_settings",
    "load",
    "load_set",
    "prepare",
    "register",
    "run",
    "settings",
    "use_cores",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'medjax' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
