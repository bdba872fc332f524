"""Trains expert trajectories and keeps them: one checkpoint an expert, shared by all runs on one data set."""

import functools
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from medjax import experts, memory, provenance, store, train
from medjax.augment import augment
from medjax.errors import UserError
from medjax.models import MODELS
from medjax.models.base import parameter_count
from medjax.pipeline.folders import changed, hold
from medjax.pipeline.progress import Update
from medjax.pipeline.session import Session
from medjax.types import Trajectories


def experts_folder(session: Session) -> Path:
    """The folder of these experts; experts that differ in anything but their number and length have another."""
    run = session.settings.run
    values = changed(session.settings.config(experts.ExpertsConfig))
    values = {k: v for k, v in values.items() if k not in ("experts", "expert_epochs")}
    values |= changed(session.settings.config(MODELS[run.model].config))
    values |= {"preprocess": session.pre.kind, "size": session.pre.size}
    return session.home / f"experts-{run.model}-seed{run.seed}-{store.config_hash(values)}"


def train_experts(session: Session, epochs: int) -> Trajectories:
    """Train the experts that are still missing, ``epochs`` epochs each; returns a reader of all of them."""
    folder, config = experts_folder(session), session.settings.config(experts.ExpertsConfig)
    with hold(folder):
        maps = _maps(session)
        _check_maps(folder, maps)
        config_json = {"values": session.settings.values(), "preprocess": maps}
        config_json |= provenance.environment()
        store.write_json(folder / "config.json", config_json)
        kept = {i: _stored(folder, i, session) for i in range(config.experts)}
        size = experts.group_size()
        steps = train.steps_per_epoch(_trainer(session), len(session.train.labels))
        total = config.experts * epochs * steps
        done = sum(min(k, epochs) for k in kept.values()) * steps
        if done < total:
            update = session.progress.bar("experts", total, done)
            for group in range(-(-config.experts // size)):
                members = list(range(group * size, (group + 1) * size))
                missing = [i for i in members if kept.get(i, epochs) < epochs]
                if jax.default_backend() == "cpu":
                    members = missing  # there an expert's numbers do not depend on who is beside it
                if missing:
                    _train_group(session, folder, group, members, missing, epochs, update)
    return reader(folder, config.experts, epochs, parameter_count(session.model))


def _maps(session: Session) -> dict:
    """What tells one preprocessing from another. Norms, not bits: another machine fits them a rounding apart."""
    pre = session.pre
    norms = {n: float(np.linalg.norm(getattr(pre, n))) for n in ("mean", "forward")}
    return {"whiten": pre.kind, "size": pre.size} | norms


def _check_maps(folder: Path, maps: dict) -> None:
    """UserError if the experts there saw images of another preprocessing."""
    kept = store.read_json(folder / "config.json")
    there = kept.get("preprocess") if isinstance(kept, dict) else None
    there = there if isinstance(there, dict) else maps
    shown = []
    for name, here in maps.items():
        old = there.get(name)
        same = np.isclose(old, here, rtol=1e-3) if isinstance(old, float) else old == here
        shown += [] if same else [f"{name} {old} there, {here} here"]
    if shown:
        raise UserError(
            f"{folder} holds experts trained with other preprocessing ({'; '.join(shown)}): delete that folder, or"
            " choose another --out"
        )


def reader(folder: Path, count: int, epochs: int, parameters: int) -> Trajectories:
    """Trajectories from a folder; whole experts are cached in at most half of the memory."""
    longest = max(
        (_length(path) for path in folder.glob("expert-*-e" + "[0-9]" * 4)), default=epochs + 1
    )
    room = max(1, int(memory.total() / 2 / (longest * parameters * 4)))

    @functools.lru_cache(maxsize=room)
    def expert(index: int) -> np.ndarray:
        path = _newest(folder, index)
        if path is None:
            raise store.Damaged(f"expert {index} is missing from {folder}")
        return _read(path, parameters)

    return Trajectories(lambda index, rows: expert(index)[rows], count, epochs)


def experts_seconds(session: Session) -> float:
    """Time that training these experts took, over all commands that had a part in it."""
    rows = store.read_log(experts_folder(session) / "log.jsonl")
    return round(sum(row["seconds"] for row in rows), 1)


def _trainer(session: Session) -> train.Trainer:
    config = session.settings.config(experts.ExpertsConfig)
    return experts.trainer(config, session.model, session.classes, augment)


def _newest(folder: Path, index: int) -> Path | None:
    """The longest trajectory of an expert: expert-0003-e008 holds epochs 0 to 8."""
    return max(folder.glob(f"expert-{index:04d}-e" + "[0-9]" * 4), default=None)


def _length(path: Path) -> int:
    """Snapshots of a trajectory, by its name."""
    return int(path.name[-4:]) + 1


def _read(path: Path, parameters: int) -> np.ndarray:
    return store.load_tree(path, np.empty((_length(path), parameters), np.float32))


def _stored(folder: Path, index: int, session: Session) -> int:
    """Epochs an expert on disk reaches, 0 if there is none. A damaged one is said aloud and trained again."""
    path = _newest(folder, index)
    if path is None:
        return 0
    try:
        return len(_read(path, parameter_count(session.model))) - 1
    except store.Damaged as error:
        session.note(f"{error}; this expert is trained again")
        shutil.rmtree(path)
        return 0


def _train_group(session, folder, group, members, missing, epochs, update) -> None:
    """Train one fixed group and keep its missing experts. Every finished epoch is on disk until the group is whole."""
    count = parameter_count(session.model)
    partial = folder / ("group-" + "-".join(f"{i:04d}" for i in members))
    rows = _rows(folder, members, missing, count, session.note)
    keys = jax.vmap(lambda i: jax.random.fold_in(session.key("experts"), i))(jnp.array(members))
    config, begin = session.settings.config(experts.ExpertsConfig), time.monotonic()
    position = update_base = None
    for item in experts.train_group(
        _trainer(session),
        keys,
        session.train,
        config.expert_lr,
        epochs=epochs,
        resume=(len(rows) - 1, rows[-1]) if rows else None,
    ):
        place = (item.epoch * item.steps) + (item.step if item.snapshot is None else 0)
        if position is None:
            update_base = missing[0] * epochs * item.steps
        position = update_base + place * len(missing)
        names = f"{missing[0]}" if len(missing) == 1 else f"{missing[0]}-{missing[-1]}"
        loss = "" if math.isnan(item.loss) else f" loss {item.loss:.3f}"  # none before a step
        update(position, f"expert {names} epoch {item.epoch}/{epochs}{loss}")
        if item.snapshot is not None:
            rows.append(item.snapshot)
            store.save_tree(partial / f"{item.epoch:08d}", item.snapshot)
            now = time.monotonic()
            row = {"group": group, "epoch": item.epoch, "loss": item.loss, "seconds": now - begin}
            store.append_log(folder / "log.jsonl", phase="experts", **row)
            begin = now
    stacked = np.stack(rows)
    for index in missing:
        old = _newest(folder, index)
        path = folder / f"expert-{index:04d}-e{epochs:04d}"
        store.save_tree(path, stacked[: epochs + 1, members.index(index)])
        if old is not None and old != path:
            shutil.rmtree(old)
    for path, others in _partials(folder):
        if set(others) <= set(members):
            shutil.rmtree(path, ignore_errors=True)


def _partials(folder: Path) -> list[tuple[Path, list[int]]]:
    """What killed runs left of unfinished groups: folders of epochs, each with the experts whose snapshots it holds."""
    found = sorted(folder.glob("group-*"))
    return [(path, [int(i) for i in path.name.split("-")[1:]]) for path in found]


def _rows(folder, members, missing, parameters, tell) -> list[np.ndarray]:
    """Snapshots [g, p] that a group can go on from: shorter trajectories of its members, then a killed run's epochs."""
    rows: list[np.ndarray] = []
    shorter = [_newest(folder, i) for i in missing]
    if all(shorter):
        loaded = [_read(path, parameters) for path in shorter]
        # The other members of the group only fill their place in the vmap.
        lanes = [loaded[missing.index(i)] if i in missing else loaded[0] for i in members]
        rows = list(np.stack([lane[: min(map(len, loaded))] for lane in lanes], axis=1))
    # Not only of this very group: a run that was killed while it stored its experts has some of them less to train now,
    # and another machine may group them otherwise.
    partials = [(path, there) for path, there in _partials(folder) if set(members) <= set(there)]
    while (row := _row(partials, len(rows), members, parameters, tell)) is not None:
        rows.append(row)
    return rows


def _row(partials, epoch: int, members: list[int], parameters: int, tell) -> np.ndarray | None:
    """The members' snapshots [g, p] after an epoch, from the first folder that has them whole."""
    for folder, there in partials:
        if (path := folder / f"{epoch:08d}").is_dir():
            try:
                kept = store.load_tree(path, np.empty((len(there), parameters), np.float32))
                return kept[[there.index(i) for i in members]]
            except store.Damaged as error:
                tell(f"{error}; the experts go on from the epoch before it")
    return None
