"""The finished run that is audited, and its data."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp

from medjax import recipes, store
from medjax.bundle.finished import read_finished_run
from medjax.config import from_values
from medjax.data import preprocess
from medjax.distill.images import ImagesConfig
from medjax.errors import UserError
from medjax.packing import PackConfig
from medjax.pipeline.evaluate_saved import open_shared
from medjax.pipeline.folders import made_from
from medjax.pipeline.progress import Progress
from medjax.pipeline.run import IN_MEMORY
from medjax.pipeline.session import Session, load_data
from medjax.pipeline.settings import RunConfig, Settings, fields, groups_of
from medjax.recipes import Recipe
from medjax.report.runs import SHADOWS
from medjax.result import Result
from medjax.share import SharedSet
from medjax.types import Dataset, RawDataset


class Audited(NamedTuple):
    """A finished run: its folder, method, settings (as config.json has them), result and distilled set."""

    folder: Path
    recipe: Recipe
    settings: Settings
    result: Result
    shared: SharedSet


def open_run(folder: str | os.PathLike) -> Audited:
    """The run in a folder. Raises UserError where it is not finished, holds real images, or is damaged."""
    run = read_finished_run(folder)
    recipe = recipes.find(run.result.method)
    return Audited(run.folder, recipe, _settings(run.folder, recipe), run.result, run.shared)


def _settings(folder: Path, recipe: Recipe) -> Settings:
    """The settings of a run from its config.json; an option that it does not know is at its default."""
    kept = store.read_json(folder / "config.json")
    groups, origin = {}, {}
    try:
        for group in groups_of(recipe):
            names = [field.name for field in fields(group)]
            found = {name: kept["values"][name] for name in names if name in kept["values"]}
            groups[group] = from_values(group, {n: one["value"] for n, one in found.items()})
            origin |= dict.fromkeys(names, "default") | {n: o["origin"] for n, o in found.items()}
    except (TypeError, KeyError, UserError) as error:
        raise UserError(
            f"{folder / 'config.json'} is missing or damaged: the settings of the run are not known; run it again"
        ) from error
    return Settings(groups, origin)


def data_of(run: Audited, dataset: str, data_dir: str, progress: Progress) -> RawDataset:
    """The images that a run was made from. dataset, data_dir: in place of what its config.json says, for data that has
    moved. Raises UserError where they cannot be had, or are others."""
    asked = run.settings.run
    if not dataset and asked.dataset == IN_MEMORY:
        raise UserError(
            f"{run.folder} was made from images in memory: give them as --dataset=my.npz, or from Python"
        )
    given = {"dataset": dataset} if dataset else {}
    given |= {"data_dir": data_dir} if data_dir else {}
    named: Any = from_values(RunConfig, vars(asked) | given)
    raw = load_data(
        run.settings._replace(groups=run.settings.groups | {RunConfig: named}), progress
    )
    check_data_of(run, raw)
    return raw


def check_data_of(run: Audited, raw: RawDataset) -> None:
    """UserError where these are not the images of the run."""
    if not made_from(run.folder, run.result.fingerprint, raw):
        raise UserError(
            f"{raw.name} ({raw.fingerprint}) is not what {run.folder} was made from ({run.result.dataset},"
            f" {run.result.fingerprint}): give its data as --dataset"
        )


def open_session_of(run: Audited, raw: RawDataset, progress: Progress) -> Session:
    """A session in the model space of the run's set, with the training images."""
    session = open_shared(run.settings, raw, run.shared, run.folder / SHADOWS, progress)
    train, pre = preprocess.apply(session.pre, raw.train.images), session.pre
    pack = run.settings.config(PackConfig).pack
    packing = preprocess.packing_of(pre, pack, run.settings.config(ImagesConfig).pixels)
    return session._replace(
        train=Dataset(jnp.asarray(train), jnp.asarray(raw.train.labels), packing)
    )
