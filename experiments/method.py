"""What every launcher does around its own work: data, the run's folder, result; and what every distillation does."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments import final_stage
from experiments.checks import check_folder
from experiments.display import make_console, make_progress
from experiments.distil_stage import distil
from experiments.flags import IpcConfig, OthersConfig, Preset, RunConfig, resolve
from experiments.session import Session, hold, load, open_session, random_start, run_folder
from medjax.data.preprocess import PreprocessConfig
from medjax.distill import Distiller
from medjax.distill.average import AverageConfig, averaged, prepared
from medjax.evaluate import EvalConfig, InterimConfig, SelectConfig
from medjax.models import ConvNetConfig, ResNetConfig


def method_groups(*own: type) -> tuple[type, ...]:
    """The flags of a distillation: what all of them have, and those of the method's ``own``."""
    before = (RunConfig, IpcConfig, PreprocessConfig, ConvNetConfig, ResNetConfig)
    after = (AverageConfig, EvalConfig, InterimConfig, SelectConfig, OthersConfig)
    return (*before, *own, *after)


class Plan(NamedTuple):
    """A method made ready for one data set.

    distiller, iterations. flops: of one iteration. prepare: (first state) -> state, or None. seconds: {phase: seconds}
    that its preparation took (training experts).
    """

    distiller: Distiller
    iterations: int
    flops: float
    prepare: Callable[[Any], Any] | None = None
    seconds: Mapping[str, float] = {}


def run_command(
    name: str,
    groups: tuple[type, ...],
    presets: Mapping[str, Preset],
    work: Callable[[Session, Path], None],
) -> None:
    """Everything that is still missing of a run; a finished one prints its table at once. work: (session, the run's
    folder), until result.json is there."""
    settings, console = resolve(groups, presets), make_console()
    raw = load(settings, console)
    folder = run_folder(settings, raw, name)
    check_folder(settings, raw, folder)
    if not final_stage.is_finished(folder, console):
        with hold(folder), make_progress(console) as progress:
            session = open_session(settings, raw, console, progress)
            final_stage.write_config(session, folder)
            work(session, folder)
    final_stage.show(folder, console)


def run_method(
    name: str,
    groups: tuple[type, ...],
    presets: Mapping[str, Preset],
    plan: Callable[[Session, Path], Plan],
) -> None:
    """`run_command` for a distillation: plan, distil, evaluate."""

    def work(session: Session, folder: Path) -> None:
        made, config = plan(session, folder), session.settings.groups[AverageConfig]
        distiller = averaged(config, made.distiller)
        prepare = prepared(config, made.distiller, made.prepare)
        distil(session, folder, distiller, made.iterations, made.flops, prepare)
        spent = {"data": session.seconds, **made.seconds}
        final_stage.finish(session, folder, name, random_start(session), spent)

    run_command(name, groups, presets, work)
