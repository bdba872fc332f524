"""What all readers of data sets share: names of splits, the fingerprint, notes on what splits lack or share."""

import hashlib
from collections import Counter
from collections.abc import Iterable

import numpy as np

from medjax.errors import UserError, first_few
from medjax.types import RawDataset, RawSplit

SPLITS = ("train", "val", "test")
#: Pixels a side that a user is told to try for images as large or larger.
LARGE = 64
#: What a class without images in a split means.
LACKING = {
    "val": "what is chosen on val is chosen without it",
    "test": "the scores say nothing about it",
}


def fingerprint(train: RawSplit, val: RawSplit, test: RawSplit) -> str:
    """First 16 hex digits of the SHA-256 over the splits' shapes, images, labels and, where there are some, groups, in
    this order."""
    digest = hashlib.sha256()
    for split in (train, val, test):
        for array in (a for a in split if a is not None):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def raw_dataset(
    name: str,
    class_names: tuple[str, ...],
    splits: dict[str, RawSplit],
    notes: Iterable[str] = (),
    unguarded: Iterable[str] = (),
) -> RawDataset:
    """The data set of these splits ("train", "val", "test"), with its fingerprint, and notes on classes that a split
    lacks and on what splits share. A note that is given twice is kept once. unguarded: as in `RawDataset`."""
    found = (
        *notes,
        *_lacking(splits, class_names),
        *_shared_images(splits),
        *_shared_groups(splits),
    )
    kept, why = tuple(dict.fromkeys(found)), tuple(unguarded)
    return RawDataset(
        name, class_names, **splits, fingerprint=fingerprint(**splits), notes=kept, unguarded=why
    )


def check_in_memory(raw: RawDataset) -> None:
    """UserError for a data set of the user's making that is not as `RawDataset` says: nobody has checked its arrays,
    and folders are named by its fingerprint."""
    if not isinstance(raw, RawDataset):
        raise UserError(
            f"data is a {type(raw).__name__}: give what medjax.load or medjax.from_arrays returns"
        )
    k, shape = len(raw.class_names), np.shape(raw.train.images)
    for name in SPLITS:
        images, labels = (np.asarray(array) for array in getattr(raw, name)[:2])
        groups = getattr(raw, name).groups
        wrong = ""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            wrong = f"images are {images.dtype} {images.shape}, expected uint8 [n, h, w, 1 or 3]"
        elif images.shape[1:] != shape[1:]:
            wrong = f"images are {images.shape[1:]}, those of train {shape[1:]}"
        elif labels.dtype.kind not in "iu" or labels.shape != (len(images),):
            wrong = f"labels are {labels.dtype} {labels.shape}, expected {len(images)} integers"
        elif len(labels) and not 0 <= labels.min() <= labels.max() < k:
            wrong = f"labels are {labels.min()} to {labels.max()}, expected 0 to {k - 1}"
        elif groups is not None and np.shape(groups) != labels.shape:
            wrong = f"groups are {np.shape(groups)}, expected one for each of {len(images)} images"
        if wrong:
            raise UserError(f"{name} of {raw.name}: {wrong}: make it by medjax.from_arrays")
    if raw.fingerprint != fingerprint(raw.train, raw.val, raw.test):
        raise UserError(
            f"{raw.name} does not hold the images of its fingerprint: make it by medjax.from_arrays"
        )


def pick(split: RawSplit, chosen: np.ndarray) -> RawSplit:
    """Some images of a split: a mask, or indices in the order wanted."""
    groups = None if split.groups is None else split.groups[chosen]
    return RawSplit(split.images[chosen], split.labels[chosen], groups)


def shrunk(side: int, size: int) -> list[str]:
    """A line where images of ``side`` pixels are larger than the ``size`` that networks see, and how they see more."""
    if side <= size:
        return []
    return [
        f"images of {side} px are resized to {size} px; for larger ones: python -m experiments.mtt --preset=best"
        f" --size={min(side, LARGE)} --whiten=normalise"
    ]


def _lacking(splits: dict[str, RawSplit], class_names: tuple[str, ...]) -> list[str]:
    """A warning where val or test has no image of a class."""
    lines = []
    for split, meaning in LACKING.items():
        counts = np.bincount(splits[split].labels, minlength=len(class_names))
        if none := [name for name, count in zip(class_names, counts, strict=True) if not count]:
            lines.append(f"WARNING: {split} has no image of {first_few(none)}: {meaning}.")
    return lines


def _shared_images(splits: dict[str, RawSplit]) -> list[str]:
    """A line where images of val or test are also in train."""
    known = {_digest(image) for image in splits["train"].images}
    lines = []
    for name in ("val", "test"):
        images = splits[name].images
        if count := sum(_digest(image) in known for image in images):
            lines.append(
                f"{count} of the {len(images)} {name} images are also in train: scores will be too high."
            )
    return lines


def repeated(raw: RawDataset) -> np.ndarray:
    """Which training images occur once more in the data, as a mask."""
    own = [_digest(image) for image in raw.train.images]
    counts = Counter(own + [_digest(i) for s in (raw.val, raw.test) for i in s.images])
    return np.array([counts[digest] > 1 for digest in own])


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def _shared_groups(splits: dict[str, RawSplit]) -> list[str]:
    """A warning where a group, the images of one patient, is in more than one split."""
    found = [np.unique(s.groups) for s in splits.values() if s.groups is not None]
    numbers = np.unique(np.concatenate(found), return_counts=True)[1] if found else np.zeros(0)
    count = int((numbers > 1).sum())
    text = f"WARNING: {count} patients are in more than one split: scores will be too high."
    return [text] if count else []


def in_order(raw: RawDataset, names: tuple[str, ...]) -> RawDataset:
    """The data with its classes in the order of ``names``, where they are the same names in another order."""
    if raw.class_names == names or sorted(raw.class_names) != sorted(names):
        return raw
    place = np.array([names.index(name) for name in raw.class_names], np.int32)
    splits = {n: getattr(raw, n)._replace(labels=place[getattr(raw, n).labels]) for n in SPLITS}
    return raw._replace(class_names=names, **splits)
