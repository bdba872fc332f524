"""A name or a path -> RawDataset, and several of them -> the integrated set. Named sets are looked for in the user's
folders, then downloaded.

Every problem is reported in one line (`UserError`) before anything is computed from the data.
"""

import difflib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from medjax.data.catalog import CATALOG, STUDY, find
from medjax.data.download import Tell
from medjax.data.named import from_medmnist, read_named, refuse_multi_label, with_notes
from medjax.data.npz import of_arrays, read_npz
from medjax.data.phantom import phantom
from medjax.data.preprocess import resize
from medjax.data.raw import SPLITS, fingerprint, pick, raw_dataset
from medjax.data.tfds import read_tfds
from medjax.errors import UserError, reason_of
from medjax.paths import path_text, user_path
from medjax.types import RawDataset, RawSplit

__all__ = ["check", "from_arrays", "from_medmnist", "load", "load_integrated"]


def load(
    name_or_path: str | Path, data_dir: Path | str | None = None, tell: Tell | None = None
) -> RawDataset:
    """A data set by name ("phantom", "bloodmnist", "bloodmnist_64", "tfds:cifar10"; "integrated": see
    `load_integrated`) or by the path of an .npz file.

    data_dir: the folder to look in first, see `named.fetch`. tell: receives the progress of a download.
    Raises UserError, in one line, for an unknown name, a failed download and a file that cannot be used.
    """
    name = str(name_or_path)
    check(name)
    if name == "phantom":
        return phantom()
    if name == "integrated":
        return load_integrated(data_dir=data_dir, tell=tell)
    if name.startswith("tfds:"):
        return read_tfds(name.removeprefix("tfds:"), data_dir)
    if named := find(name):
        return read_named(*named, data_dir, tell)
    raw = read_npz(user_path(name))
    named, sizes = find(raw.name), tuple(len(getattr(raw, split).labels) for split in SPLITS)
    return with_notes(raw, named[0]) if named and named[0].images == sizes else raw


def from_arrays(name: str, **arrays: Any) -> RawDataset:
    """A data set of images in memory. name: short, for folders and tables.

    arrays: by the keys of an .npz file. train_images, test_images: uint8 [n, h, w, 3], [n, h, w, 1] or [n, h, w].
    train_labels, test_labels: integers [n], from 0 on. Optional: val_images, val_labels (else a tenth of train, by
    class), class_names [k], and train_groups, val_groups, test_groups [n], the patients. Raises UserError, in one line,
    for arrays that cannot be used.
    """
    if not isinstance(name, str | os.PathLike):
        raise UserError(
            f"the first of from_arrays is a name, not a {type(name).__name__}: from_arrays('mine', **arrays)"
        )
    made = {}
    for key, value in arrays.items():
        try:
            made |= {} if value is None else {key: np.asarray(value)}
        except Exception as error:  # each library of arrays has its own
            raise UserError(f"{key} is no array: {reason_of(error)[:200]}") from error
    return of_arrays(Path(path_text(name)), made)


def check(name: str) -> None:
    """Raises UserError for a name that `load` cannot use; reads and downloads nothing."""
    if name in ("phantom", "integrated") or name.startswith("tfds:"):
        return
    if named := find(name):
        refuse_multi_label(named[0])
    elif not (name.lower().endswith(".npz") or os.sep in name) or user_path(name).is_dir():
        raise UserError(_unknown(name))
    elif not user_path(name).exists():
        raise UserError(f"{name}: no such file.")


def load_integrated(
    names: Sequence[str] = STUDY,
    share: float = 0.1,
    seed: int = 0,
    data_dir: Path | str | None = None,
    tell: Tell | None = None,
) -> RawDataset:
    """The integrated set of the study's Figure 3: a share in (0, 1] of each of these sets, labelled by the set that
    an image came from.

    names: names and paths as `load` takes them. Images are RGB (grey ones repeated) and have the smallest side among
    the parts: networks could recognise an enlarged set by its blur. Raises UserError for fewer than two parts, for two
    parts with the same name, and, naming every one of them, for parts that cannot be loaded.
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
            parts.append(_take(load(name, data_dir, tell), index, share, seed))
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError(f"{len(wrong)} of {len(names)} parts cannot be loaded: {' '.join(wrong)}")
    return _join(parts, share, seed)


def _take(whole: RawDataset, index: int, share: float, seed: int) -> RawDataset:
    """A random share of each split of a data set, at least one image, in the original order. Each set draws with its
    index in the list, so that a set added at the end changes nothing before it."""
    if not 0 < share <= 1:
        raise UserError(f"--integrate_share={share:g} must be above 0 and at most 1")
    splits = {}
    for number, name in enumerate(SPLITS):
        split: RawSplit = getattr(whole, name)
        count = max(1, round(share * len(split.labels)))
        rng = np.random.default_rng([seed, index, number])
        chosen = np.sort(rng.choice(len(split.labels), count, replace=False))
        splits[name] = pick(split, chosen)
    return whole._replace(**splits)


def _join(parts: Sequence[RawDataset], share: float, seed: int) -> RawDataset:
    """The shares as one data set, "integrated": class i is parts[i] and has its name. The fingerprint depends on the
    parts' fingerprints and on share and seed, as given to `_take`."""
    names = tuple(part.name for part in parts)
    if len(names) < 2:
        raise UserError("an integrated set needs two data sets or more: give --integrate=a,b")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two parts of the integrated set are named {', '.join(twice)}: rename one")
    sides = {part.name: part.train.images.shape[1] for part in parts}
    side = min(sides.values())
    splits, groups = {}, _distinct_groups(parts)
    for name in SPLITS:
        images = np.concatenate([_common(getattr(part, name).images, side) for part in parts])
        counts = [len(getattr(part, name).labels) for part in parts]
        labels = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
        splits[name] = RawSplit(images, labels, groups[name])
    made_of = json.dumps([[part.name, part.fingerprint] for part in parts] + [[share, seed]])
    digest = hashlib.sha256((fingerprint(**splits) + made_of).encode()).hexdigest()[:16]
    notes = tuple(f"{part.name}: {note}" for part in parts for note in part.notes)
    counts = ", ".join(f"{len(part.train.labels)} {part.name}" for part in parts)
    notes += (f"integrated set: {share:.0%} of each set, training images: {counts}.",)
    if len(set(sides.values())) > 1:
        larger = ", ".join(f"{name} ({s} px)" for name, s in sides.items() if s > side)
        notes += (f"integrated set: images are {side} px, the smallest side; {larger} was shrunk.",)
    unguarded = [f"{part.name}: {why}" for part in parts for why in part.unguarded]
    if share < 1:
        unguarded.append("which images are drawn depends on all of them: give --integrate_share=1")
    if len({part.train.groups is None for part in parts}) > 1:
        unguarded.append(
            "some parts say which images are of one patient and some do not: integrate parts of one kind"
        )
    made = raw_dataset("integrated", names, splits, notes, unguarded)
    return made._replace(fingerprint=digest)


def _distinct_groups(parts: Sequence[RawDataset]) -> dict[str, np.ndarray | None]:
    """Each split's groups of all parts, no number twice; an image of a part without groups is a group of its own. None
    where no part has groups."""
    if all(part.train.groups is None for part in parts):
        return dict.fromkeys(SPLITS)
    found: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    free = 0
    for part in parts:
        splits: list[RawSplit] = [getattr(part, name) for name in SPLITS]
        ends = np.cumsum([len(split.labels) for split in splits])
        own = np.split(np.arange(ends[-1]), ends[:-1])
        given = [split.groups for split in splits]
        numbers = [mine if g is None else g for mine, g in zip(own, given, strict=True)]
        for name, group in zip(SPLITS, numbers, strict=True):
            found[name].append(group + free)
        free += max(int(group.max()) for group in numbers) + 1
    return {name: np.concatenate(lists).astype(np.int32) for name, lists in found.items()}


def _common(images: UInt8[np.ndarray, "n h w c"], side: int) -> UInt8[np.ndarray, "n s s 3"]:
    """Images as RGB, resized to ``side`` pixels."""
    if images.shape[1:3] != (side, side):
        images = np.rint(resize(images, side) * 255).clip(0, 255).astype(np.uint8)
    return np.repeat(images, 3, -1) if images.shape[-1] == 1 else images


def _unknown(name: str) -> str:
    """The message for a name that `load` does not know: what is near to it, and what there is."""
    if user_path(name).is_dir():
        return (
            f"{name} is a folder: make an .npz of it first, `python -m experiments.prepare --folder={name}"
            f" --out={user_path(name).resolve().name or 'my'}.npz`."
        )
    usable = [name for name, entry in CATALOG.items() if entry.task != "multi-label"]
    known = ["phantom", "integrated", *usable]
    stem, _, side = name.lower().partition("_")
    near = difflib.get_close_matches(stem, known, n=3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    if near and side:
        hint += " Sizes are written bloodmnist_64, bloodmnist_128, bloodmnist_224."
    return f"unknown data set {name!r}.{hint} Give one of {', '.join(known)}, tfds:NAME, or the path of an .npz file."
