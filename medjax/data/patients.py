"""Which images show the same patient: the table groups.csv beside a folder's images. Scores are too high where one
patient is in two splits."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Int

from medjax.errors import UserError

NAME = "groups.csv"
COLUMNS = ("file", "patient")


def read_groups(folder: Path, paths: list[Path]) -> tuple[Int[np.ndarray, " n"], list[str]]:
    """A group number for each image, and lines about them. An image's group is its patient in groups.csv (columns file
    and patient); an image without a patient is a group of its own.

    The table names files by their path below the folder, or by their last part alone. Raises UserError for a table that
    cannot be read, that names none of the images, or that gives a file two patients.
    """
    table = next((p for p in sorted(folder.iterdir()) if p.name.lower() == NAME), None)
    if table is None:
        line = f"no {NAME}: images of one patient may be in several splits, and scores would be too high."
        return np.arange(len(paths)), [line]
    named = _read(table)
    found = [named.get(p.relative_to(folder).as_posix()) or named.get(p.name) for p in paths]
    if not any(found):
        raise UserError(
            f"{table} names none of the images: give paths such as {paths[0].relative_to(folder).as_posix()}"
        )
    keys = [group or f"\0{path}" for group, path in zip(found, paths, strict=True)]
    ids = np.unique(np.array(keys), return_inverse=True)[1].reshape(-1)
    missing, count = found.count(None), len({*found} - {None})
    lines = [f"{table.name}: {len(paths) - missing} images of {count} patients."]
    if missing:
        lines.append(f"WARNING: {missing} images are not in {table.name}; each is its own group.")
    return ids, lines


def _read(table: Path) -> dict[str, str]:
    """File -> patient; a file without a patient is left out. The first line may name the columns; otherwise there must
    be two."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as handle:
            rows = [[word.strip() for word in row] for row in csv.reader(handle) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table}: not a table of text ({error}); save as CSV in UTF-8.") from error
    head = [word.lower() for word in rows[0]] if rows else []
    if set(COLUMNS) <= set(head):
        file, patient = (head.index(name) for name in COLUMNS)
        rows = rows[1:]
    elif wrong := [row for row in rows if len(row) != 2]:
        raise UserError(
            f"{table}: expected two columns, file and patient, separated by a comma, or a first line that names these"
            f" two columns; found {','.join(wrong[0])!r}."
        )
    else:
        file, patient = 0, 1
    named: dict[str, str] = {}
    for row in rows:
        if len(row) <= max(file, patient) or not row[patient]:
            continue
        name = row[file].replace("\\", "/").removeprefix("./")
        if named.setdefault(name, row[patient]) != row[patient]:
            raise UserError(
                f"{table}: {name} has two patients, {named[name]} and {row[patient]}: keep one."
            )
    return named


def shared(groups: Int[np.ndarray, " n"], splits: Int[np.ndarray, " n"]) -> list[str]:
    """A warning where the splits given by the folder share patients."""
    pairs = set(zip(groups.tolist(), splits.tolist(), strict=True))
    count = sum(n > 1 for n in Counter(group for group, _ in pairs).values())
    text = f"WARNING: {count} patients are in more than one split: scores will be too high."
    return [text] if count else []
