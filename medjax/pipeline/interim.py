"""Interim evaluations of a distillation, the sets that may be its result, and the iteration that is chosen."""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from medjax import metrics, store
from medjax.data import preprocess
from medjax.data.archive import read_arrays
from medjax.errors import UserError
from medjax.eval_config import SelectConfig
from medjax.pipeline.score import at_best, interim_scores, read_table
from medjax.pipeline.session import Session
from medjax.score import percent
from medjax.types import Synthetic

#: The score that chooses an iteration on each split; the public codes take the best test accuracy.
CRITERION = {"val": "balanced_accuracy", "last": "balanced_accuracy", "test": "accuracy"}


def evaluate(session: Session, iteration: int, synthetic: Synthetic) -> str:
    """Evaluate the set as it is now, cheaply; keep it if it may be the one in the end. Returns its scores in words."""
    folder, config = session.folder, session.settings.config(SelectConfig)
    select = config.select
    synthetic = jax.tree.map(jnp.array, synthetic)  # the next chunk takes the state's buffers
    there = {name: a for name, a in synthetic._asdict().items() if a is not None}
    store.write_arrays(_candidate(folder, iteration), **there)
    snapshot(session, iteration, synthetic)
    split = "test" if select == "test" else "val"
    begin = time.monotonic()
    real = session.test() if split == "test" else session.val
    name, rate = f"interim-{iteration:08d}", float(synthetic.step_size)
    fresh = iteration if split == "test" else None  # as in the public code
    seen = session.decoded(synthetic)
    interim_scores(session, name, seen, real, [rate * share for share in config.shares], fresh)
    means = {
        name: value["mean"] for name, value in selected_scores(folder, iteration, select).items()
    }
    seconds = time.monotonic() - begin
    log = {"iteration": iteration, "split": split, "wall": seconds, **means}
    rows = [r for r in store.read_log(session.log) if r["phase"] == "interim"]
    logged = [r.get(CRITERION[select]) for r in rows if r["iteration"] == iteration]
    if logged[-1:] != [means[CRITERION[select]]]:  # not yet, or of a set that has changed since
        store.append_log(session.log, phase="interim", **log)
    best = _best(folder, select)
    for old in (folder / "candidates").glob("*.npz"):
        if int(old.stem) not in (best, iteration):
            old.unlink()
    plain, balanced = (percent(means[name]) for name in ("accuracy", "balanced_accuracy"))
    return f"accuracy {plain} %, balanced {balanced} %"


def snapshot(session: Session, iteration: int, synthetic: Synthetic) -> None:
    """The first stored image of each class as 8 bits, as they are shared, for the strip over training."""
    first = np.searchsorted(np.asarray(synthetic.labels), np.arange(session.classes))
    images, factor = np.asarray(synthetic.images)[first], session.train.packing.factor
    shown = preprocess.into_range(session.pre, images, factor)
    shown = preprocess.to_uint8(session.pre, shown)
    store.write_arrays(session.folder / "snapshots" / f"{iteration:08d}.npz", images=shown)


def selected(folder: Path, select: str) -> tuple[int, Synthetic]:
    """The iteration that ``select`` names among the interim evaluations, and its set as it was distilled."""
    best = _best(folder, select)
    kept = read_arrays(_candidate(folder, best))
    return best, Synthetic(**{name: jnp.asarray(array) for name, array in kept.items()})


def selected_step_size(folder: Path, iteration: int, select: str) -> float:
    """The step size at which an iteration scored best in its interim evaluation."""
    return _at_best(folder, iteration, select)[0]


def selected_scores(folder: Path, iteration: int, select: str) -> dict:
    """The scores by which an iteration was selected: {score: {mean, std, n}}."""
    return metrics.summary(_at_best(folder, iteration, select)[1])


def _at_best(folder: Path, iteration: int, select: str) -> tuple[float, list[metrics.Metrics]]:
    table = read_table(folder / "evaluations" / f"interim-{iteration:08d}.json")
    assert table is not None, "an iteration is selected by its scores"
    return at_best(table, CRITERION[select])


def _best(folder: Path, select: str) -> int:
    """The iteration that ``select`` names among the interim evaluations. The first of equals wins."""
    scored = []
    for path in sorted((folder / "evaluations").glob("interim-*.json")):
        if table := read_table(path):
            mean = metrics.summary(at_best(table, CRITERION[select])[1])[CRITERION[select]]["mean"]
            scored.append((int(path.stem.split("-")[1]), np.nan_to_num(mean, nan=-1.0)))
    return scored[-1][0] if select == "last" else max(scored, key=lambda pair: pair[1])[0]


def _candidate(folder: Path, iteration: int) -> Path:
    return folder / "candidates" / f"{iteration:08d}.npz"


def evaluated(config: SelectConfig, end: int) -> range:
    """The iterations before ``end`` that have an interim evaluation."""
    return range(0 if config.select == "test" else config.eval_every, end, config.eval_every)


def lost(folder: Path, config: SelectConfig, first: int) -> Path | None:
    """A file of an iteration before ``first`` that the end of the run needs and that cannot be read any more."""
    done = evaluated(config, first)
    for iteration in done:
        path = folder / "evaluations" / f"interim-{iteration:08d}.json"
        if read_table(path) is None:
            return path
    if done and (best := _best(folder, config.select)) in done:
        try:
            read_arrays(_candidate(folder, best))
        except UserError:
            return _candidate(folder, best)
    return None
