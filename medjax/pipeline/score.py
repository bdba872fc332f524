"""Evaluations that survive a kill: the networks in training are checkpointed, finished scores are kept."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from medjax import evaluate, metrics, store, train
from medjax.augment import augment
from medjax.eval_config import GRID, EvalConfig, InterimConfig
from medjax.pipeline.session import Session
from medjax.types import Dataset, Synthetic


def interim_scores(
    session: Session,
    name: str,
    made: Synthetic,
    real: Dataset,
    step_sizes: Sequence[float],
    fresh: int | None = None,
) -> list[list[metrics.Metrics]]:
    """The cheap evaluation: scores [step size][network] on ``real`` of networks trained on ``made``.

    fresh: a number that draws networks of its own; None: the same networks every time, so that sets are compared in
    pairs.
    """
    config, key = session.settings.config(InterimConfig), session.key("interim")
    if fresh is not None:
        key = jax.random.fold_in(key, fresh)
    counts = config.interim_networks, config.interim_epochs, config.interim_steps
    return _evaluate(session, name, made, real, key, *counts, step_sizes)


def final_scores(session: Session, name: str, made: Synthetic, test: Dataset, rate: float) -> dict:
    """The final evaluation of one set of images on the test split: {score: {mean, std, n}}."""
    config = session.settings.config(EvalConfig)
    counts = config.networks, config.eval_epochs, config.eval_steps
    (row,) = _evaluate(session, name, made, test, session.key("final"), *counts, (rate,))
    return metrics.summary(row)


def final_row(
    session: Session,
    sets: Mapping[str, Synthetic],
    row: str,
    known: Mapping[str, Any],
    test: Dataset,
    rate: float,
    before: str = "",
) -> dict:
    """`final_scores` of a row of the result. A set that is its 8-bit images is the same object in "test" and
    "test_uint8", and its scores are ``known``. before: of the name of the evaluation."""
    if row == "test_uint8" and sets[row] is sets["test"]:
        return known["test"]
    return final_scores(session, before + row.replace("_", "-"), sets[row], test, rate)


def choose_step_size(session: Session, name: str, made: Synthetic) -> float:
    """The step size of `GRID` whose networks score best on val (balanced accuracy); of equals the middle one."""
    table = interim_scores(session, name, made, session.val, GRID)
    means = [metrics.summary(row)["balanced_accuracy"]["mean"] for row in table]
    return GRID[_middle_of_best(means)]


def _middle_of_best(means: Sequence[float]) -> int:
    """Which of these is the largest; of equals the middle one, and of two middle ones the later. A small val gives many
    equal scores, and the ends of the grid are the riskiest of them: the first may leave networks untrained."""
    known = np.nan_to_num(means, nan=-1.0)
    best = np.flatnonzero(known == known.max())
    return int(best[len(best) // 2])


def _evaluate(
    session: Session,
    name: str,
    made: Synthetic,
    real: Dataset,
    key: Array,
    networks: int,
    epochs: int,
    steps: int,
    step_sizes: Sequence[float],
) -> list[list[metrics.Metrics]]:
    """Scores [step size][network]; read back where they exist."""
    config = session.settings.config(EvalConfig)
    trainer = evaluate.trainer(config, session.model, session.classes, augment, steps)
    people = evaluate.population(config, key, networks, epochs, jnp.asarray(step_sizes))
    about = {"step_sizes": step_sizes, "set": store.digest(made.training)}
    scores = train_and_score(session, name, made.training, real, trainer, people, about)
    return [scores[i : i + networks] for i in range(0, len(scores), networks)]


def train_and_score(
    session: Session,
    name: str,
    data: Dataset,
    real: Dataset,
    trainer: train.Trainer,
    people: evaluate.Population,
    about: dict,
    val: Dataset | None = None,
) -> list[metrics.Metrics]:
    """Scores on ``real`` of every network of a population trained on ``data``; read back where they exist.

    about: what evaluations/NAME.json says beside the scores. val: images that choose the epoch of each network, by AUC;
    None: the last epoch.
    """
    work, path = (session.folder / "evaluations" / n for n in (name, f"{name}.json"))
    scores = _known(session, path, about, len(people.keys))
    if scores is None:
        begin = time.monotonic()
        fresh = evaluate.start_networks(trainer, people)
        begun: Any = fresh if val is None else (fresh, evaluate.none_yet(fresh))
        _belongs(session, work, about)
        first, held = store.load_latest(work, begun, session.note) or (0, begun)
        state, best = held if val is not None else (held, None)
        total = people.rates.shape[1]
        if first:
            rows = store.read_log(session.log)
            logged = [r.get("epoch") or 0 for r in rows if r.get("name") == name]
            session.resumed(f"evaluation {name}", first, total, max(logged, default=0))
        update = session.progress.bar(f"evaluate {name}", total, first)
        calls = evaluate.train_networks(trainer, people, data, state, first, val is not None)
        for done, state in calls:
            if val is not None and best is not None:
                best = evaluate.best_of(trainer.model, best, state, val)
            now = time.monotonic()
            row = {"name": name, "epoch": done, "seconds": now - begin}
            store.append_log(session.log, phase="evaluate", **row)
            begin = now
            if done < total:
                store.save_step(work, done, state if best is None else (state, best))
            update(done, f"{len(people.keys)} networks, loss {float(np.mean(state.loss)):.3f}")
        judged = best or state
        found, truth = evaluate.predict(trainer.model, judged, real.images), np.asarray(real.labels)
        scores = [metrics.scores(truth, p) for p in found]
        confusion = [
            metrics.confusion(truth, np.nan_to_num(p).argmax(1), p.shape[1]) for p in found
        ]
        about = about | {"networks": len(people.keys), "scores": scores}
        store.write_json(path, about | {"confusion": confusion})
        seconds = time.monotonic() - begin
        store.append_log(session.log, phase="evaluate", name=name, seconds=seconds)
    # Here, for a kill may have come between the scores and this.
    shutil.rmtree(work, ignore_errors=True)
    return scores


def _belongs(session: Session, work: Path, about: Mapping[str, Any]) -> None:
    """Mark the saves of networks in training as those of this evaluation. Saves of another with the same name, as
    another version of the program may have left them, are deleted, and the run says so."""
    mark, own = work / "of.json", {"evaluation": store.config_hash(dict(about))}
    if work.exists() and (store.read_json(mark) or own) != own:
        session.note(f"{work} is of another set or other step sizes; this evaluation begins anew")
        shutil.rmtree(work)
    store.write_json(mark, own)


def _known(
    session: Session, path: Path, about: Mapping[str, Any], networks: int
) -> list[metrics.Metrics] | None:
    """The scores of a finished evaluation. None where there is none, and where it cannot be read or is of another set
    or other step sizes, as another version of the program may have left it: then the run says so."""
    table = read_table(path)
    if table is None:
        if path.exists():
            session.note(f"{path} cannot be read; this evaluation is done again")
        return None
    same = np.array_equal(table["step_sizes"], about.get("step_sizes", ()), equal_nan=True)
    if same and table["set"] == about.get("set") and len(table["scores"]) == networks:
        return table["scores"]
    session.note(f"{path} is of another set or other step sizes; this evaluation is done again")
    return None


def confused(folder: Path, name: str) -> list[list[int]]:
    """Counts [true class][predicted class] over all networks of a finished evaluation; [] where none were made."""
    table = read_table(folder / "evaluations" / f"{name}.json")
    return table["confusion"].sum(axis=0).tolist() if table and "confusion" in table else []


def at_best(table: dict[str, Any], score: str) -> tuple[float, list[metrics.Metrics]]:
    """Of a finished evaluation at several step sizes the one with the best mean, and its scores. The first of equals
    wins."""
    rows, sizes = table["scores"], table["step_sizes"] or [float("nan")]
    each = len(rows) // len(sizes)
    groups = [rows[i : i + each] for i in range(0, each * len(sizes), each)]
    means = [np.nan_to_num(metrics.summary(group)[score]["mean"], nan=-1.0) for group in groups]
    best = int(np.argmax(means))
    return sizes[best], groups[best]


def read_table(path: Path) -> dict[str, Any] | None:
    """A finished evaluation: ``scores``, one `Metrics` a network; its ``step_sizes``, with as many networks each; the
    digest of its ``set`` (None where networks train on training images by their rows); and ``confusion`` [network,
    true, predicted] where it was counted. None where there is no such file, or one that cannot be read."""
    found = store.read_json(path)
    try:
        # JSON has no NaN: null stands for it.
        rows = np.array(found["scores"], float).reshape(-1, len(metrics.Metrics._fields))
        table: dict[str, Any] = {"scores": [metrics.Metrics(*row) for row in rows.tolist()]}
        table["set"] = found.get("set")
        table["step_sizes"] = np.array(found.get("step_sizes", ()), float).reshape(-1).tolist()
        if "confusion" in found:
            counts = np.array(found["confusion"], np.int64)
            table["confusion"] = counts.reshape(len(rows), *counts.shape[-1:] * 2)
    except (TypeError, KeyError, ValueError, IndexError, OverflowError):
        return None
    whole = len(rows) > 0 and len(rows) % max(1, len(table["step_sizes"])) == 0
    return table if whole else None
