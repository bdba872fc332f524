"""Make an unbalanced set from a balanced one: one class keeps its images, the others are thinned until it holds two
thirds of every split.

    python -m benchmarks.thinned pbc_blood8.npz neutrophil runs/pbc_blood8_thinned.npz
"""

import sys
from pathlib import Path

import numpy as np

from medjax.data import sources
from medjax.data.raw import pick
from medjax.store import write_arrays
from medjax.types import RawSplit

SHARE = 2 / 3


def thin(split: RawSplit, keep: int, rng: np.random.Generator) -> RawSplit:
    """The split with class ``keep`` whole and the other classes thinned in proportion, at least 2 images each."""
    counts = np.bincount(split.labels)
    others = counts[keep] * (1 - SHARE) / SHARE / (len(split.labels) - counts[keep])
    sizes = np.maximum(2, np.rint(counts * others).astype(int))
    sizes[keep] = counts[keep]
    shuffled = rng.permutation(len(split.labels))
    chosen = [shuffled[split.labels[shuffled] == c][:n] for c, n in enumerate(sizes)]
    order = np.sort(np.concatenate(chosen))
    return pick(split, order)


def main(source: str, name: str, target: str) -> None:
    raw = sources.load(source)
    # A file without names calls its classes by number; the blood set's order is BloodMNIST's.
    names = raw.class_names if name in raw.class_names else BLOOD
    rng, arrays = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        thinned = thin(getattr(raw, split), names.index(name), rng)
        arrays |= {f"{split}_images": thinned.images}
        arrays |= {f"{split}_labels": thinned.labels.astype(np.uint8)[:, None]}
        print(split, np.bincount(thinned.labels))
    write_arrays(Path(target), **arrays, class_names=np.array(names))


BLOOD = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)

if __name__ == "__main__":
    main(*sys.argv[1:])
