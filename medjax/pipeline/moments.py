"""The moments of the real images (`medjax.distill.moments`), computed once for all runs with the same experts.

They lie in the experts' folder: moments-means-1a2b3c4d/expert-0003-e0008.npz is of expert 3 after epoch 8. A file is
written when its snapshot is finished and never changed, so that a killed run goes on after the last one, and more or
longer experts only add files.
"""

import functools
import time
from pathlib import Path

import jax
import numpy as np

from medjax import devices, memory, store
from medjax.data.archive import read_arrays
from medjax.distill import moments
from medjax.distill.moments import Moments, Snapshot, Wanted
from medjax.errors import UserError
from medjax.pipeline.experts import experts_folder
from medjax.pipeline.folders import hold
from medjax.pipeline.session import Session
from medjax.types import Trajectories


def moments_folder(session: Session, wanted: Wanted) -> Path:
    """The folder of these moments."""
    about = {"augment": repr(wanted.augment), "draws": wanted.draws}
    name = f"moments-{wanted.statistics}-{store.config_hash(about)}"
    return experts_folder(session) / name


def moments_seconds(session: Session, wanted: Wanted) -> float:
    """Time that these moments took, over all runs that had a part in it."""
    return store.phase_seconds(
        store.read_log(moments_folder(session, wanted) / "log.jsonl"), "moments"
    )


def compute_moments(session: Session, trajectories: Trajectories, wanted: Wanted) -> Moments:
    """Compute the moments that are still missing; returns a reader of all of them."""
    folder, key = moments_folder(session, wanted), session.key("moments")
    shape = _shape(session, wanted)
    places = [(e, s) for e in range(trajectories.experts) for s in range(wanted.snapshots)]
    # Another run with the same experts may be computing them.
    with hold(experts_folder(session), session.progress, wait=True):
        missing = [place for place in places if not _whole(session, folder, place, shape)]
        if missing:
            _compute(session, trajectories, wanted, folder, missing, len(places))
    room = max(1, int(memory.total() / 8 / (4 * np.prod(shape))))
    read = functools.lru_cache(maxsize=room)(lambda *place: _read(folder, place, shape))
    return Moments(read, np.asarray(jax.random.key_data(key)))


def _compute(
    session: Session,
    trajectories: Trajectories,
    wanted: Wanted,
    folder: Path,
    missing: list[tuple[int, int]],
    total: int,
) -> None:
    model, key = session.model, session.key("moments")
    images = jax.jit(devices.replicated)(session.train.images)
    at_once = moments.pieces_at_once(model, images.shape[1:])
    groups = moments.cut(np.asarray(session.train.labels), *at_once)
    done = (total - len(missing)) * wanted.draws
    update = session.progress.bar("moments", total * wanted.draws, done)
    for number, (expert, epoch) in enumerate(missing):
        begin, before = time.monotonic(), done + number * wanted.draws

        def tell(draw: int, before: int = before, at: tuple = (expert, epoch)) -> None:
            update(before + draw, f"expert {at[0]} epoch {at[1]}")

        (row,) = trajectories.read(expert, np.arange(epoch, epoch + 1))
        place = (expert, epoch)
        found = moments.of_snapshot(
            wanted, model, key, place, row, images, groups, session.classes, tell
        )
        store.write_arrays(_path(folder, place), **found._asdict())
        about = {"expert": expert, "epoch": epoch, "seconds": time.monotonic() - begin}
        store.append_log(folder / "log.jsonl", phase="moments", **about)


def _shape(session: Session, wanted: Wanted) -> tuple[int, int, int]:
    """[draws, k, q] of a snapshot's means."""
    statistics = moments.STATISTICS[wanted.statistics]
    features = moments.feature_count(session.model, session.train.images.shape[1:])
    values = 2 * moments.FREQUENCIES if statistics.random else statistics.orders * features
    return wanted.draws, session.classes, values


def _path(folder: Path, place: tuple[int, int]) -> Path:
    return folder / f"expert-{place[0]:04d}-e{place[1]:04d}.npz"


def _read(folder: Path, place: tuple[int, int], shape: tuple[int, ...]) -> Snapshot:
    """Raises UserError for a file that is not whole."""
    path = _path(folder, place)
    arrays = read_arrays(path, Snapshot._fields)
    if {name: array.shape for name, array in arrays.items()} != {"means": shape, "scale": ()}:
        raise UserError(f"{path} does not hold the moments of these experts")
    return Snapshot(**arrays)


def _whole(session: Session, folder: Path, place: tuple[int, int], shape: tuple[int, ...]) -> bool:
    """Whether a snapshot's file is there and can be read. A damaged one is said."""
    if not _path(folder, place).exists():
        return False
    try:
        _read(folder, place, shape)
    except UserError as error:
        session.note(f"{error}; it is made again")
        return False
    return True
