"""The distillation of a run: iterations in chunks, each saved; interim evaluations; the iteration that is kept."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medjax import cost, evaluate, metrics, store
from medjax.data import preprocess
from medjax.data.archive import read_arrays
from medjax.distill import Distiller, run
from medjax.distill.average import AverageConfig, averaged, prepared
from medjax.errors import UserError
from medjax.pipeline.score import interim_scores, read_table
from medjax.pipeline.session import Session
from medjax.recipes import Costs, Recipe, Setup
from medjax.types import Synthetic

#: The score that chooses an iteration on each split; the public codes take the best test accuracy.
CRITERION = {"val": "balanced_accuracy", "last": "balanced_accuracy", "test": "accuracy"}


def distil(session: Session, recipe: Recipe, setup: Setup, costs: Costs) -> None:
    """Run a distillation to its end, or go on with it, with interim evaluations every ``eval_every`` iterations; where
    the test split chooses, of the start too, as in the public code.

    Leaves log rows, the last states in checkpoints/ and the candidate sets in candidates/.
    """
    assert recipe.build and costs.iterations is not None
    average, inner = session.settings.config(AverageConfig), recipe.build(setup)
    distiller, iterations = averaged(average, inner), costs.iterations
    config = session.settings.config(evaluate.SelectConfig)
    every = config.eval_every
    chunk = cost.divisor(every, cost.work_per_call() / costs.iteration)
    fresh = jax.jit(distiller.init)(session.key("init"), session.train)
    checkpoints = session.folder / "checkpoints"
    found = store.load_latest(checkpoints, fresh, session.note)
    if found and (gone := _lost(session.folder, config, found[0])):
        session.note(f"{gone} is missing or damaged; the distillation is done again to get it back")
        found = None
    if found is None:
        begun = prepared(average, inner, _preparation(session, recipe, setup, inner))
        found = 0, begun(fresh) if begun else fresh
        _snapshot(session, 0, distiller.extract(found[1]))
        store.save_step(checkpoints, *found)
    # Put the state where a step leaves it, or the second device call is compiled again.
    first, held = (
        found[0],
        jax.tree.map(lambda a, b: jax.device_put(a, b.sharding), found[1], fresh),
    )
    rows = [r for r in store.read_log(session.log) if r["phase"] == "distill"]
    skipped = max((r.get("skipped") or 0 for r in rows if r["iteration"] <= first), default=0)
    if rows and first < iterations:
        session.resumed("distillation", first, iterations, max(r["iteration"] for r in rows))
    accuracy = ""
    if first in _evaluated(config, first + 1) or (first and first == iterations):
        accuracy = _interim(session, first, distiller.extract(held))
    update = session.progress.bar("distil", iterations, first)
    begin = time.monotonic()
    for done, state, infos in run(
        distiller,
        session.key("distil"),
        session.train,
        held,
        first=first,
        iterations=iterations,
        chunk=chunk,
    ):
        seconds = (time.monotonic() - begin) / (done - first)
        for i, number in enumerate(range(first + 1, done + 1)):
            row = {name: value[i].item() for name, value in infos._asdict().items()}
            skipped += row.pop("skipped")
            row |= {"skipped": skipped, "seconds": seconds}
            store.append_log(session.log, phase="distill", iteration=number, **row)
        store.save_step(checkpoints, done, state)
        if done % every == 0 or done == iterations:
            accuracy = _interim(session, done, distiller.extract(state))
        text = f"loss {float(np.mean(infos.loss)):.4f} "
        if "step_size" in infos._fields:
            text += f"step size {float(infos.step_size[-1]):.2e} "
        update(done, text + accuracy)
        first, begin = done, time.monotonic()


def _preparation(
    session: Session, recipe: Recipe, setup: Setup, inner: Distiller
) -> Callable[[Any], Any] | None:
    """The recipe's `prepare` as a map of the first state; what it found goes to the log."""
    search = recipe.prepare
    if search is None:
        return None

    def prepare(state: Any) -> Any:
        made = search(setup, inner, session.key("search"), state)
        if made is None:
            return state
        store.append_log(session.log, phase="search", **made[1])
        session.progress.say(f"step size starts at {made[1]['step_size']:.2g}")
        return made[0]

    return prepare


def _interim(session: Session, iteration: int, synthetic: Synthetic) -> str:
    """Evaluate the set as it is now, cheaply; keep it if it may be the one in the end. Returns words for the bar."""
    folder, select = session.folder, session.settings.config(evaluate.SelectConfig).select
    synthetic = jax.tree.map(jnp.array, synthetic)  # the next chunk takes the state's buffers
    store.write_arrays(_candidate(folder, iteration), **synthetic._asdict())
    _snapshot(session, iteration, synthetic)
    split = "test" if select == "test" else "val"
    begin = time.monotonic()
    real = session.test() if split == "test" else session.val
    name, rate = f"interim-{iteration:08d}", float(synthetic.step_size)
    fresh = iteration if split == "test" else None  # as in the public code
    (row,) = interim_scores(session, name, synthetic, real, (rate,), fresh)
    means = {name: value["mean"] for name, value in metrics.summary(row).items()}
    seconds = time.monotonic() - begin
    log = {"iteration": iteration, "split": split, "wall": seconds, **means}
    rows = store.read_log(session.log)
    if not any(r["phase"] == "interim" and r["iteration"] == iteration for r in rows):
        store.append_log(session.log, phase="interim", **log)
    best = _best(folder, select)
    for old in (folder / "candidates").glob("*.npz"):
        if int(old.stem) not in (best, iteration):
            old.unlink()
    return f"{split} accuracy {100 * means['accuracy']:.1f} %"


def _snapshot(session: Session, iteration: int, synthetic: Synthetic) -> None:
    """The first image of each class as 8 bits, as they are shared, for the strip over training."""
    first = np.searchsorted(np.asarray(synthetic.labels), np.arange(session.classes))
    shown = preprocess.into_range(session.pre, np.asarray(synthetic.images)[first])
    shown = preprocess.to_uint8(session.pre, shown)
    store.write_arrays(session.folder / "snapshots" / f"{iteration:08d}.npz", images=shown)


def selected(folder: Path, select: str) -> tuple[int, Synthetic]:
    """The iteration that ``select`` names among the interim evaluations, and its set."""
    best = _best(folder, select)
    kept = read_arrays(_candidate(folder, best), Synthetic._fields)
    return best, Synthetic(*(jnp.asarray(kept[name]) for name in Synthetic._fields))


def selected_scores(folder: Path, iteration: int) -> dict:
    """The scores by which an iteration was selected: {score: {mean, std, n}}."""
    table = read_table(folder / "evaluations" / f"interim-{iteration:08d}.json")
    assert table is not None, "an iteration is selected by its scores"
    return metrics.summary(table["scores"])


def _best(folder: Path, select: str) -> int:
    """The iteration that ``select`` names among the interim evaluations. The first of equals wins."""
    scored = []
    for path in sorted((folder / "evaluations").glob("interim-*.json")):
        if table := read_table(path):
            mean = metrics.summary(table["scores"])[CRITERION[select]]["mean"]
            scored.append((int(path.stem.split("-")[1]), np.nan_to_num(mean, nan=-1.0)))
    return scored[-1][0] if select == "last" else max(scored, key=lambda pair: pair[1])[0]


def _candidate(folder: Path, iteration: int) -> Path:
    return folder / "candidates" / f"{iteration:08d}.npz"


def _evaluated(config: evaluate.SelectConfig, end: int) -> range:
    """The iterations before ``end`` that have an interim evaluation."""
    return range(0 if config.select == "test" else config.eval_every, end, config.eval_every)


def _lost(folder: Path, config: evaluate.SelectConfig, first: int) -> Path | None:
    """A file of an iteration before ``first`` that the end of the run needs and that cannot be read any more."""
    done = _evaluated(config, first)
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
