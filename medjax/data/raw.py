"""What all readers of data sets share: the names of the splits, and the fingerprint."""

import hashlib
from collections.abc import Iterable

import numpy as np

from medjax.types import RawDataset, RawSplit

SPLITS = ("train", "val", "test")


def fingerprint(train: RawSplit, val: RawSplit, test: RawSplit) -> str:
    """First 16 hex digits of the SHA-256 over the splits' shapes, images and labels, in this order."""
    digest = hashlib.sha256()
    for split in (train, val, test):
        for array in split:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def raw_dataset(
    name: str, class_names: tuple[str, ...], splits: dict[str, RawSplit], notes: Iterable[str] = ()
) -> RawDataset:
    """The data set of these splits ("train", "val", "test"), with its fingerprint. A note that is given twice is kept
    once."""
    kept = tuple(dict.fromkeys(notes))
    return RawDataset(name, class_names, **splits, fingerprint=fingerprint(**splits), notes=kept)
