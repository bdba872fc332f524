"""The command of a method: run it, print its table."""

import dataclasses
from pathlib import Path

from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.console import Console
from medjax.cli.flags import OutConfig
from medjax.cli.planning import dry_run
from medjax.config import option
from medjax.pipeline import presets
from medjax.pipeline.run import MOST, run_seeds
from medjax.pipeline.settings import groups_of
from medjax.recipes import Recipe
from medjax.report.run_tables import print_result
from medjax.result import Result


@dataclasses.dataclass(frozen=True)
class SeedsConfig:
    """Several runs at once, or none."""

    seeds: int = option(1, "runs of as many seeds from --seed on, side by side", low=1, high=MOST)
    dry_run: bool = option(False, "say how long it takes, and do nothing")


#: What a run leaves for its user: what it is -> its file; first the folder itself, which `audit` and `share` take.
FILES = {
    "run": "",
    "result": "result.json",
    "set": "synthetic.npz",
    "pictures": "gallery.png",
    "over training": "strip.png",
    "curves": "curves.png",
    "log": "log.jsonl",
}


def command(recipe: Recipe) -> Command:
    """The command of one method."""
    groups = groups_of(recipe)

    def main(words: list[str]) -> None:
        settings, place = flags.read_settings((*groups, SeedsConfig), presets.read(recipe))
        several = settings.groups.pop(SeedsConfig)
        seeds = several.seeds
        with Console() as console:
            if several.dry_run:
                return dry_run(recipe, settings, seeds, console)
            how = {"progress": console, "fresh": place.fresh}
            for result in run_seeds(recipe, settings, place.out, seeds, **how):
                show(result, console)

    return Command(recipe.summary, (*groups, SeedsConfig, OutConfig), main, recipe.shown)


def show(result: Result, console: Console) -> None:
    """Print a finished run's table and where its files lie."""
    folder = result.folder or Path()
    paths = {k: str(folder / v) for k, v in FILES.items() if (folder / v).exists()}
    print_result(result, paths, console.terminal)
