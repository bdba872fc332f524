"""A name or a path -> RawDataset. Named sets are looked for in the user's folders, then downloaded.

Every problem is reported in one line (`UserError`) before anything is computed from the data.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from medjax.data import integrated
from medjax.data.catalog import CATALOG, STUDY, find
from medjax.data.download import Tell
from medjax.data.named import from_medmnist, read_named, refuse_multi_label
from medjax.data.npz import read_npz
from medjax.data.phantom import phantom
from medjax.data.tfds import read_tfds
from medjax.errors import UserError
from medjax.types import RawDataset

__all__ = ["check", "from_medmnist", "load", "load_integrated"]


def load(
    name_or_path: str, data_dir: Path | str | None = None, tell: Tell | None = None
) -> RawDataset:
    """A data set by name ("phantom", "bloodmnist", "bloodmnist_64", "tfds:cifar10") or by the path of an .npz file.

    data_dir: the folder to look in first, see `named.fetch`. tell: receives the progress of a download.
    Raises UserError, in one line, for an unknown name, a failed download and a file that cannot be used.
    """
    if name_or_path == "phantom":
        return phantom()
    if named := find(name_or_path):
        return read_named(*named, data_dir, tell)
    if name_or_path.startswith("tfds:"):
        return read_tfds(name_or_path.removeprefix("tfds:"), data_dir)
    if _is_path(name_or_path) and not Path(name_or_path).is_dir():
        return read_npz(Path(name_or_path).expanduser())
    raise UserError(_unknown(name_or_path))


def check(name: str) -> None:
    """Raises UserError for a name that `load` cannot use; reads and downloads nothing."""
    if name == "phantom" or name.startswith("tfds:"):
        return
    if named := find(name):
        refuse_multi_label(named[0])
    elif not _is_path(name) or Path(name).is_dir():
        raise UserError(_unknown(name))
    elif not Path(name).expanduser().exists():
        raise UserError(f"{name}: no such file.")


def load_integrated(
    names: Sequence[str] = STUDY,
    share: float = 0.1,
    seed: int = 0,
    data_dir: Path | str | None = None,
    tell: Tell | None = None,
) -> RawDataset:
    """A share of each of these data sets, labelled by the set that an image came from; see `integrated.join`.

    names: names and paths as `load` takes them. Raises UserError, naming every part that cannot be loaded.
    """
    # All names are checked first, so that a misspelt one is reported before any download.
    wrong, parts = [], []
    for name in names:
        try:
            check(name)
        except UserError as error:
            wrong.append(str(error))
    for index, name in enumerate(names if not wrong else ()):
        try:
            parts.append(integrated.take(load(name, data_dir, tell), index, share, seed))
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError(f"{len(wrong)} of {len(names)} parts cannot be loaded: {' '.join(wrong)}")
    return integrated.join(parts, share, seed)


def _is_path(name: str) -> bool:
    return name.lower().endswith(".npz") or os.sep in name


def _unknown(name: str) -> str:
    """The message for a name that `load` does not know: what is near to it, and what there is."""
    if Path(name).is_dir():
        return (
            f"{name} is a folder: make an .npz of it first, `python -m experiments.prepare --folder={name}"
            f" --out={Path(name).name}.npz`."
        )
    known = ["phantom", "integrated", *CATALOG]
    stem, _, side = name.lower().partition("_")
    near = difflib.get_close_matches(stem, known, n=3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    if near and side:
        hint += " Sizes are written bloodmnist_64, bloodmnist_128, bloodmnist_224."
    return f"unknown data set {name!r}.{hint} Give one of {', '.join(known)}, tfds:NAME, or the path of an .npz file."
