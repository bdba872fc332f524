"""The best set that medjax knows to make: which method that is, configs/best.toml says for each data set and IPC."""

import dataclasses
from pathlib import Path
from typing import Any

from medjax import recipes
from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.console import Console
from medjax.cli.flags import OutConfig
from medjax.cli.methods import SeedsConfig, show
from medjax.cli.planning import dry_run
from medjax.config import from_values, option
from medjax.pipeline import presets
from medjax.pipeline.resolve import settings
from medjax.pipeline.run import run_seeds
from medjax.pipeline.settings import IpcConfig, RunConfig


@dataclasses.dataclass(frozen=True)
class BestConfig(RunConfig):
    """The run of the best method."""

    preset: str = option(
        "best", "best alone; other presets are those of a method", choices=("best",)
    )


#: Flags that are no options of a run.
PLACE = ("seeds", "dry_run", "out", "fresh")
GROUPS = (BestConfig, IpcConfig, SeedsConfig, OutConfig)


def method_of(dataset: str, ipc: int) -> str:
    """The name of the recipe whose preset ``best`` is for this data set and IPC."""
    table = presets.read_file("best")
    return presets.chosen(table, "method", Path(dataset).stem, ipc)["recipe"]


def main(words: list[str]) -> None:
    """Run it, and say what it is."""
    asked = flags.given(*GROUPS)
    place: dict[str, Any] = {n: asked.pop(n) for n in PLACE if n in asked}
    named = {field.name for field in dataclasses.fields(BestConfig)}
    run = from_values(BestConfig, {n: v for n, v in asked.items() if n in named})
    ipc = asked.get("ipc", IpcConfig.ipc)
    recipe = recipes.find(method_of(run.dataset, ipc))
    chosen = settings(recipe.name, **{"preset": run.preset} | asked)
    with Console() as console:
        console.say(
            f"best at {ipc} image{'s' * (ipc > 1)} per class: {recipe.title}, as"
            f" `python -m experiments.{recipe.name} --preset=best` does it"
        )
        if recipe.chooses:
            console.say(
                "note: its images are real ones, not to be shared; to distil a set of this size,"
                f" use `python -m experiments.mtt --preset=best --ipc={ipc}`"
            )
        out, seeds = place.get("out", OutConfig.out), place.get("seeds", SeedsConfig.seeds)
        if place.get("dry_run"):
            return dry_run(recipe, chosen, seeds, console)
        how = {"progress": console, "fresh": place.get("fresh", False)}
        for result in run_seeds(recipe, chosen, out, seeds, **how):
            show(result, console)


def command() -> Command:
    """The command."""
    about = (
        "Make the best set known for a data set and IPC: distilled images, or, from 50 per class on, real ones that"
        " are not to be shared."
    )
    return Command(about, GROUPS, main)
