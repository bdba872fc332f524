"""The stage that trains expert trajectories and keeps them: one checkpoint an expert, shared by all runs."""

import dataclasses
import functools
import os
import shutil
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.display import track
from experiments.session import Session, hold
from medjax import checkpoints, experts, runs, train
from medjax.augment import augment
from medjax.distill.mtt import MTTConfig
from medjax.errors import UserError
from medjax.models import ConvNetConfig
from medjax.models.base import parameter_count
from medjax.types import Trajectories


def epochs_needed(session: Session) -> int:
    """As far as distillation may read: starts below T+, targets M epochs later; or what was asked for."""
    asked = session.settings.groups[experts.ExpertsConfig].expert_epochs
    mtt = session.settings.groups[MTTConfig]
    return asked or mtt.max_start_epoch - 1 + mtt.expert_span


def experts_folder(session: Session) -> Path:
    """Experts that differ in anything but their number and length live in different folders."""
    config = dataclasses.asdict(session.settings.groups[experts.ExpertsConfig])
    values = {k: v for k, v in config.items() if k not in ("experts", "expert_epochs")}
    values |= dataclasses.asdict(session.settings.groups[ConvNetConfig])
    values |= {"preprocess": session.pre.kind, "size": session.pre.size}
    name = f"experts-{session.run.model}-seed{session.run.seed}-{runs.config_hash(values)}"
    return session.home / name


def train_experts(session: Session) -> Trajectories:
    """Train the experts that are still missing; all of them as a reader."""
    folder, epochs = experts_folder(session), epochs_needed(session)
    config = session.settings.groups[experts.ExpertsConfig]
    with hold(folder):
        maps = _maps(session)
        _check_maps(folder, maps)
        config_json = {"values": session.settings.values(), "preprocess": maps}
        config_json |= runs.environment()
        runs.write_json(folder / "config.json", config_json)
        kept = {i: _stored(folder, i, session) for i in range(config.experts)}
        size = experts.group_size()
        steps = train.steps_per_epoch(_trainer(session), len(session.train.labels))
        total = config.experts * epochs * steps
        done = sum(min(k, epochs) for k in kept.values()) * steps
        if done < total:
            update = track(session.progress, "experts", total, done)
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
    kept = runs.read_json(folder / "config.json")
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
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    room = max(1, int(memory / 2 / ((epochs + 1) * parameters * 4)))

    @functools.lru_cache(maxsize=room)
    def expert(index: int) -> np.ndarray:
        path = _newest(folder, index)
        if path is None:
            raise checkpoints.Damaged(f"expert {index} is missing from {folder}")
        return _read(path, parameters)

    return Trajectories(lambda index, rows: expert(index)[rows], count, epochs)


def experts_seconds(session: Session) -> float:
    """Time that training these experts took, over all commands that had a part in it."""
    rows = runs.read_log(experts_folder(session) / "log.jsonl")
    return round(sum(row["seconds"] for row in rows), 1)


def _trainer(session: Session) -> train.Trainer:
    config = session.settings.groups[experts.ExpertsConfig]
    return experts.trainer(config, session.model, session.classes, augment)


def _newest(folder: Path, index: int) -> Path | None:
    """The longest trajectory of an expert: expert-0003-e008 holds epochs 0 to 8."""
    return max(folder.glob(f"expert-{index:04d}-e" + "[0-9]" * 4), default=None)


def _read(path: Path, parameters: int) -> np.ndarray:
    rows = int(path.name[-4:]) + 1
    return checkpoints.load(path, np.empty((rows, parameters), np.float32))


def _stored(folder: Path, index: int, session: Session) -> int:
    """Epochs an expert on disk reaches, 0 if there is none. A damaged one is said aloud and trained again."""
    path = _newest(folder, index)
    if path is None:
        return 0
    try:
        return len(_read(path, parameter_count(session.model))) - 1
    except checkpoints.Damaged as error:
        session.note(f"{error}; this expert is trained again")
        shutil.rmtree(path)
        return 0


def _train_group(session, folder, group, members, missing, epochs, update) -> None:
    """Train one fixed group and keep its missing experts. Every finished epoch is on disk until the group is whole."""
    count = parameter_count(session.model)
    partial = folder / f"group-{group:04d}"
    rows = _rows(folder, partial, members, missing, count, session.note)
    runs.write_json(partial / "members.json", members)
    keys = jax.vmap(lambda i: jax.random.fold_in(session.key("experts"), i))(jnp.array(members))
    config, begin = session.settings.groups[experts.ExpertsConfig], time.monotonic()
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
        update(position, f"expert {names} epoch {item.epoch}/{epochs} loss {item.loss:.3f}")
        if item.snapshot is not None:
            rows.append(item.snapshot)
            checkpoints.save(partial / f"{item.epoch:08d}", item.snapshot)
            now = time.monotonic()
            row = {"group": group, "epoch": item.epoch, "loss": item.loss, "seconds": now - begin}
            runs.append_log(folder / "log.jsonl", phase="experts", **row)
            begin = now
    stacked = np.stack(rows)
    for index in missing:
        old = _newest(folder, index)
        path = folder / f"expert-{index:04d}-e{epochs:04d}"
        checkpoints.save(path, stacked[: epochs + 1, members.index(index)])
        if old is not None and old != path:
            shutil.rmtree(old)
    shutil.rmtree(partial, ignore_errors=True)


def _rows(folder, partial, members, missing, parameters, tell) -> list[np.ndarray]:
    """Snapshots [g, p] that a group can go on from: shorter trajectories of its members, then a killed run's epochs."""
    rows: list[np.ndarray] = []
    shorter = [_newest(folder, i) for i in missing]
    if all(shorter):
        loaded = [_read(path, parameters) for path in shorter]
        # The other members of the group only fill their place in the vmap.
        lanes = [loaded[missing.index(i)] if i in missing else loaded[0] for i in members]
        rows = list(np.stack([lane[: min(map(len, loaded))] for lane in lanes], axis=1))
    first, before = len(rows), runs.read_json(partial / "members.json")
    known = before if isinstance(before, list) and all(i in before for i in members) else []
    like = np.empty((len(known), parameters), np.float32)
    while known and (path := partial / f"{len(rows):08d}").is_dir():
        try:
            rows.append(checkpoints.load(path, like)[[known.index(i) for i in members]])
        except checkpoints.Damaged as error:
            tell(f"{error}; the experts go on from the epoch before it")
            break
    if (
        known != members
    ):  # some were already kept when the run was killed, or nobody knows whose rows these are
        shutil.rmtree(partial, ignore_errors=True)
        for epoch in range(first, len(rows)):
            checkpoints.save(partial / f"{epoch:08d}", rows[epoch])
    return rows
