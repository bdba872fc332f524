"""A folder -> its image files with labels and splits, before any image is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int

from medjax.data import layout, patients
from medjax.data.label_table import LabelTable, labelled
from medjax.data.pixels import SUFFIXES, is_image
from medjax.data.splits import nfc
from medjax.data.walk import Walk
from medjax.errors import UserError, first_few
from medjax.paths import check_text

#: Images: (path, label, split).
Files: TypeAlias = list[tuple[Path, int, str]]


class Found(NamedTuple):
    """files: the images. names: of the classes. given: the splits of the folder; "train" alone where it has none.
    groups: a number for each image, None where nothing says which images are of one patient. lines: of the report."""

    files: Files
    names: tuple[str, ...]
    given: set[str]
    groups: Int[np.ndarray, " n"] | None
    lines: list[str]


def scan(folder: Path, patterns: Sequence[str] = (), table: LabelTable | None = None) -> Found:
    """All images of a folder. patterns: files and folders that are left out. table: where the labels are, if not in
    the names of folders. Raises UserError for a folder that cannot be used."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: give a folder with one folder of images per class.")
    walk = Walk(folder, patterns)
    roots, lines = layout.roots(folder, walk, table is None)
    groups = None
    if table is None:
        files, names, more = _by_folders(walk, roots)
    else:
        above = layout.above(folder, [*roots.values()])
        paths = [
            (path, split)
            for split, root in roots.items()
            for path in walk.images(root, above - {layout.place(root)})
        ]
        files, names, groups, more = labelled(folder, paths, table)
    if not files:
        raise UserError(
            f"{folder} holds no {', '.join(s[1:] for s in SUFFIXES)} files in its folders: add images."
            + _passed(walk)
        )
    full = {label for _, label, split in files if split == "train"}
    if empty := [name for label, name in enumerate(names) if label not in full]:
        where = "the folder" if table is None else "it from the table"
        raise UserError(
            f"{roots['train']} holds no image of {first_few(empty)}: add some, or remove {where}."
            + _passed(walk)
        )
    if groups is None:
        groups, about = patients.read_groups(folder, [path for path, _, _ in files])
        more += about
    return Found(files, names, set(roots), groups, [*lines, *walk.lines(), *more])


def _by_folders(walk: Walk, roots: dict[str, Path]) -> tuple[Files, tuple[str, ...], list[str]]:
    """Images whose classes are folders, the names of the classes, and lines."""
    classes: dict[str, dict[str, list[Path]]] = {}  # split -> class -> its folders
    lines: list[str] = []
    for split, root in roots.items():
        folders, loose = walk.entries(root)
        walk.kinds["outside the folders of classes"] += sum(map(is_image, loose))
        found = classes.setdefault(split, {})
        for path in folders:
            check_text(str(path))  # the set and its runs could not hold the name of the class
            found.setdefault(nfc(path.name), []).append(path)
        joined = [name for name, paths in found.items() if len(paths) > 1]
        if joined:
            lines.append(
                f"folders with one name in two spellings of Unicode, joined: {first_few(joined)}."
            )
    names = tuple(sorted(classes["train"], key=lambda name: (name.lower(), name)))
    if len(names) < 2:
        raise UserError(
            f"{roots['train']} holds {'one folder' if names else 'no folders'}: make one folder of images per class,"
            " for at least 2 classes, or name a table: --labels=TABLE.csv --image_column=... --label_column=..."
            + _passed(walk)
        )
    every = [path for found in classes.values() for paths in found.values() for path in paths]
    above, own = layout.above(walk.base, [*roots.values()]), {layout.place(path) for path in every}
    files: Files = []
    deeper = 0
    for split, root in roots.items():
        if strange := [name for name in classes[split] if name not in names]:
            raise UserError(
                f"{root} has a class that train does not have: {first_few(strange)}; add it to train or remove it."
            )
        if not classes[split]:
            raise UserError(f"{root} holds no folders: make one folder of images per class.")
        for label, name in enumerate(names):
            for path in classes[split].get(name, []):
                found = walk.images(path, above | own - {layout.place(path)})
                files += [(image, label, split) for image in found]
                deeper += sum(image.parent != path for image in found)
    if deeper:
        lines.append(f"{deeper} images were found in subfolders of a class.")
    return files, names, lines


def _passed(walk: Walk) -> str:
    """What was passed over, which may be why nothing was found."""
    return "".join(f" ({line})" for line in walk.lines())
