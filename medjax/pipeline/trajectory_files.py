"""The files of expert trajectories: expert-0003-e008 holds the snapshots of expert 3 at epochs 0 to 8.

While a group of experts trains, each finished epoch lies in group-0000x2/00000005 (members 0 and 1, epoch), so that a
killed run goes on from there.
"""

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from medjax import memory, store
from medjax.types import Trajectories

Note = Callable[[str], None]


#: Reads a trajectory [t, p] from its path.
Read = Callable[[Path], np.ndarray]


def cached(folder: Path, epochs: int, parameters: int) -> Read:
    """Reads trajectories of a folder, each once: they stay in at most half of the memory."""
    paths = folder.glob("expert-*-e" + "[0-9]" * 4)
    longest = max([epochs + 1, *(_length(path) for path in paths)])
    room = max(1, int(memory.total() / 2 / (longest * parameters * 4)))
    return functools.lru_cache(maxsize=room)(lambda path: _read(path, parameters))


def reader(folder: Path, count: int, epochs: int, read: Read) -> Trajectories:
    """Trajectories from a folder."""

    @functools.cache
    def path_of(index: int) -> Path:
        path = newest(folder, index)
        if path is None:
            raise store.Damaged(f"expert {index} is missing from {folder}")
        return path

    return Trajectories(lambda index, rows: read(path_of(index))[rows], count, epochs)


def newest(folder: Path, index: int) -> Path | None:
    """The longest trajectory of an expert, or None."""
    return max(folder.glob(f"expert-{index:04d}-e" + "[0-9]" * 4), default=None)


def epochs_stored(folder: Path, index: int, read: Read, note: Note) -> int:
    """The last epoch of an expert on disk, 0 if there is none. A damaged one is said, deleted and trained again, and so
    is what was computed of it (`medjax.pipeline.moments`): another machine may train it to other numbers."""
    path = newest(folder, index)
    if path is None:
        return 0
    try:
        return len(read(path)) - 1
    except store.Damaged as error:
        note(f"{error}; this expert is trained again")
        _forget(folder, index)
        shutil.rmtree(path)
        return 0


def save_epoch(folder: Path, members: list[int], epoch: int, snapshot: np.ndarray) -> None:
    """Keep what a group in training goes on from after an epoch [g, q]."""
    store.save_tree(folder / _group_name(members) / f"{epoch:08d}", snapshot)


def save_expert(folder: Path, index: int, snapshots: np.ndarray) -> None:
    """Keep a trajectory [t, p] in place of a shorter one. Where it is not that one's continuation, bit for bit (with
    momentum all is trained again, perhaps on another machine), what was computed of that one is deleted."""
    old = newest(folder, index)
    if old is not None and any(_computed(folder, index)):
        before = _read(old, snapshots.shape[1])
        if not np.array_equal(before, snapshots[: len(before)]):
            _forget(folder, index)
    path = folder / f"expert-{index:04d}-e{len(snapshots) - 1:04d}"
    store.save_tree(path, snapshots)
    if old is not None and old != path:
        shutil.rmtree(old)


def _computed(folder: Path, index: int) -> Iterator[Path]:
    """The files of what was computed of an expert."""
    return folder.glob(f"moments-*/expert-{index:04d}-e*.npz")


def _forget(folder: Path, index: int) -> None:
    for path in _computed(folder, index):
        path.unlink()


def remove_epochs(folder: Path, members: list[int]) -> None:
    """Delete the epochs of groups all of whose experts are kept now."""
    for path, there in _groups(folder):
        if set(there) <= set(members):
            shutil.rmtree(path, ignore_errors=True)


def snapshots_to_resume(
    folder: Path, members: list[int], missing: list[int], parameters: int, length: int, note: Note
) -> list[np.ndarray]:
    """Rows [g, q], one an epoch, that a group can go on from: shorter trajectories of its missing members, then a
    killed run's epochs. length: q. Trajectories hold parameters alone, so experts with momentum cannot go on from
    them."""
    rows: list[np.ndarray] = []
    paths = [newest(folder, index) for index in missing]
    shorter = [path for path in paths if path is not None]
    if len(shorter) == len(missing) and length == parameters:
        loaded = [_read(path, parameters) for path in shorter]
        # The other members of the group only fill their place in the vmap.
        lanes = [loaded[missing.index(i)] if i in missing else loaded[0] for i in members]
        rows = list(np.stack([lane[: min(map(len, loaded))] for lane in lanes], axis=1))
    # Not only of this very group: a run that was killed while it stored its experts has fewer to train now, and another
    # machine may group them otherwise.
    groups = [(path, there) for path, there in _groups(folder) if set(members) <= set(there)]
    while (row := _epoch(groups, len(rows), members, length, note)) is not None:
        rows.append(row)
    return rows


def _groups(folder: Path) -> list[tuple[Path, list[int]]]:
    """What killed runs left of unfinished groups: folders of epochs, each with the experts whose snapshots it holds."""
    return [(path, _members(path.name)) for path in sorted(folder.glob("group-*"))]


def _group_name(members: list[int]) -> str:
    """ "group-0000x2-0003x1" of 0, 1 and 3: on many GPUs a group is too large to name each."""
    runs: list[list[int]] = []
    for index in members:
        if runs and index == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([index, 1])
    return "-".join(["group", *(f"{first:04d}x{count}" for first, count in runs)])


def _members(name: str) -> list[int]:
    runs = [
        run.partition("x") for run in name.split("-")[1:]
    ]  # an earlier version named each member
    return [int(first) + i for first, _, count in runs for i in range(int(count or 1))]


def _epoch(
    groups: list[tuple[Path, list[int]]],
    epoch: int,
    members: list[int],
    length: int,
    note: Note,
) -> np.ndarray | None:
    """The members' rows [g, q] after an epoch, from the first folder that has them whole."""
    for folder, there in groups:
        if (path := folder / f"{epoch:08d}").is_dir():
            try:
                kept = store.load_tree(path, np.empty((len(there), length), np.float32))
                return kept[[there.index(i) for i in members]]
            except store.Damaged as error:
                note(f"{error}; the experts go on from the epoch before it")
    return None


def _length(path: Path) -> int:
    """Snapshots of a trajectory, by its name."""
    return int(path.name[-4:]) + 1


def _read(path: Path, parameters: int) -> np.ndarray:
    return store.load_tree(path, np.empty((_length(path), parameters), np.float32))
