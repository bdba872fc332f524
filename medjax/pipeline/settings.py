"""Every option of a run: its value, and where the value comes from (medjax/pipeline/resolve.py finds both)."""

import dataclasses
from typing import Any, NamedTuple, TypeVar

from medjax.config import option
from medjax.data.preprocess import PreprocessConfig
from medjax.distill.average import AverageConfig
from medjax.errors import UserError
from medjax.eval_config import EvalConfig, InterimConfig, SelectConfig, epochs_of
from medjax.experts import ExpertsConfig
from medjax.models import MODELS
from medjax.packing import PackConfig
from medjax.pipeline.starts import identity_of
from medjax.ranking import RankingConfig
from medjax.recipes import Recipe, Setup

#: Options that are no part of a run's name: which data (its fingerprint says that), permissions, scores that are added.
UNNAMED = ("dataset", "preset", "data_dir", "allow_repeat", "ranking")
UNNAMED += ("integrate", "integrate_share", "integrate_seed")
#: Options that are paths of saved sets: what is in the file is part of a run's name.
SETS = ("init_set",)
Group = TypeVar("Group")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The run."""

    dataset: str = option(
        "phantom", "phantom, bloodmnist, ..., integrated, tfds:NAME, or the path of an .npz"
    )
    data_dir: str = option("", "folder where named sets are looked for first and downloaded to")
    integrate: str = option("", "integrated: its sets, names or paths a,b,c; else the study's 8")
    integrate_share: float = option(0.1, "integrated: share of each set, 0 to 1", low=0, high=1)
    integrate_seed: int = option(0, "integrated: seed of the draw of the shares", low=0)
    preset: str = option(
        "paper",
        "table of values in configs/: paper, public, cpu, quick; of mtt and margin also best",
    )
    model: str = option("convnet", f"network: {', '.join(MODELS)}")
    seed: int = option(0, "seed of every random number", low=0)
    precision: str = option(
        "float32",
        "activations of networks: float32, or bf16 (half the memory traffic of a GPU); the rest is float32",
        choices=("float32", "bf16"),
    )

    def __post_init__(self) -> None:
        """Raises UserError for an unknown network."""
        if self.model not in MODELS:
            raise UserError(f"--model={self.model} is not known: choose one of {', '.join(MODELS)}")


@dataclasses.dataclass(frozen=True)
class IpcConfig:
    """The size of the set."""

    ipc: int = option(1, "synthetic images per class", low=1)
    allow_repeat: bool = option(False, "real images repeat where a class has fewer than ipc")


@dataclasses.dataclass(frozen=True)
class EvalModelsConfig:
    """Networks that a set was not made with."""

    eval_models: str = option("", "evaluate also with these networks, like resnet18,mlp")

    def __post_init__(self) -> None:
        """Raises UserError for an unknown network, or one that is named twice."""
        unknown = [name for name in self.names if name not in MODELS]
        if unknown:
            raise UserError(
                f"--eval_models={self.eval_models}: {unknown[0]!r} is not known: choose among {', '.join(MODELS)}"
            )
        if len(set(self.names)) < len(self.names):
            raise UserError(f"--eval_models={self.eval_models} names a network twice")

    @property
    def names(self) -> tuple[str, ...]:
        """The networks asked for."""
        return tuple(self.eval_models.split(",")) if self.eval_models else ()


class Settings(NamedTuple):
    """Resolved options. groups: {dataclass of options: its values}; origin: {option: "default", "preset NAME", "flag",
    "channels" (follows from the images' channels), "size" (from their size), "steps" (from optimiser steps and the
    number of images), "set" (from a distilled set), "data" (images were given) or "val" (val chose)}."""

    groups: dict[type, Any]
    origin: dict[str, str]

    def config(self, group: type[Group]) -> Group:
        """The values of one group; its defaults where the command has no such group."""
        return self.groups.get(group) or group()

    @property
    def run(self) -> RunConfig:
        """The options that every run has."""
        return self.groups[RunConfig]

    @property
    def expert_seed(self) -> int:
        """The seed of the experts."""
        asked = self.config(ExpertsConfig).expert_seed
        return self.run.seed if asked == ExpertsConfig.expert_seed else asked

    @property
    def ipc(self) -> int:
        """Synthetic images per class; 0 for a method that trains on all images."""
        return self.groups[IpcConfig].ipc if IpcConfig in self.groups else 0

    @property
    def decoded(self) -> int:
        """Images per class that networks see of them."""
        return self.ipc * self.config(PackConfig).held

    def values(self) -> dict[str, Any]:
        """All values, by option."""
        return {k: v for g in self.groups.values() for k, v in dataclasses.asdict(g).items()}

    def identity(self) -> dict[str, Any]:
        """The values that make it another run: those that differ from their defaults. An option that a later version
        adds is at its default for every earlier run, so it changes no name."""
        defaults = {f.name: f.default for f in fields(*self.groups)}
        values = self.values()
        for name in SETS:
            if path := values.get(name):  # a set that was moved is the same set
                values[name] = identity_of(path)
        return {
            name: value
            for name, value in values.items()
            if name not in UNNAMED and value != defaults[name]
        }

    def counted(self, images: int) -> "Settings":
        """The same with the epochs that the optimiser steps asked for (``eval_steps``, ``interim_steps``) take on so
        many images, as networks see them. Epochs that a flag gives win over the steps of a preset. Raises UserError
        where flags give both."""
        groups, origin = dict(self.groups), dict(self.origin)
        batch = self.config(EvalConfig).eval_batch
        for group, name in ((EvalConfig, "eval"), (InterimConfig, "interim")):
            if group in groups and (steps := getattr(groups[group], f"{name}_steps")):
                values = {f"{name}_epochs": epochs_of(steps, images, batch)}
                if origin[f"{name}_epochs"] == "flag":
                    if origin[f"{name}_steps"] == "flag":
                        raise UserError(f"give --{name}_epochs or --{name}_steps, not both")
                    values = {f"{name}_steps": 0}
                groups[group] = dataclasses.replace(groups[group], **values)
                origin |= dict.fromkeys(values, "steps")
        return Settings(groups, origin)

    def setup(self, model: Any, classes: int, shape: tuple[int, ...], **more: Any) -> Setup:
        """The `Setup` of a recipe under these options. shape: [n, h, w, c] of the training images."""
        n, h, w, c = shape
        return Setup(self.groups, model, classes, self.ipc, (n, h, w, c), **more)


def networks() -> tuple[type, ...]:
    """The groups of the networks' options."""
    return tuple(network.config for network in MODELS.values())


def groups_of(recipe: Recipe) -> tuple[type, ...]:
    """The groups of options that a method has. Raises ValueError where two of them have an option of one name: one flag
    would set both."""
    groups = (RunConfig, IpcConfig) if recipe.sized else (RunConfig,)
    groups = (*groups, PreprocessConfig, *networks(), *recipe.configs)
    if recipe.build:
        average = () if recipe.chooses else (AverageConfig,)  # of real images there is none
        after = (InterimConfig, SelectConfig, EvalModelsConfig, RankingConfig)
        groups = (*groups, *average, EvalConfig, *after)
    elif recipe.select:
        groups = (*groups, EvalConfig, InterimConfig)
    names = [field.name for field in fields(*groups)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{recipe.name} has two options called {twice[0]}: rename one")
    return groups


def fields(*groups: type) -> list[dataclasses.Field]:
    """The options of these groups."""
    return [field for group in groups for field in dataclasses.fields(group)]
