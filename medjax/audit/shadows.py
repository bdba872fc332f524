"""Shadows: the whole procedure again on data without some canaries, and the scores of all canaries by networks trained
on what each releases.

A shadow is an ordinary run up to the set that it releases, so it refits everything that saw the data. What is kept of
it is one small file; the files of its run are removed when that is written. A shadow whose file is there is not done
again. An accelerator distils several in one program.
"""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from medjax import devices, evaluate, share, store
from medjax.audit.canaries import Canaries, half, shadow_data
from medjax.audit.whitening import membership_score
from medjax.augment import augment
from medjax.data import preprocess
from medjax.distill.images import ImagesConfig
from medjax.distill.random import packed_images, random_images
from medjax.eval_config import EvalConfig
from medjax.pipeline import folders
from medjax.pipeline.cross_architecture import step_size_for
from medjax.pipeline.evaluate_saved import open_shared
from medjax.pipeline.finish import choose, write_set
from medjax.pipeline.progress import Progress, Silent, Update
from medjax.pipeline.run import Asked, only_distilled
from medjax.pipeline.session import open_session
from medjax.pipeline.settings import RunConfig, Settings
from medjax.recipes import Recipe
from medjax.share import SharedSet
from medjax.types import RawDataset, Synthetic

#: What a procedure makes of each of some shadows: (runs that are asked for, progress) -> their released sets.
Release = Callable[[list[Asked], Progress], list[SharedSet]]
#: Log odds of networks that are certain.
CERTAIN = 1e3
#: What is kept of a shadow's canaries; ``by_map`` is null where there is no whitening map.
SCORES = ("scores", "by_map")


class ShadowScores(NamedTuple):
    """Of all shadows: the score of each canary (log odds of the label it is given, mean over networks), who was in,
    the balanced accuracy of the networks on test, the seed of each shadow, and the score of each canary by the
    whitening map (`medjax.audit.whitening`), if there is one."""

    scores: Float[np.ndarray, "s n"]
    inside: Bool[np.ndarray, "s n"]
    balanced: Float[np.ndarray, " s"]
    seeds: list[int]
    by_map: Float[np.ndarray, "s n"] | None = None


class NamedProgress:
    """The progress of a shadow: its bars, with its name before them. Its lines are those of the run, 16 times."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress, self.name = progress, name

    def say(self, text: str) -> None:
        pass

    def bar(self, name: str, total: int, done: int = 0) -> Update:
        return self.progress.bar(f"{self.name}: {name}", total, done)

    def download(self, name: str, have: int, total: int | None) -> None:
        pass


def of_method(recipe: Recipe) -> Release:
    """The set that a method distils."""

    def release(each: list[Asked], progress: Progress) -> list[SharedSet]:
        sessions = only_distilled(recipe, each, progress)
        return [choose(session, recipe).written for session in sessions]

    return release


def real_images(each: list[Asked], progress: Progress) -> list[SharedSet]:
    """As many random real images, released as a distilled set is: what leaks by construction."""
    made = []
    for settings, raw, folder in each:
        place = folders.home(Path(folder), raw) / "real"
        session = open_session(settings, raw, place, progress)
        images, labels = packed_images(
            random_images, session.key("init"), session.train, settings.ipc, session.classes
        )
        stored = session.stored(Synthetic(images, labels, jnp.float32(0)))
        made.append(write_set(session, "random", stored, collapsed=True))
    return made


def side_by_side(memory: float) -> int:
    """Shadows that are distilled in one program, where one takes so many bytes: as many as half of an accelerator's
    memory holds. A CPU does them in turn, with the images of each dealt out to its cores."""
    return 1 if devices.on_cpu() else max(1, int(devices.accelerator_bytes() / 2 / memory))


def with_seed(settings: Settings, seed: int) -> Settings:
    """Those of a shadow: the run's own with another seed."""
    groups = settings.groups | {RunConfig: dataclasses.replace(settings.run, seed=seed)}
    return Settings(groups, settings.origin)


def started_from(settings: Settings, **values: str) -> Settings | None:
    """The settings with another start of the images (``init_images``, ``init_set``); None where the method has no such
    options."""
    groups, left = dict(settings.groups), dict(values)
    for group, config in settings.groups.items():
        own = {n: left.pop(n) for n in list(left) if hasattr(config, n)}
        if own:
            groups[group] = dataclasses.replace(config, **own)
    if "init_images" in values and ImagesConfig in groups:
        groups[ImagesConfig] = dataclasses.replace(groups[ImagesConfig], init_set="")
    return None if left else Settings(groups, settings.origin)


def score(
    settings: Settings,
    raw: RawDataset,
    canaries: Canaries,
    shared: SharedSet,
    folder: Path,
    update: Update,
) -> tuple[Float[np.ndarray, " n"], float]:
    """Train networks on the 8-bit images of a set, as its run trains them: (the score of each canary, balanced accuracy
    on test).
    raw: the data of the canaries. folder: where the search for a step size is kept, if there has to be one."""
    session, made = open_shared(settings, raw, shared, folder, Silent()), share.as_shared(shared)
    collapsed = shared.origin.get("collapsed") == "True"
    rate, _ = step_size_for(session, settings.run.model, made, shared.network, collapsed)
    config = settings.config(EvalConfig)
    trainer = evaluate.trainer(config, session.model, session.classes, augment, config.eval_steps)
    people = evaluate.population(
        config, session.key("final"), config.networks, config.eval_epochs, jnp.asarray([rate])
    )
    state = evaluate.start_networks(trainer, people)
    for done, now in evaluate.train_networks(trainer, people, made.training, state):
        state = now
        update(done, "")
    seen = jnp.asarray(preprocess.apply(session.pre, raw.train.images[canaries.rows]))
    odds = evaluate.predict(trainer.model, state, seen)
    odds = np.clip(np.nan_to_num(odds, nan=0.0), -CERTAIN, CERTAIN)
    test = session.test()
    scored = evaluate.score(trainer.model, state, test.images, test.labels)
    own = np.take_along_axis(odds, canaries.labels.reshape(1, -1, 1), 2)[..., 0]
    return own.mean(0), float(np.mean([one.balanced_accuracy for one in scored]))


class Shadow(NamedTuple):
    """One shadow: its number, which canaries are in it, the run that it is, and the file of what is kept of it."""

    number: int
    inside: Bool[np.ndarray, " n"]
    asked: Asked
    path: Path

    def read(self) -> dict[str, Any] | None:
        """What is kept of it; None where it is not there, not whole, or of another one."""
        found = store.read_json(self.path)
        try:
            same = {name: found[name] for name in self.about} == store.strict(self.about)
            kept = [found[n] for n in SCORES if found[n] is not None]
            whole = all(np.array(v, float).shape == self.inside.shape for v in kept)
            balanced = found["balanced_accuracy"]
            return found if same and whole and isinstance(balanced, float) else None
        except (TypeError, KeyError, ValueError):
            return None

    def write(self, **found: Any) -> None:
        """Keep what was found, and with it what the shadow is."""
        store.write_json(self.path, self.about | found)

    @property
    def about(self) -> dict[str, Any]:
        settings, data, _ = self.asked
        return {"data": data.fingerprint, "settings": settings.identity()}


def attack_shadows(
    name: str,
    settings: Settings,
    release: Release,
    raw: RawDataset,
    canaries: Canaries,
    count: int,
    folder: Path,
    progress: Progress,
    beside: int = 1,
) -> ShadowScores:
    """The scores of ``count`` shadows of one procedure, of which ``beside`` are made at once. name: of their files in
    ``folder``."""
    seed, images, made = settings.run.seed, raw.train.images[canaries.rows], []

    def shadow(number: int) -> Shadow:
        inside, called = half(canaries, seed, number), f"{name}-{number:02}"
        data, own = shadow_data(raw, canaries, inside), with_seed(settings, seed + 1 + number)
        return Shadow(number, inside, Asked(own, data, folder / called), folder / f"{called}.json")

    for first in range(0, count, beside):
        block = [shadow(number) for number in range(first, min(first + beside, count))]
        # All sets of a block are made before one is scored: an audit that goes on runs the program of them all again.
        missing = [one for one in block if one.read() is None]
        numbers = "-".join(str(one.number + 1) for one in (*missing[:1], *missing[1:][-1:]))
        told = NamedProgress(progress, f"{name} {numbers}/{count}")
        sets = release([one.asked for one in missing], told) if missing else []
        for one, shared in zip(missing, sets, strict=True):
            told = NamedProgress(progress, f"{name} {one.number + 1}/{count}")
            own, _, work = one.asked
            bar = told.bar("score", own.config(EvalConfig).eval_epochs)
            scores, balanced = score(own, raw, canaries, shared, Path(work) / "scores", bar)
            by_map = membership_score(shared.preprocessor, images)
            one.write(scores=scores, balanced_accuracy=balanced, by_map=by_map)
        for one in block:
            kept, own = one.read(), one.asked.settings
            assert kept
            shutil.rmtree(one.asked.folder, ignore_errors=True)
            score_of = [kept[n] if kept[n] is None else np.array(kept[n], float) for n in SCORES]
            made.append((*score_of, one.inside, kept["balanced_accuracy"], own.run.seed))
    scores, by_map, insides, balanced, seeds = zip(*made, strict=True)
    maps = None if by_map[0] is None else np.stack(by_map)
    parts = np.stack(scores), np.stack(insides), np.array(balanced), list(seeds)
    return ShadowScores(*parts, maps)
