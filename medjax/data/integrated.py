"""The integrated set: a share of several data sets, labelled by the set an image came from (the study's Figure 3)."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from medjax.data.preprocess import resize
from medjax.data.raw import SPLITS, fingerprint
from medjax.errors import UserError
from medjax.types import RawDataset, RawSplit


def take(part: RawDataset, index: int, share: float, seed: int) -> RawDataset:
    """A random share in (0, 1] of each split of a data set, at least one image, in the original order.

    index: the set's place in the list. Each set draws with a key of its own, so that a set added at the end changes
    nothing before it.
    """
    if not 0 < share <= 1:
        raise UserError(f"--integrate_share={share:g} must be above 0 and at most 1")
    splits = {}
    for number, name in enumerate(SPLITS):
        split: RawSplit = getattr(part, name)
        count = max(1, round(share * len(split.labels)))
        rng = np.random.default_rng([seed, index, number])
        chosen = np.sort(rng.choice(len(split.labels), count, replace=False))
        splits[name] = RawSplit(split.images[chosen], split.labels[chosen])
    return part._replace(**splits)


def join(parts: Sequence[RawDataset], share: float, seed: int) -> RawDataset:
    """The shares as one data set, "integrated": class i is parts[i] and has its name.

    Images are RGB (grey ones repeated) and have the smallest side among the parts: networks could recognise an enlarged
    set by its blur. The fingerprint depends on the parts' fingerprints and on share and seed, as given to `take`.
    Raises UserError for fewer than two parts and for two parts with the same name.
    """
    names = tuple(part.name for part in parts)
    if len(names) < 2:
        raise UserError("an integrated set needs two data sets or more: give --integrate=a,b")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two parts of the integrated set are named {', '.join(twice)}: rename one")
    sides = {part.name: part.train.images.shape[1] for part in parts}
    side = min(sides.values())
    splits = {}
    for name in SPLITS:
        images = np.concatenate([common(getattr(part, name).images, side) for part in parts])
        counts = [len(getattr(part, name).labels) for part in parts]
        splits[name] = RawSplit(images, np.repeat(np.arange(len(parts), dtype=np.int32), counts))
    made_of = json.dumps([[part.name, part.fingerprint] for part in parts] + [[share, seed]])
    digest = hashlib.sha256((fingerprint(**splits) + made_of).encode()).hexdigest()[:16]
    notes = tuple(note for part in parts for note in part.notes)
    counts = ", ".join(f"{len(part.train.labels)} {part.name}" for part in parts)
    notes += (f"integrated set: {share:.0%} of each set, training images: {counts}.",)
    if len(set(sides.values())) > 1:
        larger = ", ".join(f"{name} ({s} px)" for name, s in sides.items() if s > side)
        notes += (f"integrated set: images are {side} px, the smallest side; {larger} was shrunk.",)
    return RawDataset("integrated", names, **splits, fingerprint=digest, notes=notes)


def common(images: UInt8[np.ndarray, "n h w c"], side: int) -> UInt8[np.ndarray, "n s s 3"]:
    """Images as RGB, resized to ``side`` pixels."""
    if images.shape[1:3] != (side, side):
        images = np.rint(resize(images, side) * 255).clip(0, 255).astype(np.uint8)
    return np.repeat(images, 3, -1) if images.shape[-1] == 1 else images
