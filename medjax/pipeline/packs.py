"""The packing of a run that leaves it to val (``--pack=0``): random real images say which suits the data."""

import dataclasses
from pathlib import Path

import numpy as np

from medjax import recipes, store
from medjax.distill.images import STEP_SIZE
from medjax.distill.release import PrivacyConfig
from medjax.errors import UserError
from medjax.metrics import summary
from medjax.packing import PackConfig
from medjax.pipeline import folders
from medjax.pipeline.progress import Progress
from medjax.pipeline.score import interim_scores
from medjax.pipeline.session import open_session, random_start
from medjax.pipeline.settings import IpcConfig, RunConfig, Settings, groups_of
from medjax.score import percent
from medjax.types import RawDataset

#: Factors that are tried.
TRIED = (1, 2)
#: The score that chooses.
CRITERION = "balanced_accuracy"


def settled(
    settings: Settings, raw: RawDataset, out: Path, progress: Progress
) -> tuple[Settings, float]:
    """The settings with a factor in place of ``pack`` = 0, and the seconds that it took to choose; others as they are.

    Each of `TRIED` that the classes have images enough for is tried: networks of the interim evaluation train on random
    real images, packed so, and val scores them. All seeds share the choice. Raises UserError under a guarantee, which
    leaves no look at val.
    """
    if settings.config(PackConfig).pack:
        return settings, 0.0
    if PrivacyConfig in settings.groups:
        raise UserError("--pack=0 looks at val, and under a guarantee nothing may: give 1 or 2")
    tried, seconds = _possible(settings, raw), 0.0
    best = tried[0]
    if len(tried) > 1:
        folder = folders.home(out, raw) / _name(settings)
        with folders.hold(folder, progress, wait=True):
            scores = {f: _score(settings, f, raw, folder, progress) for f in tried}
        best = max(scores, key=lambda f: scores[f])
        words = ", ".join(f"--pack={f} {percent(score)} %" for f, score in scores.items())
        progress.say(f"packing, by random images on val (balanced accuracy): {words}")
        seconds = sum(row["seconds"] for row in store.read_log(folder / "log.jsonl"))
    return _packed(settings, best), seconds


def _packed(settings: Settings, factor: int) -> Settings:
    """The settings with this factor, which val chose."""
    return Settings(
        settings.groups | {PackConfig: PackConfig(factor)}, settings.origin | {"pack": "val"}
    )


def _possible(settings: Settings, raw: RawDataset) -> list[int]:
    """The factors for which every class has images enough."""
    asked = settings.config(IpcConfig)
    least = np.bincount(raw.train.labels, minlength=len(raw.class_names)).min()
    enough = least if not asked.allow_repeat else np.inf * least
    return [f for f in TRIED if f == 1 or f * f * asked.ipc <= enough]


def _name(settings: Settings) -> str:
    """The folder of a choice, beside those of the runs that share it."""
    groups = {g: settings.groups[g] for g in groups_of(recipes.find("random"))}
    groups[RunConfig] = dataclasses.replace(settings.run, seed=0)
    asked = Settings(groups, settings.origin)
    return f"packing-ipc{settings.ipc}-{store.config_hash(asked.identity())}"


def _score(
    settings: Settings, factor: int, raw: RawDataset, folder: Path, progress: Progress
) -> float:
    """The score on val of networks trained on random images packed so; read back where it is known."""
    own = _packed(settings, factor)
    own.groups[RunConfig] = dataclasses.replace(own.run, seed=0)
    own = own.counted(own.decoded * len(raw.class_names))
    session = open_session(own, raw, folder, progress)
    start = random_start(session)
    (row,) = interim_scores(session, f"pack-{factor}", start, session.val, (STEP_SIZE,))
    return float(np.nan_to_num(summary(row)[CRITERION]["mean"], nan=-1.0))
