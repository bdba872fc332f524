"""The dry run of a sweep: its jobs, their states, and a forecast of time and memory. It runs nothing."""

import functools
from pathlib import Path

import jax

from medjax import cost, recipes
from medjax.cli.sweep.jobs import Job, state
from medjax.data import sources
from medjax.data.catalog import find, parts
from medjax.data.preprocess import PreprocessConfig
from medjax.packing import PackConfig
from medjax.pipeline.forecast import Forecast, duration, estimate, lower_bound
from medjax.pipeline.packs import TRIED
from medjax.pipeline.resolve import settings, sized
from medjax.pipeline.session import build_models
from medjax.pipeline.settings import RunConfig


def dry_run(out: Path, jobs: list[Job]) -> str:
    """A line for each job, and a last line with the sum over the jobs that are not done."""
    rate = cost.matrix_rate() * cost.EFFICIENCY
    lines, total, most = [], 0.0, 0.0
    counted: dict[tuple[str, str], float] = {}
    for job in jobs:
        found = forecast_job(job, data_size(job.dataset, job.integrate), rate)
        seconds = found.total
        for phase in ("experts", "moments"):
            key, needed = (phase, job.experts), found.seconds.get(phase, 0.0)
            seconds -= min(needed, counted.get(key, 0.0))
            counted[key] = max(needed, counted.get(key, 0.0))
        known = (state(out, job) or {"status": "to do"})["status"]
        if known != "done":
            total, most = total + seconds, max(most, found.memory)
        lines.append(f"{job.name}  {duration(seconds)}, {found.memory / 1e9:.1f} GB  {known}")
    todo = f"to do: {lower_bound()}{duration(total)} on one machine like this, {most / 1e9:.1f} GB at most"
    return "\n".join([*lines, todo])


@functools.cache
def memory(job: Job) -> float:
    """Bytes of main memory that a job needs, whatever its seed. The forecast is that of a CPU, so that a process which
    only hands out jobs takes no GPU."""
    jax.config.update("jax_platforms", "cpu")
    return forecast_job(job, data_size(job.dataset, job.integrate), 1.0).memory


@functools.cache
def data_size(name: str, integrate: str = "") -> tuple[int, int, int]:
    """(classes, channels, training images) of a data set. The catalog knows those of a named set, without a download.
    integrate: the sets that an integrated set is made of (a,b); "" for the study's."""
    if name == "integrated":
        counts = [data_size(part)[2] for part in parts(integrate)]
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
    made = sized(settings(job.method, job.preset, job.dataset, job.ipc or 1, **more), channels)
    if not made.config(PackConfig).pack:  # the most that val may choose
        made.groups[PackConfig] = PackConfig(max(TRIED))
    made = made.counted(made.decoded * classes)
    side = made.config(PreprocessConfig).size
    model, others = build_models(made, classes, channels)
    setup = made.setup(model, classes, (count, side, side, channels))
    return estimate(made, setup, others, recipe.costs(setup), rate)
