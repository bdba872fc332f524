"""Evaluate any saved distilled set: fresh networks trained on it, scored on a data set's test split.

python -m experiments.evaluate --synthetic=runs/.../synthetic.npz --dataset=phantom
"""

import dataclasses
from pathlib import Path

import numpy as np

from configs.mtt import PRESETS
from experiments.display import make_console, make_progress
from experiments.eval_stage import final_scores
from experiments.final_stage import describe, phase_seconds
from experiments.flags import PLACES, RunConfig, launch, resolve
from experiments.session import Session, hold, load, open_shared
from medjax import checkpoints, runs, share
from medjax.config import option
from medjax.errors import UserError
from medjax.evaluate import EvalConfig
from medjax.models import ConvNetConfig
from medjax.report.table import print_result


@dataclasses.dataclass(frozen=True)
class SetConfig:
    """Which set, and how its networks are trained."""

    synthetic: str = option("", "path of a synthetic.npz")
    step_size: float = option(0.0, "SGD step size; 0: the one the set brings", low=0)


GROUPS = (SetConfig, RunConfig, ConvNetConfig, EvalConfig)


def main() -> None:
    settings, console = resolve(GROUPS, PRESETS), make_console()
    asked = settings.groups[SetConfig]
    if not asked.synthetic:
        raise UserError("which set? give --synthetic=PATH, the synthetic.npz of a run")
    path = Path(asked.synthetic)
    shared, raw = share.load(path), load(settings, console)
    values = {k: v for k, v in settings.values().items() if k not in PLACES}
    values |= {"set": checkpoints.digest(shared.synthetic), "data": raw.fingerprint}
    folder = Path(settings.groups[RunConfig].out) / f"evaluate-{runs.config_hash(values)}"
    if not (folder / "result.json").exists():
        with hold(folder), make_progress(console) as progress:
            session = open_shared(settings, raw, shared, console, progress)
            evaluate_both(session, folder, shared, asked.step_size)
    result = runs.read_json(folder / "result.json")
    print_result(result, {"result": str(folder / "result.json"), "set": str(path)}, console)


def evaluate_both(session: Session, folder: Path, shared: share.SharedSet, rate: float) -> None:
    """Score the float images and the 8-bit ones on the test split; result.json."""
    rate, test = rate or float(shared.synthetic.step_size), session.test()
    sets = {"test": shared.synthetic, "test_uint8": share.as_shared(shared)}
    scores = {n: final_scores(session, folder, n, s, test, rate) for n, s in sets.items()}
    ipc = int(np.bincount(shared.synthetic.labels).max())
    about = describe(session, shared.origin.get("method", "unknown"), ipc) | {"step_size": rate}
    seconds = {"evaluate": phase_seconds(runs.read_log(folder / "log.jsonl"), "evaluate")}
    runs.write_json(folder / "result.json", about | scores | {"seconds": seconds})


if __name__ == "__main__":
    launch("Evaluate a saved distilled set.", GROUPS, main)
