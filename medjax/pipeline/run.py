"""One run from beginning to end: data, experts, distillation, evaluation, result; or what is still missing of it."""

import dataclasses
import os
from pathlib import Path

from medjax import devices, recipes
from medjax.errors import UserError
from medjax.paths import results_path
from medjax.pipeline import folders
from medjax.pipeline.distil import distil
from medjax.pipeline.experts import experts_seconds, train_experts
from medjax.pipeline.finish import finish
from medjax.pipeline.forecast import forecast
from medjax.pipeline.progress import Progress, Silent
from medjax.pipeline.real import score_all, score_subsets
from medjax.pipeline.session import Session, check_data, load_data, open_session, random_start
from medjax.pipeline.settings import RunConfig, Settings, groups_of
from medjax.recipes import Recipe
from medjax.result import Result
from medjax.types import RawDataset

#: What config.json calls the data set of a run whose images were given: their fingerprint says which they are.
IN_MEMORY = "(given in memory)"


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
    recipe = recipes.find(recipe) if isinstance(recipe, str) else recipe
    if set(settings.groups) != set(groups_of(recipe)):
        raise UserError(
            f"these are not settings of {recipe.name}: make them with medjax.settings({recipe.name!r}, ...)"
        )
    progress, out = progress or Silent(), results_path(folder)
    raw = load_data(settings, progress) if data is None else data
    if data is not None:
        asked = dataclasses.replace(settings.run, dataset=IN_MEMORY)
        settings = Settings(
            settings.groups | {RunConfig: asked}, settings.origin | {"dataset": "data"}
        )
    check_data(settings, raw, progress)
    place = folders.run_folder(out, raw, recipe.name, settings)
    if fresh:
        folders.clear(place)
    folders.check(place, raw, settings)
    if (finished := read_finished(place, progress)) is not None:
        return finished
    with folders.hold(place, progress):
        session = open_session(settings, raw, place, progress)
        folders.write_config(place, raw, settings)
        return work(session, recipe)


def work(session: Session, recipe: Recipe) -> Result:
    """The run of an open session."""
    settings, setup = session.settings, session.setup()
    costs = recipe.costs(setup)
    forecast(settings, setup, session.others, costs, session.progress)
    if recipe.build is None:
        return (score_subsets if recipe.select else score_all)(session, recipe)
    spent = {"data": session.seconds}
    if recipe.expert_epochs:
        setup = session.setup(trajectories=train_experts(session, recipe.expert_epochs(setup)))
        spent["experts"] = experts_seconds(session)
    distil(session, recipe, setup, costs)
    return finish(session, recipe.name, random_start(session), spent)


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
