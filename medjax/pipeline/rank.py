"""DD-Ranking's scores of a run (``--ranking``): they need a run of `full`, and two more final evaluations."""

import dataclasses
from typing import Any

import numpy as np

from medjax import share, store
from medjax.data.preprocess import PreprocessConfig
from medjax.errors import UserError
from medjax.eval_config import CUTMIX, EvalConfig
from medjax.models import MODELS, network_config, same_network
from medjax.paths import user_path
from medjax.pipeline.score import final_scores
from medjax.pipeline.session import Session, random_start
from medjax.pipeline.settings import Settings, fields
from medjax.ranking import RankingConfig, ranking
from medjax.report.runs import Run, read_run
from medjax.result import Result
from medjax.score import Scores
from medjax.types import RawDataset, Synthetic


def upper_bound(settings: Settings, raw: RawDataset) -> Run | None:
    """The run of `full` that ``ranking`` names, None where it names none. Raises UserError where it is no finished one
    on the same data with the same network."""
    given = settings.config(RankingConfig).ranking
    if not given:
        return None
    if settings.values().get("labels") == "soft":
        raise UserError("--ranking compares hard labels: leave out --labels=soft, or --ranking")
    if settings.config(EvalConfig).eval_recipe == CUTMIX:
        raise UserError(
            "--ranking compares the study's recipe: leave out --eval_recipe, or --ranking"
        )
    try:
        found = read_run(user_path(given))
        reason = _unfit(found, settings, raw)
    except (UserError, OSError) as error:
        reason = str(error)
    if reason:
        raise UserError(
            f"--ranking={given}: {reason}: give the folder of a finished run of `full` on the same data with the same"
            " network"
        )
    return found


def _unfit(found: Run, settings: Settings, raw: RawDataset) -> str:
    """Why a run is no upper bound of this one, "" where it is."""
    result, run = found.result, settings.run
    if result.method != "full":
        return f"it is a run of {result.method}"
    if result.fingerprint != raw.fingerprint:
        return (
            f"its data are {result.dataset} with fingerprint {result.fingerprint}, here they are {raw.name} with"
            f" {raw.fingerprint}"
        )
    if result.model != run.model:
        return f"its network is {result.model}, here it is {run.model}"
    for name in ("size", "whiten"):
        there, here = found.values.get(name), getattr(settings.config(PreprocessConfig), name)
        if there and there != here:
            return f"its images have --{name}={there}, here they have --{name}={here}"
    here = settings.config(MODELS[run.model].config)
    names = [field.name for field in fields(type(here))]
    there = network_config(run.model, {k: v for k, v in found.values.items() if k in names})
    # A result that was copied away from its config.json does not say.
    if found.config and not same_network((run.model, there), (run.model, here)):
        differing = [n for n in names if getattr(there, n) != getattr(here, n)]
        shown = [f"--{n}={getattr(there, n)} there, {getattr(here, n)} here" for n in differing]
        return f"its network is another {run.model} ({'; '.join(shown)})"
    return "" if result.test.accuracy.mean is not None else "its networks did not end in numbers"


def lacks(result: Result, bound: Run | None) -> bool:
    """Whether a result has not the scores that were asked for."""
    if bound is None:
        return False
    known = result.ranking
    return known is None or (known.full, known.real) != _facts(bound)


def ranked(session: Session, result: Result, bound: Run) -> Result:
    """The result with its ``ranking``, written. The set and its start are evaluated once more each, with augmentation
    where the run's networks train without, and without where they train with it."""
    config = session.settings.config(EvalConfig)
    switched = dataclasses.replace(config, eval_augment=not config.eval_augment)
    groups = session.settings.groups | {EvalConfig: switched}
    other = session._replace(settings=session.settings._replace(groups=groups))
    stored, test = share.load_set(session.folder / "synthetic.npz").synthetic, session.test()
    assert result.start and result.start_step_size is not None
    kind = "augmented" if switched.eval_augment else "plain"

    def both(row: str, own: Scores, images: Synthetic, rate: float) -> tuple[Any, Any]:
        scores = final_scores(other, f"{row}-{kind}", images, test, rate)
        mean = scores["accuracy"]["mean"]
        return own.accuracy.mean, mean if np.isfinite(mean) else None

    made = both("test", result.test, session.decoded(stored), float(stored.step_size))
    start = both("start", result.start, random_start(session), result.start_step_size)
    full, real = _facts(bound)
    spent = store.phase_seconds(store.read_log(session.log), "evaluate")
    return dataclasses.replace(
        result,
        ranking=ranking(real, full, made, start, config.eval_augment),
        seconds={**result.seconds, "evaluate": spent},
    ).write(session.folder / "result.json")


def _facts(bound: Run) -> tuple[str, float]:
    """What a ranking keeps of the run of `full`: its folder's name, and its accuracy."""
    real = bound.result.test.accuracy.mean
    assert real is not None, "`upper_bound` refuses others"
    return bound.path.absolute().parent.name, real
