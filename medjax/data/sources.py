"""A name or a path -> RawDataset. Names are looked for in the user's folders, then downloaded.

Whatever is wrong is said in one line (`UserError`) before anything is computed from it.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medjax.data import integrated
from medjax.data.catalog import CATALOG, STUDY, Entry, file_name, find, md5, url
from medjax.data.download import Failed, Tell, checksum, download, line
from medjax.data.npz import from_arrays, read_npz
from medjax.data.phantom import phantom
from medjax.data.tfds import read_tfds
from medjax.errors import UserError
from medjax.types import RawDataset


def load(
    name_or_path: str, data_dir: Path | str | None = None, tell: Tell | None = None
) -> RawDataset:
    """A data set by name ("phantom", "bloodmnist", "bloodmnist_64", "tfds:cifar10") or by the path of an .npz file.

    data_dir: where to look first, see `fetch`. tell: hears of a download's progress.
    Raises UserError, in one line, for an unknown name, a failed download and a file that cannot be used.
    """
    if name_or_path == "phantom":
        return phantom()
    if named := find(name_or_path):
        return _named(*named, data_dir, tell)
    if name_or_path.startswith("tfds:"):
        return read_tfds(name_or_path.removeprefix("tfds:"), data_dir)
    if _is_path(name_or_path) and not Path(name_or_path).is_dir():
        return read_npz(Path(name_or_path).expanduser())
    raise UserError(_unknown(name_or_path))


def check(name: str) -> None:
    """UserError for a name of which `load` could make nothing; nothing is read or downloaded."""
    if name == "phantom" or name.startswith("tfds:"):
        return
    if named := find(name):
        refuse_multi_label(named[0])
    elif not _is_path(name) or Path(name).is_dir():
        raise UserError(_unknown(name))
    elif not _exists(name):
        raise UserError(f"{name}: no such file.")


def load_integrated(
    names: Sequence[str] = STUDY,
    share: float = 0.1,
    seed: int = 0,
    data_dir: Path | str | None = None,
    tell: Tell | None = None,
) -> RawDataset:
    """A share of each of these data sets, labelled by the set that an image came from; see `integrated.join`.

    names: names and paths as `load` takes them. Raises UserError, naming every part that cannot be had.
    """
    # What needs no network first: nobody should wait for downloads to hear of a misspelt name.
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
        raise UserError(f"{len(wrong)} of {len(names)} parts cannot be had: {' '.join(wrong)}")
    return integrated.join(parts, share, seed)


def fetch(
    entry: Entry, side: int = 28, data_dir: Path | str | None = None, tell: Tell | None = None
) -> Path:
    """The path of a named set's file, its MD5 verified.

    Looked for in data_dir, $MEDJAX_DATA and ~/.medmnist (where the `medmnist` package puts it), in this order; else
    downloaded to the first of them that is given. Raises UserError without a network, and where a checksum is wrong.
    """
    given = (data_dir, os.environ.get("MEDJAX_DATA"), "~/.medmnist")
    folders = [Path(folder).expanduser() for folder in given if folder]
    target, expected = folders[0] / file_name(entry, side), md5(entry, side)
    by_hand = f"get {url(entry, side)} and put it at {target} by hand"
    for path in (folder / target.name for folder in folders):
        if path.is_file():
            if checksum(path) == expected:
                return path
            if path == target:  # a broken file in another folder is passed over
                raise UserError(
                    f"{path} is damaged or another version (its MD5 is not {expected}): delete it and run again,"
                    f" {by_hand}, or name it by its path to use it as it is."
                )
    try:
        download(url(entry, side), target, expected, tell)
    except (Failed, OSError) as error:
        raise UserError(
            f"cannot download {target.stem} ({line(error)}): {by_hand}; --dataset=phantom needs no network."
        ) from error
    if checksum(target) != expected:
        raise UserError(f"{target} is damaged: delete it and run again.")
    return target


def refuse_multi_label(entry: Entry) -> None:
    """UserError for a named set whose images have several labels each."""
    if entry.task == "multi-label":
        raise UserError(
            f"{entry.name} has {len(entry.class_names)} labels that may hold together for one image; medjax distils"
            " sets with one class an image. Choose another set, or save one of its labels as an .npz of two classes."
        )


def from_medmnist(train: Any, val: Any, test: Any) -> RawDataset:
    """The same data set from the ``medmnist`` package's own objects: `BloodMNIST(split="train", ...)`, "val", "test".

    What they hold in ``imgs`` (uint8) and ``labels`` is taken; their ``transform``, ``target_transform`` and ``as_rgb``
    are not applied, because medjax does its own preprocessing, and `notes` says so. Raises UserError for a set with
    several labels an image, a volume, and three objects that are not the three splits of one set.
    """
    parts = {"train": train, "val": val, "test": test}
    stems = {f"{part.flag}{part.size_flag}" for part in parts.values()}
    if len(stems) > 1 or any(part.split != split for split, part in parts.items()):
        found = ", ".join(f"{part.flag}{part.size_flag} {part.split}" for part in parts.values())
        raise UserError(f"expected train, val and test of one set of medmnist, got {found}.")
    stem = stems.pop()
    named = find(stem)
    if named is None:
        raise UserError(
            f"{stem} of medmnist is no set of images that medjax knows: {', '.join(CATALOG)}."
        )
    refuse_multi_label(named[0])
    arrays = {f"{split}_images": part.imgs for split, part in parts.items()}
    arrays |= {f"{split}_labels": part.labels for split, part in parts.items()}
    raw = _graded(named[0], from_arrays(Path(stem), arrays))
    if any(part.transform or part.target_transform or part.as_rgb for part in parts.values()):
        note = f"{stem}: transform, target_transform and as_rgb of medmnist are not applied."
        raw = raw._replace(notes=(*raw.notes, note))
    return raw


def _named(entry: Entry, side: int, data_dir: Path | str | None, tell: Tell | None) -> RawDataset:
    """A set of the catalog; what its labels are not is said."""
    refuse_multi_label(entry)
    return _graded(entry, read_npz(fetch(entry, side, data_dir, tell)))


def _graded(entry: Entry, raw: RawDataset) -> RawDataset:
    """A set of the catalog with a note where its classes are grades."""
    if entry.task == "ordinal":
        note = f"{entry.name} has ordered grades; they are taken as {len(entry.class_names)} plain classes."
        raw = raw._replace(notes=(*raw.notes, note))
    return raw


def _is_path(name: str) -> bool:
    return name.lower().endswith(".npz") or os.sep in name


def _exists(name: str) -> bool:
    return Path(name).expanduser().exists()


def _unknown(name: str) -> str:
    """One line for a name that is none."""
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
