"""An .npz file in the MedMNIST layout -> RawDataset, or one line that says what is wrong with it."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medjax.data import catalog
from medjax.data.archive import select_arrays
from medjax.data.labels import UNNAMED, as_classes, carve_val, renumbered
from medjax.data.raw import SPLITS, raw_dataset
from medjax.data.splits import nfc, split_of
from medjax.errors import UserError, first_few
from medjax.types import RawDataset, RawSplit

#: Words for what an array of a split holds.
KINDS = {"images": "images", "image": "images", "imgs": "images", "x": "images"}
KINDS |= {"labels": "labels", "label": "labels", "y": "labels", "groups": "groups"}


def read_npz(path: Path) -> RawDataset:
    """A data set from a file in the MedMNIST layout; its name is the file's stem.

    Keys: train|val|test_images, uint8 [n, s, s], [n, s, s, 1] or [n, s, s, 3]; train|val|test_labels [n], [n, 1] or
    one-hot [n, k], whole numbers; optionally train|val|test_groups [n], a whole number for each patient, and
    class_names, strings. Other names of a split (`medjax.data.splits.NAMES`) and keys such as x_train are understood.
    Labels with gaps are renumbered; where a file has no val keys, a tenth of its training images becomes val; `notes`
    says what was done. Raises UserError for everything else.
    """
    arrays, unread = select_arrays(path, lambda key: key == "class_names" or _meaning(key))
    return of_arrays(path, arrays, unread)


def name_of(path: Path) -> str:
    """The name of a file's data set. Arrays in memory have one without an ending, which may have dots: chest-v1.2."""
    return path.stem if path.suffix.lower() == ".npz" else path.name


def of_arrays(path: Path, arrays: dict[str, np.ndarray], unread: Sequence[str] = ()) -> RawDataset:
    """A data set from the arrays of such a file, under the same conditions. Messages name the arrays by ``path``.
    unread: the other keys of the file."""
    keys: dict[str, str] = {}  # ours -> that of the file
    for key in arrays:
        if (other := keys.setdefault(_meaning(key) or key, key)) != key:
            raise UserError(
                f"{path}: {other} and {key} both mean {_meaning(key)}: remove one of them."
            )
    others = ", ".join(f"{key} as {ours}" for ours, key in keys.items() if key != ours)
    notes = [f"{path.name}: read {others}."] if others else []
    if unread:
        shown = first_few([repr(key) if not key.isprintable() else key for key in unread])
        notes.append(f"{path.name}: keys that are not read: {shown}.")
    try:
        return _checked(path, {ours: arrays[key] for ours, key in keys.items()}, unread, notes)
    except UserError as error:
        if not others:
            raise
        raise UserError(f"{error} (Read: {others}.)") from error


def _meaning(key: str) -> str | None:
    """What medjax calls an array: "train_images" for "X_train", "val_labels" for "valid_labels". None for others."""
    words = re.split(r"[ _.-]", key.lower())
    if len(words) != 2:
        return None
    (split, kind), *_ = [pair for pair in (words, words[::-1]) if split_of(pair[0])] or [("", "")]
    return f"{split_of(split)}_{KINDS[kind]}" if kind in KINDS else None


def _checked(
    path: Path, arrays: dict[str, np.ndarray], unread: Sequence[str], notes: list[str]
) -> RawDataset:
    """The data set of arrays that have medjax's names."""
    needed = ["train_images", "train_labels", "test_images", "test_labels"]
    if any(key.startswith("val_") for key in arrays):
        needed += ["val_images", "val_labels"]
    there = [name for name in SPLITS if f"{name}_images" in needed]
    if any(key.endswith("_groups") for key in arrays):
        needed += [f"{name}_groups" for name in there]
    if missing := [key for key in needed if key not in arrays]:
        found = ", ".join(sorted([*arrays, *unread])) or "none of them"
        if all(key.endswith("_groups") for key in missing):
            raise UserError(
                f"{path}: no {', '.join(missing)}: give the groups of every split, or of none."
            )
        raise UserError(
            f"{path}: no {', '.join(missing)}; expected train|val|test_images and train|val|test_labels (val is"
            f" optional), found {found}."
        )
    splits = {name: _split(path, name, arrays, notes) for name in there}
    _check_images(path, splits, notes)
    labels, present = renumbered(path, {name: splits[name].labels for name in there}, notes)
    splits = {name: split._replace(labels=labels[name]) for name, split in splits.items()}
    if "train_groups" in arrays:
        splits = _grouped(splits)
    names, unguarded = _class_names(path, arrays.get("class_names"), present), []
    if "val" not in splits:
        splits["train"], splits["val"] = carve_val(path, splits["train"], len(names))
        count = len(splits["val"].labels)
        notes.append(
            f"no val split in {path.name}: {count} of the training images (10 %, by class) became the val split."
        )
        unguarded.append(
            "it has no val images, and the training images that become them are outside the guarantee: add val_images"
            " and val_labels"
        )
    return raw_dataset(name_of(path), names, splits, notes, unguarded)


def _groups(path: Path, name: str, arrays: dict[str, np.ndarray], count: int) -> np.ndarray | None:
    """A split's numbers of patients as they are in the file, checked."""
    if (groups := arrays.get(f"{name}_groups")) is None:
        return None
    if groups.dtype.kind not in "iu" or groups.shape not in ((count,), (count, 1)):
        raise UserError(
            f"{path}: {name}_groups is {groups.dtype} {groups.shape}, expected {count} whole numbers, one for each"
            " image; patients with one number are one patient."
        )
    return groups.reshape(-1)


def _grouped(splits: dict[str, RawSplit]) -> dict[str, RawSplit]:
    """The splits with their groups renumbered from 0 on, over all splits."""
    joined = np.concatenate([s.groups for s in splits.values() if s.groups is not None])
    numbers = np.unique(joined, return_inverse=True)[1].reshape(-1).astype(np.int32)
    ends = np.cumsum([len(split.labels) for split in splits.values()])[:-1]
    parts = zip(splits.items(), np.split(numbers, ends), strict=True)
    return {name: split._replace(groups=own) for (name, split), own in parts}


def _split(path: Path, name: str, arrays: dict[str, np.ndarray], notes: list[str]) -> RawSplit:
    """One split, checked, its images as [n, h, w, c] and its labels as [n]."""
    where, images = f"{path}: {name}_images", arrays[f"{name}_images"]
    if images.dtype != np.uint8:
        advice = "; scale to 0..255 and save as uint8" if images.dtype.kind == "f" else ""
        raise UserError(f"{where} is {images.dtype}, expected uint8 in 0..255{advice}.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise UserError(
            f"{where} has shape {images.shape}, expected [n, s, s], [n, s, s, 1] or [n, s, s, 3]."
        )
    if not len(images):
        raise UserError(f"{where} is empty; at least one image is needed.")
    if images.shape[1] != images.shape[2]:
        raise UserError(
            f"{where} are {images.shape[1]} x {images.shape[2]} pixels, not square: crop or pad them first"
            " (`python -m experiments.prepare` does it for a folder of images)."
        )
    labels = as_classes(path, name, arrays[f"{name}_labels"], len(images), notes)
    groups = _groups(path, name, arrays, len(images))
    return RawSplit(np.ascontiguousarray(images), labels, groups)


def _check_images(path: Path, splits: dict[str, RawSplit], notes: list[str]) -> None:
    """Raises UserError where the splits' images differ in shape, or all training images are blank."""
    shape = splits["train"].images.shape[1:]
    for name, split in splits.items():
        if split.images.shape[1:] != shape:
            raise UserError(
                f"{path}: {name}_images are {split.images.shape[1:]} (h, w, c) but train_images {shape}."
            )
        flat = split.images.reshape(len(split.images), -1)
        blank = int((flat.min(1) == flat.max(1)).sum())
        if name == "train" and blank == len(flat):
            raise UserError(
                f"{path}: every image of {name}_images is blank (one value for all pixels): check how it was saved."
            )
        if blank:
            notes.append(
                f"{blank} of {len(flat)} {name} images are blank (one value for all pixels)."
            )


def _class_names(path: Path, given: np.ndarray | None, present: np.ndarray) -> tuple[str, ...]:
    """A name for each label of ``present``: from the file, else from the catalog by the file's name, else "class 0".

    The file may name only the classes that have images, or all labels from 0 on.
    """
    k, most = len(present), int(present[-1]) + 1
    if given is not None:
        if given.dtype.kind == "S":
            given = np.char.decode(given, "utf-8", "replace")
        if given.dtype.kind == "O" and all(isinstance(name, str) for name in given.flat):
            given = given.astype(str)  # of a table, in memory: no file holds objects
        if given.dtype.kind != "U" or given.shape not in ((k,), (most,)):
            raise UserError(
                f"{path}: class_names is {given.dtype} {given.shape}, expected {k} strings, one"
                " for each class of train."
            )
        picked = given if len(given) == k else given[present]
        cleaned = [_printable(str(name)) for name in picked]
        names = tuple(n or UNNAMED.format(label) for n, label in zip(cleaned, present, strict=True))
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise UserError(
                f"{path}: class_names gives several classes the name {twice[0]!r}: rename them."
            )
        return names
    named = catalog.find(name_of(path))
    if named and len(named[0].class_names) == most:
        return tuple(named[0].class_names[label] for label in present)
    return tuple(map(UNNAMED.format, present))


def _printable(name: str) -> str:
    """A name on one line, composed, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in nfc(name)).split())
