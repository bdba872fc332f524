"""Distil a data set by matching training trajectories: everything that is still missing, in order.

python -m experiments.mtt --dataset=phantom --ipc=1 --preset=quick
"""

from configs.mtt import PRESETS
from experiments import final_stage
from experiments.display import make_console, make_progress
from experiments.distil_stage import distil
from experiments.expert_stage import epochs_needed, experts_seconds, train_experts
from experiments.flags import IpcConfig, RunConfig, launch, resolve
from experiments.forecast import forecast
from experiments.search import start_step_size
from experiments.session import hold, load, open_session, random_start, run_folder
from medjax.augment import augment
from medjax.data.preprocess import PreprocessConfig
from medjax.distill import METHODS
from medjax.distill.mtt import MTTConfig, check, iteration_flops
from medjax.evaluate import EvalConfig, InterimConfig
from medjax.experts import ExpertsConfig
from medjax.models import ConvNetConfig

GROUPS = (
    RunConfig,
    IpcConfig,
    PreprocessConfig,
    ConvNetConfig,
    ExpertsConfig,
    MTTConfig,
    EvalConfig,
    InterimConfig,
)


def main() -> None:
    settings, console = resolve(GROUPS, PRESETS), make_console()
    raw = load(settings, console)
    folder = run_folder(settings, raw, "mtt")
    if (folder / "result.json").exists():
        final_stage.show(folder, console)
        return
    with hold(folder), make_progress(console) as progress:
        session = open_session(settings, raw, console, progress)
        final_stage.write_config(session, folder)
        config, ipc = settings.groups[MTTConfig], session.ipc
        check(config, session.model, epochs_needed(session), ipc * session.classes)
        forecast(session)
        trajectories = train_experts(session)
        parts = {"model": session.model, "augment": augment, "trajectories": trajectories}
        distiller = METHODS["mtt"](config, **parts, ipc=ipc, classes=session.classes)
        flops = iteration_flops(config, session.model, ipc * session.classes)
        prepare = start_step_size(session, folder, distiller, config)
        distil(session, folder, distiller, config.iterations, flops, prepare)
        start = random_start(session)
        spent = {"data": session.seconds, "experts": experts_seconds(session)}
        final_stage.finish(session, folder, "mtt", start, spent)
    final_stage.show(folder, console)


if __name__ == "__main__":
    launch("Matching training trajectories.", GROUPS, main)
