"""Train, val and test: by what names data sets call them, and how images are divided among them."""

import re
import unicodedata
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

#: Names of a split, in any case.
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_SPLIT = {name: split for split, names in NAMES.items() for name in names}
#: Shares of train, val and test.
SHARES = (0.7, 0.1, 0.2)
#: Kinds of groups up to which pairs of moves and random starts are tried too; how many starts; most moves from each.
SMALL, STARTS, STEPS = 40, 12, 300
#: One group goes: (index of its kind, split, other split).
Move: TypeAlias = tuple[int, int, int]


def nfc(name: str) -> str:
    """A name in Unicode's composed form, for systems differ in how they store an accent."""
    return unicodedata.normalize("NFC", name)


def split_of(name: str) -> str | None:
    """The split that a name means: "Training" is train. None for another name."""
    return _SPLIT.get(name.strip().lower())


def resembles(name: str) -> str | None:
    """The split that a name like "training_set", "TestData" or "val_images" seems to mean."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    stems = [re.sub("(set|data)$", "", word.lower()) for word in words]
    found = {_SPLIT[stem] for stem in stems if stem in _SPLIT}
    return found.pop() if len(found) == 1 else None


def twice(names: Iterable[str]) -> list[str]:
    """The first names that mean the same split, or nothing."""
    named: dict[str | None, list[str]] = {}
    for name in names:
        named.setdefault(split_of(name), []).append(name)
    named.pop(None, None)
    return next((same for same in named.values() if len(same) > 1), [])


def split_groups(
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    shares: tuple[float, float, float],
    seed: int,
) -> Int[np.ndarray, " n"]:
    """A split 0, 1 or 2 for each image. A group is never divided. Train has every class; where the groups allow it no
    split is empty, and each has every class; each class comes as near to these shares as that allows.

    Groups are assigned in random order, large ones first, each to the split that lacks most images of its classes;
    where two lack the same, train comes before val and val before test. If classes are then missing in a split, groups
    are moved, one by one and in pairs, from this start and from random ones, and the best result is taken.
    """
    classes, ids = int(labels.max()) + 1, np.unique(groups, return_inverse=True)[1].reshape(-1)
    table = np.zeros((int(ids.max()) + 1, classes))
    np.add.at(table, (ids, labels), 1)
    total = np.maximum(table.sum(0), 1)
    lack = np.outer(shares, total)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table))
    order = order[np.argsort(-table[order].sum(1), kind="stable")]
    home = np.zeros(len(table), int)
    for group in order:
        home[group] = np.argmax((lack / total) @ table[group])
        lack[home[group]] -= table[group]
    return (home if _complete(table, home, shares) else _completed(table, home, shares, rng))[ids]


def _complete(
    table: Float[np.ndarray, "g k"], home: Int[np.ndarray, " g"], shares: tuple[float, ...]
) -> bool:
    """Whether no split is empty and each class is in train and in as many splits as it can be."""
    wanted = np.flatnonzero(shares)
    has = table[:, table.any(0)] > 0
    full = np.array([has[home == split].any(0) for split in wanted])
    most = np.minimum(has.sum(0), len(wanted))
    return bool(full[0].all() and full.any(1).all() and (full.sum(0) == most).all())


def _completed(
    table: Float[np.ndarray, "g k"],
    home: Int[np.ndarray, " g"],
    shares: tuple[float, ...],
    rng: np.random.Generator,
) -> Int[np.ndarray, " g"]:
    """The best splits of the groups that the search finds. table: images of each class in each group."""
    # Groups with the same images of each class are one kind: only how many of a kind a split has matters.
    kinds, kind_of = np.unique(table, axis=0, return_inverse=True)
    starts = [home]
    if len(kinds) <= SMALL:
        wanted = np.flatnonzero(shares)
        starts += [rng.choice(wanted, len(home)) for _ in range(STARTS)]
    best, result = -1.0, home
    for start in starts:
        found, worth = _climbed(kinds, kind_of.reshape(-1), start, np.array(shares))
        if worth > best + 1e-9:
            best, result = worth, found
    return result


def _climbed(
    kinds: Float[np.ndarray, "u k"],
    kind_of: Int[np.ndarray, " g"],
    home: Int[np.ndarray, " g"],
    shares: Float[np.ndarray, " 3"],
) -> tuple[Int[np.ndarray, " g"], float]:
    """Splits of the groups that no move makes better, and their worth."""
    home, held = home.copy(), np.zeros((len(kinds), len(shares)), int)
    np.add.at(held, (kind_of, home), 1)
    for _ in range(STEPS):
        better = _better(kinds, held, shares)
        for kind, source, target in better:
            held[kind] += (np.arange(3) == target) * 1 - (np.arange(3) == source)
            home[np.flatnonzero((kind_of == kind) & (home == source))[-1]] = target
        if not better:
            break
    return home, float(_worth((held.T @ kinds)[None], shares)[0])


def _better(
    kinds: Float[np.ndarray, "u k"], held: Int[np.ndarray, "u 3"], shares: Float[np.ndarray, " 3"]
) -> list[Move]:
    """The move, or else the pair of moves, that raises the worth most; nothing where none does."""
    images = held.T @ kinds
    now = float(_worth(images[None], shares)[0]) + 1e-9
    moves = _moves(held, shares)
    after = _moved(images, kinds, moves)
    worth = _worth(after, shares)
    if worth.max() > now:
        return [moves[worth.argmax()]]
    best: list[Move] = []
    for first, between in zip(moves, after, strict=True) if len(kinds) <= SMALL else ():
        left = held.copy()
        left[first[0], first[1]] -= 1
        seconds = _moves(left, shares)
        worth = _worth(_moved(between, kinds, seconds), shares) if seconds else np.zeros(1)
        if worth.max() > now:
            now, best = float(worth.max()), [first, seconds[worth.argmax()]]
    return best


def _moves(held: Int[np.ndarray, "u 3"], shares: Float[np.ndarray, " 3"]) -> list[Move]:
    """Every way to move one group."""
    places, wanted = np.argwhere(held > 0).tolist(), np.flatnonzero(shares).tolist()
    return [(kind, source, to) for kind, source in places for to in wanted if to != source]


def _moved(
    images: Float[np.ndarray, "3 k"], kinds: Float[np.ndarray, "u k"], moves: list[Move]
) -> Float[np.ndarray, "m 3 k"]:
    """The images of each split and class after each of the moves."""
    kind, source, target = np.array(moves).T
    after, every = np.repeat(images[None], len(moves), 0), np.arange(len(moves))
    after[every, source] -= kinds[kind]
    after[every, target] += kinds[kind]
    return after


def _worth(
    images: Float[np.ndarray, "m 3 k"], shares: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, " m"]:
    """How good splits are: first by the classes in train, then by the splits that are not empty, by the classes in all
    splits, and last by how near the classes come to the shares."""
    k, full = images.shape[2], images > 0
    counts = (full[:, 0].sum(-1) * 4 + full.any(-1).sum(-1)) * (3 * k + 1) + full.sum((1, 2))
    parts = images / np.maximum(images.sum(1, keepdims=True), 1)
    return counts - np.abs(parts - shares[:, None]).sum(1).mean(-1) / 2.01
