"""Score a saved distilled set: fresh networks trained on it, scored on a data set's test split."""

from pathlib import Path

from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.console import Console
from medjax.cli.flags import OutConfig
from medjax.pipeline import presets
from medjax.pipeline.evaluate_saved import SetConfig, evaluate_saved, evaluation_groups
from medjax.report.run_tables import print_result


def command() -> Command:
    """The command."""
    groups = evaluation_groups()

    def main(words: list[str]) -> None:
        settings, place = flags.read_settings(groups, presets.read_file("evaluate"))
        with Console() as console:
            result = evaluate_saved(settings, place.out, progress=console, fresh=place.fresh)
            paths = {"result": str((result.folder or Path()) / "result.json")}
            paths |= {"set": settings.config(SetConfig).synthetic}
            print_result(result, paths, console.terminal)

    about = "Score a saved distilled set. Networks are as in its run, and train as there, where no flag says otherwise."
    return Command(about, (*groups, OutConfig), main, ("networks", "eval_epochs"))
