"""Is this set worth distilling? Trains on random real images alone, and forecasts what distillation would gain."""

import dataclasses

from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.flags import OutConfig
from medjax.cli.sweep import local
from medjax.cli.sweep.jobs import Job, plan, state
from medjax.cli.sweep.sweep import check_sources, sweep
from medjax.config import option
from medjax.errors import UserError
from medjax.paths import results_path
from medjax.pipeline import presets
from medjax.pipeline.settings import RunConfig
from medjax.recipes import find
from medjax.report import indicator
from medjax.report.indicator_figure import indicator_figure
from medjax.report.pages import slug
from medjax.report.run_cells import cells
from medjax.report.runs import collect
from medjax.result import Result


@dataclasses.dataclass(frozen=True)
class IndicatorConfig:
    """Which set, and where finished runs lie that the forecast may learn from."""

    dataset: str = option(RunConfig.dataset, "a name or the path of an .npz")
    preset: str = option(
        "indicator", "values of the random subsets: indicator, quick, cpu or paper"
    )
    out: str = option(
        OutConfig.out, "folder that runs go to, and where known results are looked for"
    )


def main(words: list[str]) -> None:
    """Train on random images, print the forecast, draw the figure."""
    config = flags.read(IndicatorConfig).config(IndicatorConfig)
    presets.chosen(presets.read(find("random")), config.preset, "", 1)
    out = results_path(config.out)
    wanted = [Job(config.dataset, i, "random", "convnet", 0, config.preset) for i in indicator.IPCS]
    check_sources(out, wanted)
    # A class with fewer images than are asked of it is used again from its start.
    tasks = plan(out, wanted, lambda job: [*job.command(out), "--allow_repeat"])
    sweep(tasks, local.run(out, tasks))
    measured = {}
    for job in wanted:
        known = state(out, job) or {}
        if known.get("status") != "done":
            raise UserError(f"{job.name}: {known.get('reason')} (what it said: {out}/jobs/)")
        measured[job.ipc or 0] = Result.read(out / known["result"])
    name, fingerprint = measured[50].dataset, measured[50].fingerprint
    found = {ipc: result.test.accuracy.mean for ipc, result in measured.items()}
    random = {ipc: value for ipc, value in found.items() if value is not None}
    if len(random) < len(found):
        raise UserError(f"networks on random images of {name} did not end in numbers: no forecast")
    finished = cells(collect(out)[0])
    known_sets = indicator.study_sets() + indicator.own_sets(finished, fingerprint)
    made = [indicator.forecast(random, known_sets, ipc) for ipc in indicator.IPCS]
    stem = out / slug("indicator", name, fingerprint[:8])
    indicator_figure(stem, name, random, made, known_sets)
    for sentence in indicator.sentences(name, made[-1], known_sets, random):
        print(sentence)
    print(indicator.rule(finished, fingerprint, random))
    print(f"figure  {stem}.png, .svg")


def command() -> Command:
    """The command."""
    return Command("Is this set worth distilling?", (IndicatorConfig,), main)
