"""The options of a run from defaults, a preset and what is given, and those that only its images decide.

The order: the dataclass's default < the preset's entry for (data set, IPC) < a value that is given.
"""

import dataclasses
import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medjax import packing, recipes
from medjax.config import from_values
from medjax.data.preprocess import PreprocessConfig, side_of
from medjax.errors import UserError
from medjax.models import MODELS, fit_config
from medjax.packing import PackConfig
from medjax.paths import path_text
from medjax.pipeline import presets
from medjax.pipeline.settings import (
    EvalModelsConfig,
    IpcConfig,
    RunConfig,
    Settings,
    fields,
    groups_of,
)

#: The option that names a saved set.
SAVED = "synthetic"
#: Options that count only where another has this value.
ONLY_WITH = {"lr_labels": ("labels", "soft"), "epsilon": ("noise", True), "delta": ("noise", True)}


def settings(
    method: str,
    preset: str = "paper",
    dataset: str | os.PathLike = "phantom",
    ipc: int = 1,
    **values: Any,
) -> Settings:
    """The options of a run from Python.

    method: name of a recipe, like "mtt" (`medjax.recipes.RECIPES`). preset: a table of its TOML file. dataset: a name
    or a path, as `medjax.load` takes it. ipc: images per class (not used by "full"). values: any other option by its
    flag, e.g. ``iterations=20``. Raises UserError for unknown names and values that are not allowed.
    """
    groups = groups_of(recipe := recipes.find(method))
    given = {"preset": preset, "dataset": path_text(dataset)} | values
    given |= {"ipc": ipc} if IpcConfig in groups else {}
    return resolve(groups, presets.read(recipe), given)


def resolve(
    groups: tuple[type, ...], tables: presets.Presets, given: Mapping[str, Any]
) -> Settings:
    """The options of these groups from defaults, the presets ``tables`` and the values ``given``. Raises UserError for
    an unknown option and for a value that is not allowed."""
    known = {field.name for field in fields(*groups)}
    if unknown := sorted(set(given) - known):
        near = difflib.get_close_matches(unknown[0], sorted(known), n=1)
        meant = f"did you mean {near[0]}?" if near else "see the command reference"
        raise UserError(f"{unknown[0]!r} is no option here: {meant}")
    named = [field.name for field in fields(RunConfig)]
    run = from_values(RunConfig, {k: v for k, v in given.items() if k in named})
    ipc = from_values(IpcConfig, {k: v for k, v in given.items() if k == "ipc"}).ipc
    preset = presets.chosen(tables, run.preset, Path(run.dataset).stem, ipc)
    built, origin = {}, {}
    for group in groups:
        names = [field.name for field in dataclasses.fields(group)]
        values = {n: v for n, v in (preset | dict(given)).items() if n in names}
        built[group] = from_values(group, values)
        for name in names:
            source = f"preset {run.preset}" if name in preset else "default"
            origin[name] = "flag" if name in given else source
    if SAVED not in origin:  # a saved set says later which network it is
        check_networks(Settings(built, origin))
    settings = fit_size(Settings(built, origin))
    check_together(settings.values(), given)
    return settings


def check_together(values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """UserError for a step of Adam that is one of SGD, and for an option that would change nothing."""
    if values.get("img_optimizer") == "adam" and values.get("lr_img", 0) > 1:
        raise UserError(
            f"--lr_img={values['lr_img']:g} is a step size of SGD; Adam moves pixels in [0, 1] by it: with"
            " --img_optimizer=adam give a small one, such as --lr_img=0.01"
        )
    for name, (other, needed) in ONLY_WITH.items():
        if name in given and values.get(other, needed) != needed:
            wanted = str(needed).lower()
            raise UserError(f"--{name} counts with --{other}={wanted} alone: leave it out")


def check_networks(settings: Settings) -> None:
    """UserError for an option of a network that is not asked for: it would change nothing."""
    model, others = settings.config(RunConfig).model, settings.config(EvalModelsConfig).names
    for name, network in MODELS.items():
        if network.config not in settings.groups or name in (model, *others):
            continue
        if unused := sorted(
            f.name for f in fields(network.config) if settings.origin[f.name] == "flag"
        ):
            raise UserError(f"--{unused[0]} is for --model={name}, not for {model}: leave it out")


def sized(settings: Settings, channels: int) -> Settings:
    """The settings with a number of pixels in place of ``size`` = 0; others as they are. channels: of the images.
    Raises UserError for a packing that does not fit into them, and for a ZCA that is too large."""
    config = settings.config(PreprocessConfig)
    if not config.size:
        config = dataclasses.replace(config, size=side_of(channels))
        origin = "default" if config.size == PreprocessConfig.size else "channels"
        groups = settings.groups | {PreprocessConfig: config}
        settings = fit_size(Settings(groups, settings.origin | {"size": origin}))
    config.check(channels)
    return settings


def fit_size(settings: Settings) -> Settings:
    """Set the options of networks that follow from the image size and were not given, like the ConvNet's depth; nothing
    as long as the size is left to the images. Raises UserError for a packing that does not fit into it."""
    size = settings.config(PreprocessConfig).size
    if PreprocessConfig not in settings.groups or not size:
        return settings
    packing.check(settings.config(PackConfig).pack, size)
    groups, origin = dict(settings.groups), dict(settings.origin)
    for name, network in MODELS.items():
        if network.config in groups:
            old, options = groups[network.config], [f.name for f in fields(network.config)]
            given = {option for option in options if origin[option] != "default"}
            new = groups[network.config] = fit_config(name, old, size, given)
            origin |= {o: "size" for o in options if getattr(old, o) != getattr(new, o)}
    return Settings(groups, origin)
