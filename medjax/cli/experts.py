"""Train expert trajectories alone; `experiments.mtt` with the same values finds them."""

from medjax.cli import flags
from medjax.cli.command import Command
from medjax.cli.console import Console
from medjax.cli.flags import OutConfig
from medjax.paths import results_path
from medjax.pipeline import folders, presets
from medjax.pipeline.experts import experts_folder, experts_seconds, train_experts
from medjax.pipeline.forecast import forecast
from medjax.pipeline.planned import planned
from medjax.pipeline.session import check_data, load_data, open_session
from medjax.pipeline.settings import groups_of
from medjax.recipes.mtt import RECIPE, expert_epochs, unchecked_costs

#: All of MTT's flags are taken, so that the same command line names the same experts.
GROUPS = groups_of(RECIPE)


def main(words: list[str]) -> None:
    """Train what is missing; print the folder."""
    settings, place = flags.read_settings(GROUPS, presets.read(RECIPE))
    with Console() as console:
        out = results_path(place.out)
        raw = load_data(settings, console)
        check_data(settings, raw, console)
        settings, setup, _ = planned(settings, raw.size)
        costs = unchecked_costs(setup)
        costs = costs._replace(work={"experts": costs.work["experts"]}, iterations=None)
        forecast(settings, setup, {}, costs, console)
        home = folders.home(out, raw)
        session = open_session(settings, raw, home / "experts", console)
        if place.fresh:
            folders.clear(experts_folder(session))
        epochs = expert_epochs(setup)
        trajectories = train_experts(session, epochs)
        console.say(
            f"{trajectories.experts} experts, epochs 0 to {trajectories.epochs}, trained in "
            f"{experts_seconds(session, epochs):.0f} s:\n{experts_folder(session)}"
        )


def command() -> Command:
    """The command."""
    shown = ("experts", "expert_epochs", "expert_lr", "expert_batch", "expert_sampling")
    shown += ("max_start_epoch", "expert_span")  # how long, where --expert_epochs does not say
    return Command("Train expert trajectories for MTT.", (*GROUPS, OutConfig), main, shown)
