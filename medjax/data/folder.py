"""A folder of images -> arrays in the MedMNIST layout, and a report.

The folder has either ``train/<class>/*`` and ``test/<class>/*`` (``val/`` is optional), or only ``<class>/*``, which is
split 70/10/20. A table of labels may stand in for the folders of classes.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from medjax import memory
from medjax.data import levels
from medjax.data.display import Window
from medjax.data.label_table import LabelTable
from medjax.data.pixels import MEGAPIXELS, OWN, Picture, read
from medjax.data.planes import Unreadable
from medjax.data.raw import SPLITS
from medjax.data.scan import Files, Found, scan
from medjax.data.splits import SHARES, split_groups
from medjax.errors import UserError, first_few

#: Images that are read to learn how much memory all will need.
PROBED = 24
#: What is said of an image without content.
BLANK = "blank (one value for all pixels, as with a window that does not fit)"


class Folder(NamedTuple):
    """The content of a folder: images uint8 [n, s, s, c] with labels and splits (0 train, 1 val, 2 test), class names,
    the lines of the report, and groups [n], a number for each patient, None where nothing says them."""

    images: UInt8[np.ndarray, "n s s c"]
    labels: Int[np.ndarray, " n"]
    splits: Int[np.ndarray, " n"]
    class_names: tuple[str, ...]
    lines: tuple[str, ...]
    groups: Int[np.ndarray, " n"] | None


def read_folder(
    folder: Path,
    side: int,
    seed: int = 0,
    window: Window = OWN,
    tell: Callable[[int, int], None] = lambda done, total: None,
    *,
    exclude: Sequence[str] = (),
    table: LabelTable | None = None,
    fit: str = "crop",
    megapixels: float = MEGAPIXELS,
) -> Folder:
    """Read the images, resize them to ``side`` pixels, remove duplicates and split.

    window, fit, megapixels: see `pixels.read`. tell: receives (files read, number of files). exclude: patterns of files
    and folders that are left out. table: of labels, where folders are no classes. Raises UserError for a folder without
    such images of two classes, and for one with too few for three splits.
    """
    found = scan(folder, exclude, table)

    def load(path: Path) -> Picture:
        return read(path, side, window, fit, megapixels)

    _divided(folder, found, np.arange(len(found.files)), seed)
    _check_memory(found.files, side, load)
    lines, pictures, kept = found.lines, [], []
    unread: dict[int, str] = {}
    for number, (path, _, _) in enumerate(found.files):
        try:
            pictures.append(load(path))
            kept.append(number)
        except (Unreadable, OSError) as error:
            unread[number] = f"{path.relative_to(folder)} ({error})"
        tell(number + 1, len(found.files))
    if unread:
        lines.append(f"{len(unread)} files could not be read: {first_few([*unread.values()])}.")
    blank = {i for i, picture in zip(kept, pictures, strict=True) if not np.ptp(picture.values)}
    if blank:
        shown = first_few([found.files[i][0].relative_to(folder) for i in sorted(blank)])
        lines.append(f"WARNING: {len(blank)} images are {BLANK}: {shown}.")
    same, removed = _distinct(pictures, [found.files[i] for i in kept], folder)
    lines += removed
    _check_classes(folder, found, unread, blank, {kept[i]: kept[j] for i, j in same.items()})
    order = [i for i in range(len(kept)) if i not in same]
    pictures, kept = [pictures[i] for i in order], np.array(kept)[order]
    labels = np.array([label for _, label, _ in found.files], np.int32)[kept]
    groups = found.groups
    if groups is not None:  # numbered without gaps
        groups = np.unique(groups[kept], return_inverse=True)[1].reshape(-1)
    splits, how = _divided(folder, found, kept, seed)
    lines += how
    images, looks = levels.to_uint8(pictures, fit)
    looks += levels.by_class(pictures, labels, found.names)
    # Names of files need not be text that can be written.
    said = (line.encode("utf-8", "backslashreplace").decode() for line in (*looks, *lines))
    return Folder(images, labels, splits, found.names, tuple(said), groups)


def _divided(
    folder: Path, found: Found, kept: Int[np.ndarray, " n"], seed: int
) -> tuple[Int[np.ndarray, " n"], list[str]]:
    """The split of each image that is kept, and lines about them. Raises UserError where one is empty: before images
    are read, too, for fewer images fill no more."""
    files = [found.files[i] for i in kept]
    labels = np.array([label for _, label, _ in files], np.int32)
    splits = np.array([SPLITS.index(split) for _, _, split in files])
    groups = np.arange(len(files)) if found.groups is None else found.groups[kept]
    whole = "" if found.groups is None else ", as near as whole patients allow"
    lines = []
    if found.given == {"train"}:
        splits = split_groups(labels, groups, SHARES, seed)
        lines = [f"no splits in the folder: 70 % train, 10 % val, 20 % test, by class{whole}."]
    elif "val" not in found.given:
        inside = np.flatnonzero(splits == 0)
        splits[inside] = split_groups(labels[inside], groups[inside], (0.9, 0.1, 0.0), seed)
        lines = [f"no val folder: a tenth of train became val, by class{whole}."]
    if empty := [name for i, name in enumerate(SPLITS) if i not in splits]:
        what = "images" if found.groups is None else "patients, whose images stay together,"
        raise UserError(
            f"{folder}: its {len(np.unique(groups))} {what} leave {' and '.join(empty)} empty: more are needed, or"
            " folders train, val and test"
        )
    return splits, lines


def _check_memory(files: Files, side: int, load: Callable[[Path], Picture]) -> None:
    """UserError for images that will not fit into memory, before all are read. Some of them tell how much one needs: as
    it is read, and twice as bytes while all are joined."""
    raw, channels = [4 * side * side], 1
    for path, _, _ in files[:: -(-len(files) // PROBED)]:
        with contextlib.suppress(Unreadable, OSError):
            picture = load(path)
            raw.append(picture.values.nbytes)
            channels = max(channels, picture.values.shape[-1])
    needed = len(files) * (int(np.mean(raw[1:] or raw)) + 2 * side * side * channels)
    if needed > memory.available():
        raise UserError(
            f"{len(files)} images of {side} px need {memory.words(needed)}, and {memory.words(memory.available())} are"
            " free on this machine: lower --size"
        )


def _check_classes(
    folder: Path, found: Found, unread: dict[int, str], blank: set[int], same: dict[int, int]
) -> None:
    """UserError where nothing is left of a class in train: its first unreadable file and why, or what its images are
    duplicates of. unread: index of a file -> name and reason. blank: indices. same: index of a duplicate -> that of the
    copy kept."""
    for label, name in enumerate(found.names):
        train = [i for i, f in enumerate(found.files) if f[1:] == (label, "train")]
        if any(i not in unread and i not in same for i in train):
            continue
        why = []
        if bad := [unread[i] for i in train if i in unread]:
            why.append(f"{len(bad)} could not be read, the first {bad[0]}")
        if empty := [i for i in train if i in blank]:
            first = found.files[empty[0]][0].relative_to(folder)
            why.append(f"{len(empty)} are {BLANK}, the first {first}")
        if copies := [i for i in train if i in same and i not in blank]:
            one, other = (
                found.files[i][0].relative_to(folder) for i in (copies[0], same[copies[0]])
            )
            why.append(
                f"{len(copies)} are duplicates of images that are kept, the first {one} of {other}"
            )
        none = (
            "no image of {} could be read"
            if len(why) == 1 and bad
            else "no image of {} is left in train"
        )
        raise UserError(
            f"{folder}: {none.format(name)}: {'; '.join(why)}. Replace them, or remove the class."
        )


def _distinct(
    pictures: list[Picture], files: Files, folder: Path
) -> tuple[dict[int, int], list[str]]:
    """Index of each duplicate -> that of the copy kept, and lines about them. Of the copies, that of test is kept, else
    that of val, else that of train."""
    first: dict[bytes, int] = {}
    same: dict[int, int] = {}
    across, within, odd = 0, 0, []  # odd: duplicates with another class than the copy kept
    # The sort is stable: within a split, the first copy comes first.
    for index in sorted(range(len(files)), key=lambda i: -SPLITS.index(files[i][2])):
        other = first.setdefault(pictures[index].digest, index)
        if other != index:
            same[index] = other
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
    return same, lines
