"""The images whose membership is attacked, and the data sets of shadows, which hold a random half of them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from medjax.data.raw import fingerprint, pick, repeated
from medjax.errors import UserError
from medjax.types import RawDataset

#: The fewest canaries that statistics are made of; by default a tenth of the units, but not more than `USUAL`.
LEAST, USUAL = 4, 200
#: A class loses at most one image in so many to canaries.
SHARE = 4


class Canaries(NamedTuple):
    """n canaries, each an image of training and the unit that it stands for: its patient, or itself.

    rows [n]: the images, as places in train. labels [n]: what they are labelled as. mislabelled [n]: where that is
    wrong. owner: of every training image the canary that it comes and goes with, -1: none. unit: "patient" or "image".
    """

    rows: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    mislabelled: Bool[np.ndarray, " n"]
    owner: Int[np.ndarray, " images"]
    unit: str


def draw(raw: RawDataset, wanted: int, seed: int, least: int) -> Canaries:
    """Random canaries, half of them with a random wrong label.

    wanted: how many; 0: a tenth of the patients (or images), an even number, at most `USUAL`. least: images of each
    class that must be left without any canary. An image that occurs twice, or a patient of val or test, is none: the
    copy would stay in every shadow. Raises UserError where there are not as many.
    """
    rng, labels = np.random.default_rng([seed, 0]), raw.train.labels
    grouped = raw.train.groups is not None
    units = raw.train.groups if raw.train.groups is not None else np.arange(len(labels))
    elsewhere = [g for g in (raw.val.groups, raw.test.groups) if g is not None]
    barred = np.isin(units, np.concatenate(elsewhere)) if elsewhere else np.zeros(len(units), bool)
    barred |= np.isin(units, units[repeated(raw)])
    members = _members(units)
    candidates = rng.permutation(np.unique(units[~barred]))
    asked = wanted or max(LEAST, min(USUAL, len(members) // 10 // 2 * 2))
    k = len(raw.class_names)
    counts = np.bincount(labels, minlength=k)
    room, chosen = np.minimum(counts // SHARE, counts - least), []
    for one in candidates:
        lost = np.bincount(labels[members[one]], minlength=k)
        if len(chosen) < asked and (lost <= room)[lost > 0].all():
            chosen.append(one)
            room = room - lost
    unit, count = "patient" if grouped else "image", len(chosen)
    if count < LEAST:
        raise UserError(
            f"{raw.name} has too few training images for an audit: of {LEAST} {unit}s that come and go, {count} can be"
            f" spared (they must be in training alone, and a class can spare one image in {SHARE}): use a set with more"
            " of each class"
        )
    if count < wanted:
        raise UserError(
            f"--canaries={wanted}: {raw.name} can spare {count} {unit}s (they must be in training alone, and a class"
            f" can spare one image in {SHARE}): give at most {count}"
        )
    rows = np.array([rng.choice(members[unit]) for unit in chosen])
    mislabelled = np.arange(count) < count // 2  # they are in random order
    other = (labels[rows] + rng.integers(1, k, count)) % k
    owner = np.full(len(labels), -1)
    for number, one in enumerate(chosen):
        owner[members[one]] = number
    given = np.where(mislabelled, other, labels[rows]).astype(np.int32)
    return Canaries(rows, given, mislabelled, owner, unit)


def _members(units: Int[np.ndarray, " n"]) -> dict[int, np.ndarray]:
    """The images of each unit."""
    order = np.argsort(units, kind="stable")
    names, first = np.unique(units[order], return_index=True)
    return dict(zip(names.tolist(), np.split(order, first[1:]), strict=True))


def half(canaries: Canaries, seed: int, shadow: int) -> Bool[np.ndarray, " n"]:
    """Which canaries are in a shadow: a random half, drawn for each shadow alone. So the other shadows say nothing of
    who is in this one, and more shadows can be added."""
    count = len(canaries.rows)
    order = np.random.default_rng([seed, 1, shadow]).permutation(count)
    inside = np.zeros(count, bool)
    inside[order[: count // 2]] = True
    return inside


def shadow_data(raw: RawDataset, canaries: Canaries, inside: Bool[np.ndarray, " n"]) -> RawDataset:
    """The data with the canaries that are in, as they are labelled, and all other training images."""
    labels = raw.train.labels.copy()
    labels[canaries.rows] = canaries.labels
    kept = (canaries.owner < 0) | inside[canaries.owner]
    train = pick(raw.train._replace(labels=labels), kept)
    return raw._replace(train=train, fingerprint=fingerprint(train, raw.val, raw.test), notes=())
