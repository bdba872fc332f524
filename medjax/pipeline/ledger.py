"""Where noisy releases lie, and the list of all that were drawn. Both stay at home.

OUT/releases/TRAIN-OPTIONS/release.npz is the release of these training images with these options. TRAIN is a hash of
the images, labels and patients of the training split alone: under another name, and with other val or test images, they
have the same release. OUT/releases/TRAIN.jsonl has a row for each draw; it stays when a release is deleted, for a set
that was made of it may be in the world.
"""

from pathlib import Path
from typing import Any

import numpy as np

from medjax import store
from medjax.distill.release import Release
from medjax.errors import UserError
from medjax.types import RawDataset

FOLDER = "releases"
#: In a run's folder: the digest of the release that it reads, and the list where that stands.
READ = "release.json"


def place(out: Path, raw: RawDataset, options: dict[str, Any]) -> Path:
    """The file of a release. options: all that it depends on beside the data."""
    groups = raw.train.groups
    if groups is not None:  # a file numbers them over all splits
        groups = np.unique(groups, return_inverse=True)[1]
    train = store.digest((raw.train.images, raw.train.labels, groups))[:16]
    return out / FOLDER / f"{train}-{store.config_hash(options)}" / "release.npz"


def digest(release: Release) -> str:
    """The name of a release among others, a function of its noisy sums."""
    return store.digest(release.sums)[:16]


def enter(path: Path, release: Release) -> list[dict[str, Any]]:
    """Put a release on the list of its data, unless it is there; all rows of the list. path: of the release."""
    file = _list(path.parents[1], path.parent.name)
    if digest(release) not in {row["digest"] for row in store.read_log(file)}:
        spent = {name: release.guarantee[name] for name in ("epsilon", "delta")}
        row = {"digest": digest(release), "folder": path.parent.name, **spent}
        store.append_log(file, phase="release", **row)
    return store.read_log(file)


def earlier(home: Path, options: dict[str, Any] | None = None) -> list[Path]:
    """Releases that earlier versions left in the folders of the data, under any name of these; those with these
    options alone, if they are given."""
    name = "release-*" if options is None else f"release-{store.config_hash(options)}"
    return sorted(home.parent.glob(f"*-{home.name.rpartition('-')[2]}/{name}/release.npz"))


def begun(folder: Path) -> bool:
    """Whether a run's folder has something that was made of a release."""
    return (folder / READ).exists() or (folder / "checkpoints").exists()


def bind(folder: Path, path: Path, release: Release, old: bool = False) -> None:
    """Write into a run's folder which release it reads. path: of the release. old: whether an earlier version drew it,
    whose runs do not say which they read. Raises UserError where the run was begun with another one: its set would come
    from both."""
    mine, said = {"digest": digest(release), "folder": path.parent.name}, folder / READ
    if begun(folder) and store.read_json(said) != mine and (said.exists() or not old):
        raise gone(folder)
    store.write_json(said, mine)


def gone(folder: Path) -> UserError:
    """What is said of a run whose release is not there."""
    return UserError(
        f"{folder} was begun with another release of these data, and its set would come from both: get that one back,"
        " or begin anew with --fresh"
    )


def others(folder: Path) -> list[dict[str, Any]] | None:
    """The other releases of the training images of a run, as far as their list knows; None where it is not found.
    folder: of the run."""
    mine = store.read_json(folder / READ)
    if not isinstance(mine, dict) or not {"digest", "folder"} <= mine.keys():
        return None
    file = _list(folder.resolve().parents[1] / FOLDER, mine["folder"])
    rows = store.read_log(file)
    if mine["digest"] not in {row["digest"] for row in rows}:
        return None
    return [row for row in rows if row["digest"] != mine["digest"]]


def _list(releases: Path, folder: str) -> Path:
    return releases / f"{folder.partition('-')[0]}.jsonl"
