"""Evaluate any saved distilled set: fresh networks trained on it, scored on a data set's test split.

python -m experiments.evaluate --synthetic=runs/.../synthetic.npz --dataset=phantom
"""

import dataclasses
from pathlib import Path

import numpy as np

from configs.mtt import PRESETS
from experiments.checks import begin_anew
from experiments.display import make_console, make_progress
from experiments.eval_stage import final_scores
from experiments.final_stage import describe, is_finished, phase_seconds
from experiments.flags import PLACES, OthersConfig, RunConfig, Settings, launch, resolve
from experiments.others import guesses, score_others, step_size_for
from experiments.session import Session, differences, hold, in_order, load, open_shared
from medjax import share, store
from medjax.config import option
from medjax.errors import UserError
from medjax.evaluate import TRAINING, EvalConfig, InterimConfig
from medjax.models import ConvNetConfig, ResNetConfig
from medjax.report.run_tables import print_result
from medjax.result import Result


@dataclasses.dataclass(frozen=True)
class SetConfig:
    """Which set, and how its networks are trained."""

    synthetic: str = option("", "path of a synthetic.npz")
    step_size: float = option(
        0.0, "SGD step size; 0: the set's own, or (another network's) chosen on val", low=0
    )


#: What makes a ConvNet another one.
SHAPE = ("width", "depth")
GROUPS = (SetConfig, RunConfig, ConvNetConfig, ResNetConfig, EvalConfig, InterimConfig)
GROUPS += (OthersConfig,)


def main() -> None:
    settings, console = resolve(GROUPS, PRESETS), make_console()
    asked = settings.groups[SetConfig]
    if not asked.synthetic:
        raise UserError("which set? give --synthetic=PATH, the synthetic.npz of a run")
    path = Path(asked.synthetic)
    shared = share.load(path)
    made_of = shared.origin.get("dataset", "other images")
    if settings.origin["dataset"] == "default" and made_of != settings.groups[RunConfig].dataset:
        raise UserError(f"on what data? give --dataset=..., the set was distilled from {made_of}")
    raw = in_order(load(settings, console), shared.class_names)
    settings = as_distilled(settings, shared)
    # A set that was moved is the same set.
    values = {k: v for k, v in settings.values().items() if k not in (*PLACES, "synthetic")}
    values |= {"set": store.digest(shared.synthetic), "data": raw.fingerprint}
    folder = Path(settings.groups[RunConfig].out) / f"evaluate-{store.config_hash(values)}"
    begin_anew(settings, folder)
    if not is_finished(folder, console):
        with hold(folder), make_progress(console) as progress:
            session = open_shared(settings, raw, shared, console, progress)
            evaluate_both(session, folder, shared, asked.step_size)
    result = Result.read(folder)
    print_result(result, {"result": str(folder / "result.json"), "set": str(path)}, console)


def as_distilled(settings: Settings, shared: share.SharedSet) -> Settings:
    """The ConvNet as wide and deep as the one that the set was distilled with, and networks trained as in its run;
    where no flag says otherwise, nor a preset that was asked for."""
    groups, origin = settings
    asked = (
        {"flag", f"preset {groups[RunConfig].preset}"} if origin["preset"] == "flag" else {"flag"}
    )
    for group, names in ((ConvNetConfig, SHAPE), (EvalConfig, TRAINING)):
        kept = {n: shared.origin[n] for n in names if n in shared.origin and origin[n] not in asked}
        values = {n: v == "True" if v in ("True", "False") else int(v) for n, v in kept.items()}
        groups = groups | {group: dataclasses.replace(groups[group], **values)}
        origin = origin | dict.fromkeys(kept, "set")
    return Settings(groups, origin)


def evaluate_both(session: Session, folder: Path, shared: share.SharedSet, rate: float) -> None:
    """Score the float images and the 8-bit ones on the test split; result.json. rate: asked for, or 0."""
    sets, own = {"test": shared.synthetic, "test_uint8": share.as_shared(shared)}, session.run.model
    made_with, origin = shared.origin.get("model", own), "flag"
    mine = session.settings.groups[ConvNetConfig]
    if any(shared.origin.get(n, str(getattr(mine, n))) != str(getattr(mine, n)) for n in SHAPE):
        made_with = "another ConvNet"
    collapsed, warnings = shared.origin.get("collapsed") == "True", differences(session.raw, shared)
    if not rate:
        images = sets["test"]
        rate, origin = step_size_for(session, folder, own, images, made_with, collapsed)
    if collapsed and origin == "val":
        warnings.append(
            f"the set's own step size, {float(shared.synthetic.step_size):.2g}, had collapsed in its run: networks are "
            "trained at one chosen on val"
        )
    test = session.test()
    scores: dict = {"step_size": rate, "step_size_from": origin}
    scores |= {n: final_scores(session, folder, n, s, test, rate) for n, s in sets.items()}
    ipc = int(np.bincount(shared.synthetic.labels).max())
    result = describe(session, shared.origin.get("method", "unknown"), ipc) | scores
    if session.settings.origin["eval_epochs"] == "set":
        result["preset"] = "of the set"
    result["warnings"] = warnings
    if session.others:
        known = {own: scores}
        result["eval_models"] = score_others(session, folder, sets, test, made_with, known)
        warnings += guesses(session, result["eval_models"])
    seconds = phase_seconds(store.read_log(folder / "log.jsonl"), "evaluate")
    store.write_json(folder / "result.json", result | {"seconds": {"evaluate": seconds}})


if __name__ == "__main__":
    launch("Evaluate a saved distilled set.", GROUPS, main)
