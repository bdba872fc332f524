"""Trains the expert trajectories that are missing; all runs on one data set share them."""

import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from medjax import devices, evaluate, experts, metrics, provenance, store, train
from medjax.data.preprocess import PreprocessConfig
from medjax.errors import UserError
from medjax.models import MODELS
from medjax.models.base import parameter_count
from medjax.pipeline import trajectory_files as files
from medjax.pipeline.folders import changed, hold
from medjax.pipeline.progress import Update
from medjax.pipeline.session import Session
from medjax.pipeline.settings import RunConfig, Settings
from medjax.score import percent
from medjax.types import Trajectories


def experts_folder(session: Session) -> Path:
    """The folder of these experts; experts that differ in anything but their number and length have another."""
    return session.home / experts_name(session.settings)


def experts_name(settings: Settings) -> str:
    """The name of their folder: their network and seed, and a hash of everything else that they depend on beside the
    data."""
    run, named = settings.run, ("experts", "expert_epochs", "expert_seed")
    values = changed(settings.config(experts.ExpertsConfig))
    values = {k: v for k, v in values.items() if k not in named}
    values |= changed(settings.config(MODELS[run.model].config))
    pre = settings.config(PreprocessConfig)
    values |= {"preprocess": pre.whiten, "size": pre.size}
    values |= {"precision": run.precision} if run.precision != RunConfig.precision else {}
    return f"experts-{run.model}-seed{settings.expert_seed}-{store.config_hash(values)}"


def experts_seconds(session: Session, epochs: int) -> float:
    """Time that training these experts to this epoch took, over all runs that had a part in it. More experts, and later
    epochs, may lie in their folder for other runs."""
    groups = -(-session.settings.config(experts.ExpertsConfig).experts // experts.group_size())
    rows = store.read_log(experts_folder(session) / "log.jsonl")
    used = [r for r in rows if (r.get("group") or 0) < groups and (r.get("epoch") or 0) <= epochs]
    return round(sum(row["seconds"] for row in used), 1)


def train_experts(session: Session, epochs: int) -> Trajectories:
    """Train the experts that are still missing, ``epochs`` epochs each; returns a reader of all of them."""
    folder, config = experts_folder(session), session.settings.config(experts.ExpertsConfig)
    parameters = parameter_count(session.model)
    # Another run on the same data may be training them.
    with hold(folder, session.progress, wait=True):
        preprocessing = _preprocessing(session)
        _check_preprocessing(folder, preprocessing)
        about = {"values": session.settings.values(), "preprocess": preprocessing}
        store.write_json(folder / "config.json", about | provenance.environment())
        read = files.cached(folder, epochs, parameters)
        kept = {
            i: files.epochs_stored(folder, i, read, session.note) for i in range(config.experts)
        }
        size = experts.group_size()
        steps = train.steps_per_epoch(_trainer(session), len(session.train.labels))
        total = config.experts * epochs * steps
        done = sum(min(k, epochs) for k in kept.values()) * steps
        if done < total:
            update = session.progress.bar("experts", total, done)
            for group in range(-(-config.experts // size)):
                members = list(range(group * size, (group + 1) * size))
                missing = [i for i in members if kept.get(i, epochs) < epochs]
                if devices.on_cpu():
                    members = missing  # there an expert's numbers do not depend on who is beside it
                if missing:
                    _train_group(session, folder, group, members, missing, epochs, update)
    trajectories = files.reader(folder, config.experts, epochs, read)
    if done < total:
        _say_scores(session, folder, trajectories)
    return trajectories


def _say_scores(session: Session, folder: Path, read: Trajectories) -> None:
    """How well the experts do on val after their last epoch: a set is seldom better than they are."""
    begin, trainer, val = time.monotonic(), _trainer(session), session.val
    size, rows, truth = experts.group_size(), [], np.asarray(val.labels)
    for first in range(0, read.experts, size):  # as many at once as are trained at once
        group = range(first, min(first + size, read.experts))
        last = np.concatenate([read.read(i, np.array([read.epochs])) for i in group])
        rest = experts.row_length(trainer) - last.shape[1]  # the momentum, which nobody needs here
        state = experts.continue_experts(trainer, jnp.asarray(np.pad(last, ((0, 0), (0, rest)))))
        odds = evaluate.predict(trainer.model, state, val.images)
        rows += [metrics.scores(truth, one).balanced_accuracy for one in odds]
    found = np.array(rows)
    mean, least, most = map(percent, (found.mean(), found.min(), found.max()))
    session.progress.say(
        f"experts after epoch {read.epochs}: {mean} % balanced accuracy on val ({least} to {most})"
    )
    row = {"epoch": read.epochs, "balanced_accuracy": found.tolist()}
    row |= {"seconds": time.monotonic() - begin}
    store.append_log(folder / "log.jsonl", phase="experts on val", **row)


def _train_group(
    session: Session,
    folder: Path,
    group: int,
    members: list[int],
    missing: list[int],
    epochs: int,
    update: Update,
) -> None:
    """Train one fixed group and keep its missing experts. Every finished epoch is on disk until the group is whole."""
    parameters, length = parameter_count(session.model), experts.row_length(_trainer(session))
    rows = files.snapshots_to_resume(folder, members, missing, parameters, length, session.note)
    keys = jax.vmap(lambda i: jax.random.fold_in(session.key("experts"), i))(jnp.array(members))
    config, begin = session.settings.config(experts.ExpertsConfig), time.monotonic()
    for item in experts.train_group(
        _trainer(session),
        keys,
        session.train,
        config.expert_lr,
        epochs=epochs,
        resume=(len(rows) - 1, rows[-1]) if rows else None,
    ):
        step = item.epoch * item.steps + (item.step if item.snapshot is None else 0)
        names = f"{missing[0]}" if len(missing) == 1 else f"{missing[0]}-{missing[-1]}"
        loss = "" if math.isnan(item.loss) else f" loss {item.loss:.3f}"  # none before a step
        text = f"expert {names} epoch {item.epoch}/{epochs}{loss}"
        update(missing[0] * epochs * item.steps + step * len(missing), text)
        if item.snapshot is not None:
            rows.append(item.snapshot)
            files.save_epoch(folder, members, item.epoch, item.snapshot)
            now = time.monotonic()
            row = {"group": group, "epoch": item.epoch, "loss": item.loss, "seconds": now - begin}
            store.append_log(folder / "log.jsonl", phase="experts", **row)
            begin = now
    stacked = np.stack(rows)[..., :parameters]
    for index in missing:
        files.save_expert(folder, index, stacked[: epochs + 1, members.index(index)])
    files.remove_epochs(folder, members)


def _trainer(session: Session) -> train.Trainer:
    config = session.settings.config(experts.ExpertsConfig)
    return experts.trainer(config, session.model, session.classes)


def _preprocessing(session: Session) -> dict:
    """What tells one preprocessing from another. Norms, not bits: another machine fits them a rounding apart."""
    pre = session.pre
    norms = {n: float(np.linalg.norm(getattr(pre, n))) for n in ("mean", "forward")}
    return {"whiten": pre.kind, "size": pre.size} | norms


def _check_preprocessing(folder: Path, preprocessing: dict) -> None:
    """UserError if the experts there saw images of another preprocessing."""
    kept = store.read_json(folder / "config.json")
    there = kept.get("preprocess") if isinstance(kept, dict) else None
    there = there if isinstance(there, dict) else preprocessing
    shown = []
    for name, here in preprocessing.items():
        old = there.get(name)
        same = np.isclose(old, here, rtol=1e-3) if isinstance(old, float) else old == here
        shown += [] if same else [f"{name} {old} there, {here} here"]
    if shown:
        raise UserError(
            f"{folder} holds experts trained with other preprocessing ({'; '.join(shown)}): delete that folder, or"
            " choose another --out"
        )
