"""Labels from a table, for images whose folders do not say their class."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from medjax.data import patients
from medjax.data.splits import nfc
from medjax.data.tables import Names, read_table
from medjax.errors import UserError, first_few

#: Columns that may say the split of an image.
SPLIT_COLUMNS = ("split", "fold", "set", "subset", "partition")


class LabelTable(NamedTuple):
    """path: a table of CSV or TSV whose first line names the columns. image: the column of file names. label: that of
    the class names. group: that of the patients, or nothing."""

    path: Path
    image: str
    label: str
    group: str = ""


def labelled(
    folder: Path, files: list[tuple[Path, str]], table: LabelTable
) -> tuple[list[tuple[Path, int, str]], tuple[str, ...], Int[np.ndarray, " n"] | None, list[str]]:
    """The images that the table names, with label and split; the class names, sorted; groups, where the table has
    them; and lines.

    files: images and their splits. Raises UserError for a table that does not fit.
    """
    head, rows, columns = _rows(table)
    names, name = Names(folder, [path for path, _ in files]), table.path.name
    labels: dict[int, str] = {}
    groups: dict[int, str] = {}
    unknown: list[str] = []
    unlabelled: dict[int, str] = {}
    for row in rows:
        image, label, group = (row[c] if c is not None and c < len(row) else "" for c in columns)
        index = names.find(image, table.path)
        if index is None:
            unknown.append(image)
        elif not label:
            unlabelled[index] = image
        else:
            for kept, value, what in ((labels, nfc(label), "labels"), (groups, group, "groups")):
                if value and kept.setdefault(index, value) != value:
                    raise UserError(
                        f"{table.path}: {image} has two {what}, {kept[index]} and {value}: keep one."
                    )
    if unlabelled and not labels:
        raise UserError(
            f"{table.path}: column {table.label} is empty for all images: give another."
        )
    if not labels:
        shown, has = [*names.paths, "no image at all"][0], first_few(unknown, 2) or "no lines"
        raise UserError(
            f"{table.path}: column {table.image} names none of the images: it has {has}, and the"
            f" folder {shown}. Give paths below the folder, or file names alone."
        )
    classes = sorted(set(labels.values()), key=_order)
    if len(classes) < 2:
        raise UserError(f"{table.path}: all images have one label, {classes[0]}: give 2 or more.")
    lines = [f"{name}: {len(labels)} images have a label in its column {table.label}."]
    used = (table.image, table.label, table.group)
    if splits := [c for c in head if c.strip().lower() in SPLIT_COLUMNS and c not in used]:
        lines.append(
            f"WARNING: {name}: column {first_few(splits)} is not read; for splits of your own put the images"
            " into train/, val/ and test/."
        )
    bare = [image for i, image in unlabelled.items() if i not in labels]
    missing = [p for i, p in enumerate(names.paths) if i not in labels and i not in unlabelled]
    for text, who in (
        ("lines name no image of the folder", unknown),
        ("images have no label there and were left out", bare),
        ("images are not in the table and were left out", missing),
    ):
        if who:
            lines.append(f"WARNING: {name}: {len(who)} {text}: {first_few(who)}.")
    chosen = sorted(labels)
    made = [(files[i][0], classes.index(labels[i]), files[i][1]) for i in chosen]
    if not table.group:
        return made, tuple(classes), None, lines
    numbers, about = patients.numbered(name, [groups.get(i) for i in chosen])
    return made, tuple(classes), numbers, [*lines, *about]


def _rows(table: LabelTable) -> tuple[list[str], list[list[str]], list[int | None]]:
    """The names of all columns, the lines below them, and the places of the columns for image, label and group."""
    head, *rows = read_table(table.path) or [[]]
    columns: list[int | None] = []
    for flag, name in (
        ("image_column", table.image),
        ("label_column", table.label),
        ("group_column", table.group),
    ):
        if not name and flag == "group_column":
            columns.append(None)
        elif name not in head:
            given = f"no column {name!r}" if name else f"which column is --{flag}?"
            one = "; commas part columns, in a .tsv tabs" if len(head) == 1 else ""
            raise UserError(f"{table.path}: {given}; its columns are {first_few(head, 20)}{one}.")
        else:
            columns.append(head.index(name))
    return head, rows, columns


def _order(name: str) -> tuple[bool, int, str]:
    """Numbers before names, and in their order."""
    number = name.isascii() and name.isdigit() and len(name) < 10
    return not number, int(name) if number else 0, name
