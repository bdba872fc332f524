"""A folder of images -> arrays in the MedMNIST layout, and a report.

The folder has either ``train/<class>/*`` and ``test/<class>/*`` (``val/`` is optional), or only ``<class>/*``, which is
split 70/10/20.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int, UInt8

from medjax import memory
from medjax.data import levels, patients
from medjax.data.display import Window
from medjax.data.pixels import MEGAPIXELS, OWN, SUFFIXES, Picture, is_image, read
from medjax.data.planes import Unreadable
from medjax.data.raw import SPLITS
from medjax.errors import UserError, first_few

#: Images: (path, label, split).
Files: TypeAlias = list[tuple[Path, int, str]]
#: Shares of train, val and test.
SHARES = (0.7, 0.1, 0.2)


class Folder(NamedTuple):
    """The content of a folder: images uint8 [n, s, s, c] with labels and splits (0 train, 1 val, 2 test), class names,
    and the lines of the report."""

    images: UInt8[np.ndarray, "n s s c"]
    labels: Int[np.ndarray, " n"]
    splits: Int[np.ndarray, " n"]
    class_names: tuple[str, ...]
    lines: tuple[str, ...]


def read_folder(
    folder: Path,
    side: int,
    seed: int = 0,
    window: Window = OWN,
    tell: Callable[[int, int], None] = lambda done, total: None,
    *,
    fit: str = "crop",
    megapixels: float = MEGAPIXELS,
) -> Folder:
    """Read the images, resize them to ``side`` pixels, remove duplicates and split.

    window, fit, megapixels: see `pixels.read`. tell: receives (files read, number of files). Raises UserError for a
    folder without such images of two classes.
    """
    files, names, given, others = _scan(folder)
    needed = 5 * len(files) * side * side  # one channel, as floats and as bytes
    if needed > memory.total():
        raise UserError(
            f"{len(files)} images of {side} px need at least {memory.words(needed)}, and this machine has"
            f" {memory.words(memory.total())}: lower --size"
        )
    lines, pictures, kept = others, [], []
    unread: list[str] = []
    first: dict[int, str] = {}  # of each class
    for number, (path, label, split) in enumerate(files):
        try:
            pictures.append(read(path, side, window, fit, megapixels))
            kept.append((path, label, split))
        except (Unreadable, OSError) as error:
            unread.append(f"{path.relative_to(folder)} ({error})")
            first.setdefault(label, unread[-1])
        tell(number + 1, len(files))
    if unread:
        lines.append(f"{len(unread)} files could not be read: {first_few(unread)}.")
    order, removed = _distinct(pictures, kept, folder)
    lines += removed
    pictures, kept = [pictures[i] for i in order], [kept[i] for i in order]
    labels = np.array([label for _, label, _ in kept], np.int32)
    counts = np.bincount(labels, minlength=len(names))
    if empty := [label for label, count in enumerate(counts) if not count]:
        none = first_few([names[label] for label in empty])
        if why := [first[label] for label in empty if label in first]:
            raise UserError(f"{folder}: no image of {none} could be read, for example {why[0]}.")
        raise UserError(
            f"{folder}: every image of {none} is a duplicate of an image of another class: remove the copies there, or"
            " the folder."
        )
    groups, about = patients.read_groups(folder, [path for path, _, _ in kept])
    lines += about
    splits = np.array([SPLITS.index(split) for _, _, split in kept])
    if given == {"train"}:
        splits = split_groups(labels, groups, SHARES, seed)
        lines.append("no splits in the folder: 70 % train, 10 % val, 20 % test, by class.")
    elif "val" not in given:
        inside = np.flatnonzero(splits == 0)
        splits[inside] = split_groups(labels[inside], groups[inside], (0.9, 0.1, 0.0), seed)
        lines.append("no val folder: a tenth of train became val, by class.")
    lines += patients.shared(groups, splits)
    images, looks = levels.to_uint8(pictures, fit)
    looks += levels.by_class(pictures, labels, names)
    return Folder(images, labels, splits, names, (*looks, *lines))


def split_groups(
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    shares: tuple[float, float, float],
    seed: int,
) -> Int[np.ndarray, " n"]:
    """A split 0, 1 or 2 for each image. A group is never divided; each class comes as near to these shares as that
    allows.

    Groups are assigned in random order, large ones first, each to the split that lacks most images of its classes;
    where two lack the same, train comes before val and val before test.
    """
    classes, ids = int(labels.max()) + 1, np.unique(groups, return_inverse=True)[1].reshape(-1)
    table = np.zeros((int(ids.max()) + 1, classes))
    np.add.at(table, (ids, labels), 1)
    total = np.maximum(table.sum(0), 1)
    lack = np.outer(shares, total)
    order = np.random.default_rng(seed).permutation(len(table))
    order = order[np.argsort(-table[order].sum(1), kind="stable")]
    home = np.zeros(len(table), int)
    for group in order:
        home[group] = np.argmax((lack / total) @ table[group])
        lack[home[group]] -= table[group]
    return home[ids]


def _scan(folder: Path) -> tuple[Files, tuple[str, ...], set[str], list[str]]:
    """All images, class names, the splits of the folder, and lines about other files."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: give a folder with one folder of images per class.")
    inside = {p.name.lower(): p for p in _folders(folder)}
    parted = {name: inside[name] for name in SPLITS if name in inside}
    if parted and not {"train", "test"} <= set(parted):
        raise UserError(
            f"{folder} has {', '.join(parted)} but no {'test' if 'train' in parted else 'train'}: give both (val is"
            " optional), or only folders of classes, which are then split."
        )
    roots = parted or {"train": folder}
    names = tuple(p.name for p in _folders(roots["train"]))
    if len(names) < 2:
        raise UserError(
            f"{roots['train']} holds {'one folder' if names else 'no folders'}: make one folder of images per class,"
            " for at least 2 classes."
        )
    files: Files = []
    others: Counter[str] = Counter()
    aside = [p.name for p in sorted(folder.iterdir()) if _aside(p)]
    deeper = 0
    for split, root in roots.items():
        if strange := [p.name for p in _folders(root) if p.name not in names]:
            raise UserError(
                f"{root} has a class that train does not have: {first_few(strange)}; add it to train or remove it."
            )
        aside += [p.name for p in sorted(root.iterdir()) if root != folder and _aside(p)]
        loose = [path for path in root.iterdir() if path.is_file() and is_image(path)]
        others["outside the folders of classes"] += len(loose)
        for label, name in enumerate(names):
            for path in sorted((root / name).rglob("*")):
                if path.name[0] == "." or not path.is_file():
                    continue
                if is_image(path):
                    files.append((path, label, split))
                    deeper += path.parent != root / name
                else:
                    others[path.suffix.lower() or "no ending"] += 1
    if not files:
        raise UserError(
            f"{folder} holds no {', '.join(s[1:] for s in SUFFIXES)} files in its folders: add images."
        )
    full = {label for _, label, split in files if split == "train"}
    if empty := [name for label, name in enumerate(names) if label not in full]:
        raise UserError(
            f"{roots['train']} holds no image of {first_few(empty)}: add some, or remove the folder."
        )
    kinds = [f"{count} x {kind}" for kind, count in others.most_common() if count]
    lines = [f"files ignored: {first_few(kinds)}."] if kinds else []
    if aside:
        lines.append(
            f"folders ignored, because their names begin with a dot or an underscore: {first_few(aside)}."
        )
    if deeper:
        lines.append(f"{deeper} images were found in subfolders of a class.")
    return files, names, set(roots), lines


def _aside(path: Path) -> bool:
    """Whether it is a folder that is ignored although it may be meant as a class."""
    return path.is_dir() and path.name[0] in "._" and path.name != "__MACOSX"


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones and those that archivers add."""
    found = (p for p in folder.iterdir() if p.is_dir() and p.name[0] not in "._")
    return sorted(found, key=lambda p: (p.name.lower(), p.name))


def _distinct(pictures: list[Picture], files: Files, folder: Path) -> tuple[list[int], list[str]]:
    """Indices of the images without duplicates, and lines about the duplicates. Of the copies, that of test is kept,
    else that of val, else that of train."""
    first: dict[bytes, int] = {}
    across, within, odd = 0, 0, []  # odd: duplicates with another class than the copy kept
    # The sort is stable: within a split, the first copy comes first.
    for index in sorted(range(len(files)), key=lambda i: -SPLITS.index(files[i][2])):
        other = first.setdefault(pictures[index].digest, index)
        if other != index:
            (path, label, split), (kept, kept_label, kept_split) = files[index], files[other]
            across += kept_split != split
            within += kept_split == split
            if kept_label != label:
                odd.append(f"{path.relative_to(folder)} as {kept.relative_to(folder)}")
    lines = []
    if across or within:
        lines.append(
            f"duplicates removed: {across} across splits (the copy in test is kept), {within} within one."
        )
    if odd:
        lines.append(
            f"WARNING: {len(odd)} duplicates have two classes; that of the copy kept is used: {first_few(odd)}."
        )
    return sorted(first.values()), lines
