"""Train expert trajectories alone; `experiments.mtt` with the same values finds them.

python -m experiments.experts --dataset=phantom --preset=quick
"""

from configs.mtt import PRESETS
from experiments.checks import begin_anew
from experiments.display import make_console, make_progress
from experiments.expert_stage import experts_folder, experts_seconds, train_experts
from experiments.flags import RunConfig, launch, names_of, resolve
from experiments.forecast import forecast
from experiments.mtt import GROUPS, costs
from experiments.session import load, open_session
from medjax.data.preprocess import PreprocessConfig
from medjax.experts import ExpertsConfig
from medjax.models import ConvNetConfig, ResNetConfig

#: All of `experiments.mtt`'s words are taken, so that the same ones name the same experts.
SHOWN = names_of(RunConfig, PreprocessConfig, ConvNetConfig, ResNetConfig, ExpertsConfig)
SHOWN |= {
    "expert_span",
    "max_start_epoch",
}  # how long experts train, where --expert_epochs does not say


def main() -> None:
    settings, console = resolve(GROUPS, PRESETS), make_console()
    raw = load(settings, console)
    with make_progress(console) as progress:
        session = open_session(settings, raw, console, progress)
        begin_anew(settings, experts_folder(session))
        whole = costs(session)
        forecast(session, whole._replace(work={"experts": whole.work["experts"]}, iterations=None))
        trajectories = train_experts(session)
    console.print(
        f"{trajectories.experts} experts, epochs 0 to {trajectories.epochs}, trained in "
        f"{experts_seconds(session):.0f} s:\n{experts_folder(session)}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    launch("Train expert trajectories for MTT.", GROUPS, main, SHOWN)
