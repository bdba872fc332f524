"""The sets of the catalog -> RawDataset: from a file that is found or downloaded, or from the medmnist package."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medjax.data.catalog import CATALOG, Entry, file_name, find, md5, url
from medjax.data.download import Failed, Tell, checksum, download
from medjax.data.npz import of_arrays, read_npz
from medjax.errors import UserError, reason_of
from medjax.paths import user_path
from medjax.types import RawDataset


def read_named(
    entry: Entry, side: int = 28, data_dir: Path | str | None = None, tell: Tell | None = None
) -> RawDataset:
    """A set of the catalog. Raises UserError for a multi-label set and where `fetch` does."""
    refuse_multi_label(entry)
    return with_notes(read_npz(fetch(entry, side, data_dir, tell)), entry)


def fetch(
    entry: Entry, side: int = 28, data_dir: Path | str | None = None, tell: Tell | None = None
) -> Path:
    """The path of a named set's file, its MD5 verified.

    The file is looked for in data_dir, $MEDJAX_DATA and ~/.medmnist (the folder of the medmnist package), in this
    order, and otherwise downloaded to the first of these folders that is given. tell: receives the download's progress.
    Raises UserError without a network, and where a checksum is wrong.
    """
    given = (data_dir, os.environ.get("MEDJAX_DATA"))
    folders = [user_path(folder) for folder in given if folder]
    with contextlib.suppress(UserError):  # there may be no home folder
        folders.append(user_path("~/.medmnist"))
    if not folders:
        raise UserError(
            f"there is no home folder to keep {file_name(entry, side)} in: give --data_dir=FOLDER"
        )
    target, expected = folders[0] / file_name(entry, side), md5(entry, side)
    by_hand = f"get {url(entry, side)} and put it at {target} by hand"
    for path in (folder / target.name for folder in folders):
        if os.path.isfile(path):  # False in a home folder of another user, too
            if checksum(path) == expected:
                return path
            if path == target:  # a damaged file in another folder is ignored
                raise UserError(
                    f"{path} is damaged or another version (its MD5 is not {expected}): delete it and run again,"
                    f" {by_hand}, or give its path to use it as it is."
                )
    try:
        download(url(entry, side), target, expected, tell)
    except (Failed, OSError) as error:
        raise UserError(
            f"cannot download {target.stem} ({reason_of(error)}): {by_hand}; --dataset=phantom needs no network."
        ) from error
    if checksum(target) != expected:
        raise UserError(f"{target} is damaged: delete it and run again.")
    return target


def refuse_multi_label(entry: Entry) -> None:
    """Raises UserError for a named set whose images have several labels each."""
    if entry.task == "multi-label":
        raise UserError(
            f"{entry.name} has {len(entry.class_names)} labels, several of which can apply to one image; medjax needs"
            " one class per image. Choose another set, or save one of its labels as an .npz of two classes."
        )


def from_medmnist(train: Any, val: Any, test: Any) -> RawDataset:
    """The same data set from the medmnist package's own objects: `BloodMNIST(split="train", ...)`, "val", "test".

    Their ``imgs`` (uint8) and ``labels`` are read. Their ``transform``, ``target_transform`` and ``as_rgb`` are not
    applied, because medjax preprocesses images itself; `notes` says so. Raises UserError for a multi-label set, for
    volumes, and for three objects that are not the three splits of one set.
    """
    parts = {"train": train, "val": val, "test": test}
    stems = {f"{part.flag}{part.size_flag}" for part in parts.values()}
    if len(stems) > 1 or any(part.split != split for split, part in parts.items()):
        found = ", ".join(f"{part.flag}{part.size_flag} {part.split}" for part in parts.values())
        raise UserError(f"expected train, val and test of one set of medmnist, got {found}.")
    stem = stems.pop()
    named = find(stem)
    if named is None:
        raise UserError(f"{stem} of medmnist is not an image set of medjax: {', '.join(CATALOG)}.")
    refuse_multi_label(named[0])
    arrays = {f"{split}_images": part.imgs for split, part in parts.items()}
    arrays |= {f"{split}_labels": part.labels for split, part in parts.items()}
    changed = any(p.transform or p.target_transform or p.as_rgb for p in parts.values())
    note = f"{stem}: transform, target_transform and as_rgb of medmnist are not applied."
    return with_notes(of_arrays(Path(stem), arrays), named[0], [note] if changed else [])


def with_notes(raw: RawDataset, entry: Entry, notes: Sequence[str] = ()) -> RawDataset:
    """A set of the catalog, with its notes and these."""
    return raw._replace(notes=(*raw.notes, *entry.notes, *notes))
