"""Which images show the same patient: the table groups.csv beside a folder's images, or the PatientID of DICOM files.
Scores are too high where one patient is in two splits."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from medjax.data.dicom import patient_of
from medjax.data.tables import Names, read_table
from medjax.errors import UserError, first_few

NAME = "groups.csv"
COLUMNS = ("file", "patient")
#: Patients for three splits.
FEWEST = 3


def read_groups(folder: Path, paths: list[Path]) -> tuple[Int[np.ndarray, " n"] | None, list[str]]:
    """A group number for each image, None where nothing says them, and lines about them. An image's group is its
    patient in groups.csv (columns file and patient), or, without that table, the PatientID of a DICOM file; an image
    without a patient is a group of its own.

    The table names files as `medjax.data.tables.Names` says. Raises UserError for a table that cannot be read, that
    names none of the images, or that gives a file two patients.
    """
    table = next((p for p in sorted(folder.iterdir()) if p.name.lower() == NAME), None)
    if table is None:
        return _of_dicom(paths)
    names = Names(folder, paths)
    found: dict[int, str] = {}
    strange: list[str] = []
    for file, patient in _read(table):
        index = names.find(file, table)
        if index is None:
            strange.append(file)
        elif found.setdefault(index, patient) != patient:
            raise UserError(
                f"{table}: {file} has two patients, {found[index]} and {patient}: keep one."
            )
    if not found:
        raise UserError(f"{table} names none of the images: give paths such as {names.paths[0]}")
    groups, lines = numbered(table.name, [found.get(i) for i in range(len(paths))])
    if strange:
        lines.append(
            f"WARNING: {len(strange)} lines of {table.name} name no image: {first_few(strange)}."
        )
    return groups, lines


def _of_dicom(paths: list[Path]) -> tuple[Int[np.ndarray, " n"] | None, list[str]]:
    """Groups by PatientID. Fewer than there are splits, as of tools that write one for all, say nothing."""
    leak = "images of one patient may be in several splits, and scores would be too high."
    found = [patient_of(path) for path in paths]
    missing = f"no {NAME} (columns {' and '.join(COLUMNS)})"
    counts = Counter(patient for patient in found if patient)
    if not counts:
        return None, [f"{missing}: {leak}"]
    if len(counts) < FEWEST:
        few = f"all DICOM files share {len(counts)} PatientID{'s' * (len(counts) > 1)}"
        return None, [f"WARNING: {missing}, and {few}: {leak}"]
    groups, lines = numbered("PatientID of DICOM files", found)
    if (most := max(counts.values())) > len(found) / 3:
        lines.append(
            f"WARNING: {most} of {len(found)} images have one PatientID, which may stand for none: a {NAME} would win."
        )
    return groups, lines


def numbered(table: str, found: Sequence[str | None]) -> tuple[Int[np.ndarray, " n"], list[str]]:
    """Patients as numbers in the order of the images, and lines. A file must not hold their names."""
    known: dict[object, int] = {}
    keys = [patient or index for index, patient in enumerate(found)]
    groups = np.array([known.setdefault(key, len(known)) for key in keys])
    missing, count = sum(not p for p in found), len({p for p in found if p})
    lines = [f"{table}: {len(found) - missing} images of {count} patients."]
    if missing:
        lines.append(f"WARNING: {missing} images are not in {table}; each is its own group.")
    return groups, lines


def _read(table: Path) -> list[tuple[str, str]]:
    """(file, patient) of each line; without those that have no patient. The first line may name the columns; otherwise
    there must be two."""
    rows = read_table(table)
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
    long = (row for row in rows if len(row) > max(file, patient))
    return [(row[file], row[patient]) for row in long if row[patient]]
