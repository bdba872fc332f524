"""The dry run of a sweep: its jobs, their states, and a forecast of time and memory. It runs nothing."""

from pathlib import Path

from medjax import cost, recipes
from medjax.cli.sweep.jobs import Job, state
from medjax.data import sources
from medjax.data.catalog import STUDY, find
from medjax.data.preprocess import PreprocessConfig
from medjax.pipeline.forecast import Forecast, at_best, estimate, in_words
from medjax.pipeline.session import build_models
from medjax.pipeline.settings import RunConfig, settings


def dry_run(out: Path, jobs: list[Job]) -> str:
    """A line for each job, and a last line with the sum over the jobs that are not done."""
    rate = cost.matrix_rate() * cost.EFFICIENCY
    sets = dict.fromkeys((job.dataset, job.integrate) for job in jobs)
    sizes = {about: data_size(*about) for about in sets}
    lines, total, most = [], 0.0, 0.0
    trained: set[str] = set()
    for job in jobs:
        found = forecast_job(job, sizes[job.dataset, job.integrate], rate)
        shared = sum(found.seconds.get(phase, 0.0) for phase in ("experts", "moments"))
        seconds = found.total - (shared if job.claim in trained else 0.0)
        trained.add(job.claim)
        known = (state(out, job) or {"status": "to do"})["status"]
        if known != "done":
            total, most = total + seconds, max(most, found.memory)
        lines.append(f"{job.name}  {in_words(seconds)}, {found.memory / 1e9:.1f} GB  {known}")
    todo = (
        f"to do: {at_best()}{in_words(total)} on one machine like this, {most / 1e9:.1f} GB at most"
    )
    return "\n".join([*lines, todo])


def data_size(name: str, integrate: str = "") -> tuple[int, int, int]:
    """(classes, channels, training images) of a data set. The catalog knows those of a named set, without a download.
    integrate: the sets that an integrated set is made of (a,b); "" for the study's."""
    if name == "integrated":
        parts = tuple(filter(None, map(str.strip, integrate.split(",")))) or STUDY
        counts = [data_size(part)[2] for part in parts]
        shares = [max(1, round(RunConfig.integrate_share * count)) for count in counts]
        return len(counts), 3, sum(shares)
    if named := find(name):
        entry, _ = named
        return len(entry.class_names), entry.channels, entry.images[0]
    raw = sources.load(name)
    return len(raw.class_names), raw.train.images.shape[-1], len(raw.train.labels)


def forecast_job(job: Job, size: tuple[int, int, int], rate: float) -> Forecast:
    """The forecast of a job that begins from nothing. size: (classes, channels, training images); rate: floating-point
    operations a second."""
    classes, channels, count = size
    recipe = recipes.find(job.method)
    more = {"model": job.model} | ({"eval_models": job.other} if job.other else {})
    made = settings(job.method, job.preset, job.dataset, job.ipc or 1, **more)
    side = made.config(PreprocessConfig).size
    model, others = build_models(made, classes, channels)
    setup = made.setup(model, classes, (count, side, side, channels))
    return estimate(made, setup, others, recipe.costs(setup), rate)
