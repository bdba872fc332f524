"""The labels of a file -> classes 0..k-1, or one line that says what is wrong with them."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from medjax.data.raw import pick
from medjax.data.splits import split_groups
from medjax.errors import UserError, first_few
from medjax.types import RawSplit

#: What a class without a name is called, by its label.
UNNAMED = "class {}"
VAL_SHARE = 0.1  # of the training images, where a file has no validation split


def unnamed(class_names: Sequence[str]) -> bool:
    """Whether a data set gave its classes no names."""
    return all(re.fullmatch(UNNAMED.format(r"\d+"), name) for name in class_names)


def as_classes(
    path: Path, name: str, labels: np.ndarray, count: int, notes: list[str]
) -> Int[np.ndarray, " n"]:
    """A split's labels as int32 [n]: integers, whole floats, or one-hot rows; [n] or [n, 1] or [n, k].

    count: the number of images in the split. notes: receives a line about every conversion. Raises UserError for
    everything else.
    """
    where = f"{path}: {name}_labels"
    if labels.dtype.kind == "b" and labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.astype(np.uint8)
    if labels.dtype.kind not in "iuf":
        raise UserError(f"{where} is {labels.dtype}, expected whole numbers 0..k-1.")
    if labels.ndim not in (1, 2) or 0 in labels.shape[1:]:
        raise UserError(f"{where} has shape {labels.shape}, expected [n], [n, 1] or one-hot [n, k]")
    if len(labels) != count:
        raise UserError(f"{path}: {name} has {count} images but {len(labels)} labels.")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise UserError(f"{where} holds {labels[~np.isfinite(labels)][0]}; labels are 0..k-1.")
        if len(odd := labels[labels != np.floor(labels)]):
            raise UserError(f"{where} holds {odd[0]:g}, not a whole number; labels are 0..k-1.")
        notes.append(f"{name}_labels are whole numbers as {labels.dtype}; converted to integers.")
    if labels.ndim == 2 and labels.shape[1] > 1:
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
            raise UserError(
                f"{where} has shape {labels.shape}: several labels per image, and not one-hot; save one label per"
                " image, [n] or [n, 1]."
            )
        notes.append(f"{name}_labels are one-hot; they were converted to class numbers.")
        labels = labels.argmax(1)
    labels = labels.reshape(-1)
    for bad in (labels.min().item(), labels.max().item()):
        if not 0 <= bad <= np.iinfo(np.int32).max:
            raise UserError(f"{where} holds {bad:.16g}; labels are 0..k-1.")
    return labels.astype(np.int32)


def renumbered(
    path: Path, labels: dict[str, np.ndarray], notes: list[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The splits' labels as 0..k-1 without gaps, and the label [k] that each class had in the file.

    Raises UserError for fewer than two classes in train, and for a class that is not in train.
    """
    present = np.unique(labels["train"])
    gaps = len(present) <= present[-1]
    shown = first_few(present.tolist(), 8) if gaps else f"0..{present[-1]}"
    if len(present) < 2:
        raise UserError(f"{path}: train_labels has only one class ({present[0]}); give 2 or more.")
    for name, split in labels.items():
        if len(strange := np.setdiff1d(split, present)):
            raise UserError(
                f"{path}: {name}_labels holds class {strange[0]}, not in train ({shown})."
            )
    if not gaps:
        return labels, present
    notes.append(f"labels have gaps: {shown} were renumbered 0..{len(present) - 1}, in this order.")
    return {n: np.searchsorted(present, s).astype(np.int32) for n, s in labels.items()}, present


def carve_val(path: Path, train: RawSplit, k: int) -> tuple[RawSplit, RawSplit]:
    """Train split into (train, val): val gets a tenth of each class, at least one image where a class has two; a group
    of images stays together."""
    rng = np.random.default_rng(0)
    chosen = np.zeros(len(train.labels), bool)
    if train.groups is not None:
        shares = (1 - VAL_SHARE, VAL_SHARE, 0.0)
        chosen = split_groups(train.labels, train.groups, shares, seed=0) == 1
    for label in range(k if train.groups is None else 0):
        members = rng.permutation(np.flatnonzero(train.labels == label))
        chosen[members[: max(round(VAL_SHARE * len(members)), int(len(members) >= 2))]] = True
    if not chosen.any():
        few = "image" if train.groups is None else "patient"
        raise UserError(
            f"{path}: no val split, and one training {few} per class is too few to make one: add images."
        )
    return pick(train, ~chosen), pick(train, chosen)
