"""The packing of a run that leaves it to val (``--pack=0``): random real images say which suits the data."""

import dataclasses
from pathlib import Path

import numpy as np

from medjax import cost, recipes, share, store
from medjax.data.preprocess import PreprocessConfig
from medjax.distill.images import STEP_SIZE, ImagesConfig
from medjax.distill.release import PrivacyConfig
from medjax.errors import UserError
from medjax.metrics import summary
from medjax.packing import PackConfig
from medjax.paths import user_path
from medjax.pipeline import folders
from medjax.pipeline.forecast import duration, lower_bound, round_passes
from medjax.pipeline.interim import CRITERION
from medjax.pipeline.planned import TRIED, check_fits
from medjax.pipeline.progress import Progress
from medjax.pipeline.score import interim_scores, read_table
from medjax.pipeline.session import build_models, check_counts, open_session, random_start
from medjax.pipeline.settings import IpcConfig, RunConfig, Settings, groups_of
from medjax.pipeline.starts import is_data
from medjax.recipes import Recipe
from medjax.score import percent
from medjax.types import RawDataset


def settled(
    recipe: Recipe, settings: Settings, raw: RawDataset, out: Path, progress: Progress
) -> tuple[Settings, float]:
    """The settings with a factor in place of ``pack`` = 0, and the seconds that it took to choose; others as they are.

    Each of `TRIED` that the recipe allows and that the classes have images enough for is tried: networks of the interim
    evaluation train on random real images, packed so, and val scores them. All seeds share the choice. A set to begin
    with brings its factor. Raises UserError under a guarantee, which leaves no look at val, and where the recipe cannot
    work with any.
    """
    if settings.config(PackConfig).pack:
        return settings, 0.0
    if PrivacyConfig in settings.groups:
        raise UserError("--pack=0 looks at val, and under a guarantee nothing may: give 1 or 2")
    if (path := settings.config(ImagesConfig).init_set) and not is_data(path):
        of_set = _packed(settings, share.load_set(user_path(path)).pack, "set")
        check_counts(of_set, raw)
        return of_set, 0.0
    tried, seconds = _possible(recipe, settings, raw), 0.0
    best = tried[0]
    if len(tried) > 1:
        folder = folders.home(out, raw) / _name(settings, raw)
        scores = {f: _known(folder, f) for f in tried}
        if None in scores.values():
            with folders.hold(folder, progress, wait=True):
                if missing := [f for f in tried if _known(folder, f) is None]:
                    check_fits(recipe, settings, raw.size)
                    _forecast(settings, raw, missing, progress)
                scores = {f: _score(settings, f, raw, folder, progress) for f in tried}
        best = max(tried, key=lambda f: scores[f] or 0.0)
        words = ", ".join(f"--pack={f} {percent(score)} %" for f, score in scores.items())
        progress.say(f"packing, by random images on val (balanced accuracy): {words}")
        seconds = sum(row["seconds"] for row in store.read_log(folder / "log.jsonl"))
    return _packed(settings, best, "val"), seconds


def _forecast(settings: Settings, raw: RawDataset, tried: list[int], progress: Progress) -> None:
    """Say how long networks will train on random images, packed by each of these factors."""
    k, passes = len(raw.class_names), 0.0
    model, _ = build_models(settings, k, raw.train.images.shape[-1])
    for factor in tried:
        images = k * _packed(settings, factor, "val").decoded
        passes += round_passes(settings.counted(images), images, len(raw.val.labels))
    words = lower_bound() + duration(model.flops * passes / (cost.matrix_rate() * cost.EFFICIENCY))
    progress.say(f"forecast of the choice of a packing: {words} of computing")


def _packed(settings: Settings, factor: int, origin: str) -> Settings:
    """The settings with this factor, and where it came from."""
    groups = settings.groups | {PackConfig: PackConfig(factor)}
    return Settings(groups, settings.origin | {"pack": origin})


def _possible(recipe: Recipe, settings: Settings, raw: RawDataset) -> list[int]:
    """The factors that the recipe allows and, but for 1, that every class has images enough for. Raises UserError where
    the recipe allows none."""
    asked, size = settings.config(IpcConfig), settings.config(PreprocessConfig).size
    channels, k = raw.train.images.shape[-1], len(raw.class_names)
    least = np.bincount(raw.train.labels, minlength=k).min()
    model, _ = build_models(settings, k, channels)
    found, refused = [], []
    for factor in TRIED:
        own = _packed(settings, factor, "val")
        if factor > 1 and own.decoded > least and not (asked.allow_repeat and least):
            continue
        try:
            recipe.costs(own.setup(model, k, (len(raw.train.labels), size, size, channels)))
            found.append(factor)
        except UserError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return found


def _name(settings: Settings, raw: RawDataset) -> str:
    """The folder of a choice, beside those of the runs that share it."""
    groups = {g: settings.groups[g] for g in groups_of(recipes.find("random"))}
    groups[RunConfig] = dataclasses.replace(settings.run, seed=0)
    asked = Settings(groups, settings.origin).counted(settings.ipc * len(raw.class_names))
    return f"packing-ipc{settings.ipc}-{store.config_hash(asked.identity())}"


def _known(folder: Path, factor: int) -> float | None:
    """The score of a factor, where it has one."""
    table = read_table(folder / "evaluations" / f"pack-{factor}.json")
    return float(summary(table["scores"])[CRITERION["val"]]["mean"]) if table else None


def _score(
    settings: Settings, factor: int, raw: RawDataset, folder: Path, progress: Progress
) -> float:
    """The score on val of networks trained on random images packed so."""
    own = _packed(settings, factor, "val")
    own.groups[RunConfig] = dataclasses.replace(own.run, seed=0)
    own = own.counted(own.decoded * len(raw.class_names))
    session = open_session(own, raw, folder, progress)
    start = random_start(session)
    (row,) = interim_scores(session, f"pack-{factor}", start, session.val, (STEP_SIZE,))
    return float(summary(row)[CRITERION["val"]]["mean"])
