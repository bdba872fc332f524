"""The dry run of a sweep: its jobs, their states, and a forecast of time and memory. It runs nothing."""

import functools
from pathlib import Path

import jax

from medjax import cost, recipes
from medjax.cli.planning import data_size
from medjax.cli.sweep.jobs import Job, state
from medjax.errors import UserError
from medjax.pipeline.forecast import Forecast, duration, estimate, lower_bound
from medjax.pipeline.planned import planned
from medjax.pipeline.resolve import settings
from medjax.types import Size


def dry_run(out: Path, jobs: list[Job]) -> str:
    """A line for each job, and a last line with the sum over the jobs that are not done and can run."""
    rate = cost.matrix_rate() * cost.EFFICIENCY
    lines, total, most = [], 0.0, 0.0
    counted: dict[tuple[str, str], float] = {}
    for job in jobs:
        size = data_size(job.dataset, job.integrate)
        try:
            found = forecast_job(job, size, rate)
        except UserError as error:  # the others would run
            lines.append(f"{job.name}  would fail: {error}")
            continue
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
    """Bytes of main memory that a job needs, whatever its seed; 0 of one that will say itself why it cannot run. The
    forecast is that of a CPU, so that a process which only hands out jobs takes no GPU."""
    jax.config.update("jax_platforms", "cpu")
    size = data_size(job.dataset, job.integrate)
    try:
        return forecast_job(job, size, 1.0).memory
    except UserError:
        return 0.0


def forecast_job(job: Job, size: Size, rate: float) -> Forecast:
    """The forecast of a job that begins from nothing. size: of its data; rate: floating-point operations a second.
    Raises UserError for a job that its method or this machine refuses."""
    more = {"model": job.model} | ({"eval_models": job.other} if job.other else {})
    asked = settings(job.method, job.preset, job.dataset, job.ipc or 1, **more)
    made, setup, others = planned(asked, size)
    return estimate(made, setup, others, recipes.find(job.method).costs(setup), rate)
