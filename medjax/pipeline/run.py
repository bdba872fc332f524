"""One run from beginning to end: data, experts, distillation, evaluation, result; or what is still missing of it."""

import contextlib
import dataclasses
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from medjax import devices, recipes
from medjax.data.raw import check_in_memory
from medjax.errors import UserError
from medjax.paths import results_path
from medjax.pipeline import folders
from medjax.pipeline.distil import distil
from medjax.pipeline.experts import experts_seconds, train_experts
from medjax.pipeline.finish import finish
from medjax.pipeline.moments import compute_moments, moments_seconds
from medjax.pipeline.packs import settled
from medjax.pipeline.planned import announce
from medjax.pipeline.progress import Progress, Silent
from medjax.pipeline.rank import lacks, ranked, upper_bound
from medjax.pipeline.real import score_all, score_subsets
from medjax.pipeline.release import check as check_privacy
from medjax.pipeline.release import release_of, sealed, withheld
from medjax.pipeline.resolve import sized
from medjax.pipeline.session import (
    Session,
    check_data,
    load_data,
    open_session,
    random_start,
)
from medjax.pipeline.settings import RunConfig, Settings, groups_of
from medjax.recipes import Recipe, Setup
from medjax.result import Result
from medjax.types import RawDataset, Synthetic

#: What config.json calls the data set of a run whose images were given: their fingerprint says which they are.
IN_MEMORY = "(given in memory)"
#: Seeds of one call: all their locks are held, and all their states are in memory.
MOST = 64


@devices.own_settings()
def run(
    recipe: Recipe | str,
    settings: Settings,
    folder: str | os.PathLike,
    data: RawDataset | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
) -> Result:
    """Do everything that is still missing of a run; a finished run is read back at once.

    recipe: a method, or its name. settings: from `settings`. folder: where results go; the run is
    FOLDER/<data set>-<fingerprint>/<method>-ipc<ipc>-<preset>-seed<seed>-<hash>/, and the experts and the fitted
    preprocessing, which all runs on one data set share, lie beside it. data: images in place of the data set that the
    settings name. progress: is told what happens; the default is silent. fresh: delete what an earlier run left.
    The result's ``folder`` says where its files lie. A run that is stopped at any moment goes on when it is called
    again. Raises UserError for whatever a user can put right.
    """
    return run_seeds(recipe, settings, folder, 1, data, progress, fresh)[0]


@devices.own_settings()
def run_seeds(
    recipe: Recipe | str,
    settings: Settings,
    folder: str | os.PathLike,
    seeds: int,
    data: RawDataset | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
) -> list[Result]:
    """`run` for ``seeds`` seeds from the settings' on: as many ordinary runs, each with its folder and its result. They
    are distilled side by side, in one program. A seed's numbers are those of its own run, to rounding."""
    recipe = recipes.find(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(settings, Settings) or set(settings.groups) != set(groups_of(recipe)):
        raise UserError(
            f"these are not settings of {recipe.name}: make them with medjax.settings({recipe.name!r}, ...)"
        )
    if not 1 <= seeds <= MOST:
        raise UserError(f"--seeds={seeds} is not possible: give 1 to {MOST}")
    if settings.run.seed + seeds > 2**32:
        raise UserError(
            f"--seed={settings.run.seed} with --seeds={seeds} passes the largest seed, {2**32 - 1}"
        )
    progress, out = progress or Silent(), results_path(folder)
    if data is not None:
        check_in_memory(data)
    raw = load_data(settings, progress) if data is None else data
    check_data(settings, raw, progress, count=not recipe.release)
    settings = sized(settings, raw.train.images.shape[-1])
    settings, spent = settled(recipe, settings, raw, out, progress)
    asked = settings.run if data is None else dataclasses.replace(settings.run, dataset=IN_MEMORY)
    origin = settings.origin | ({} if data is None else {"dataset": "data"})
    seen = settings.decoded * len(raw.class_names)
    groups, origin = Settings(settings.groups, origin).counted(seen)
    each = [
        Settings(groups | {RunConfig: dataclasses.replace(asked, seed=asked.seed + i)}, origin)
        for i in range(seeds)
    ]
    said = raw
    if recipe.release:
        check_privacy(settings, raw)
        said = withheld(raw)
    bound = upper_bound(settings, raw)
    places = [folders.run_folder(out, raw, recipe.name, own) for own in each]
    for place, own in zip(places, each, strict=True):
        if fresh:
            folders.clear(place)
        folders.check(place, said, own)
    finished = [read_finished(place, progress) for place in places]
    results = {i: result for i, result in enumerate(finished) if result is not None}
    open_ones = [i for i in range(seeds) if i not in results or lacks(results[i], bound)]
    if not open_ones:
        return [results[i] for i in range(seeds)]
    with contextlib.ExitStack() as held:
        for i in open_ones:
            held.enter_context(folders.hold(places[i], progress))
        missing = [i for i in open_ones if i not in results]
        if missing:  # before anything is fitted: it refuses what the memory cannot hold
            announce(recipe, each[missing[0]], raw.size, progress, len(missing))
        opened = open_session(each[open_ones[0]], raw, places[open_ones[0]], progress)
        opened = opened._replace(seconds=opened.seconds + spent)
        sessions = {i: opened._replace(settings=each[i], folder=places[i]) for i in open_ones}
        if missing:
            for i in missing:
                folders.write_config(places[i], said, each[i])
            made = work([sessions[i] for i in missing], recipe)
            results |= dict(zip(missing, made, strict=True))
        if bound:
            results |= {i: ranked(sessions[i], results[i], bound) for i in open_ones}
    return [results[i] for i in range(seeds)]


def work(sessions: list[Session], recipe: Recipe) -> list[Result]:
    """The runs of open sessions that differ in their seeds alone."""
    setups, spent = begun(sessions, recipe)
    if recipe.build is None:
        if recipe.select is None:
            return [score_all(session, recipe) for session in sessions]
        return [
            score_subsets(session, recipe, own, seconds)
            for session, own, seconds in zip(sessions, setups, spent, strict=True)
        ]
    return [
        finish(session, recipe, compared_with(session, recipe, own), seconds, own.release)
        for session, own, seconds in zip(
            distilled(sessions, recipe, setups), setups, spent, strict=True
        )
    ]


class Asked(NamedTuple):
    """A run that is asked for: its settings, its images, which have been checked, and the folder of its results."""

    settings: Settings
    raw: RawDataset
    folder: str | os.PathLike


def only_distilled(recipe: Recipe, each: list[Asked], progress: Progress) -> list[Session]:
    """Runs that end with their last interim evaluation: no final networks are trained, and there is no result. each:
    runs that differ in their seeds and images alone."""
    opened: dict[tuple[str, Path], Session] = {}
    sessions: list[Session] = []
    with contextlib.ExitStack() as held:
        for asked, raw, folder in each:
            own, out = sized(asked, raw.train.images.shape[-1]), results_path(folder)
            own = settled(recipe, own, raw, out, progress)[0]
            own = own.counted(own.decoded * len(raw.class_names))
            place = folders.run_folder(out, raw, recipe.name, own)
            held.enter_context(folders.hold(place, progress))
            about = raw.fingerprint, out  # seeds on the same images share them on the device
            if not sessions:
                announce(recipe, own, raw.size, progress, len(each))
            if about not in opened:
                opened[about] = open_session(own, raw, place, progress)
            session = opened[about]._replace(settings=own, folder=place)
            folders.write_config(place, withheld(raw) if recipe.release else raw, own)
            sessions.append(session)
        return distilled(sessions, recipe, begun(sessions, recipe)[0])


def begun(sessions: list[Session], recipe: Recipe) -> tuple[list[Setup], list[dict[str, float]]]:
    """What comes before a distillation: of each session what `prepared` gives."""
    setups, spent = zip(*[prepared(session, recipe) for session in sessions], strict=True)
    return list(setups), list(spent)


def distilled(sessions: list[Session], recipe: Recipe, setups: list[Setup]) -> list[Session]:
    """Distil, to the last interim evaluation; the sessions as they are from then on."""
    if recipe.release:
        sessions = [sealed(session) for session in sessions]
    distil(sessions, recipe, setups, recipe.costs(setups[0]))
    return sessions


def compared_with(session: Session, recipe: Recipe, setup: Setup) -> Synthetic:
    """What a distillation is compared with: the random real images of its seed, or, where these are out of reach, the
    images that it began with."""
    if not recipe.release:
        return random_start(session)
    assert recipe.build
    distiller = recipe.build(setup)
    begun = distiller.extract(distiller.init(session.key("init"), session.train))
    return session.decoded(session.stored(begun))


def prepared(session: Session, recipe: Recipe) -> tuple[Setup, dict[str, float]]:
    """What a method is built from, with experts and moments where it uses them; the seconds that each part took."""
    setup, spent = session.setup(), {"data": session.seconds}
    if recipe.release:
        begin = time.monotonic()
        made = release_of(session, recipe)
        return session.setup(release=made), spent | {"release": time.monotonic() - begin}
    if not recipe.expert_epochs:
        return setup, spent
    epochs = recipe.expert_epochs(setup)
    read = train_experts(session, epochs)
    more: dict[str, Any] = {"trajectories": read}
    spent["experts"] = experts_seconds(session, epochs)
    if recipe.moments:
        wanted = recipe.moments(setup)
        more["moments"] = compute_moments(session, read, wanted)
        spent["moments"] = moments_seconds(session, wanted)
    return session.setup(**more), spent


def read_finished(folder: Path, progress: Progress) -> Result | None:
    """The result in a run's folder, or None. A damaged one is said, and written again by the caller."""
    path = folder / "result.json"
    if not path.exists():
        return None
    try:
        return Result.read(path)
    except UserError as error:
        progress.say(f"note: {error}; it is written again")
        return None
