"""Copies: is the nearest real image of a synthetic one an image of training more often than one that was held out?

Distances never say that an image is no copy: they see pixels, or features of one network. What they can show is an
image that is closer to training than chance allows.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from medjax import share
from medjax.audit.attack import clopper_pearson
from medjax.data import preprocess
from medjax.data.raw import pick
from medjax.distill.kmeans import embed
from medjax.distill.random import random_images
from medjax.pipeline.session import Session
from medjax.share import SharedSet
from medjax.types import Dataset, RawSplit

#: Images that are looked at at once.
WAITING = 4096
#: Images, or what is compared of them, a block at a time.
Blocks = Iterable[Float[np.ndarray, "_ d"]]
#: Images -> what is compared of them.
View = Callable[[np.ndarray], Float[np.ndarray, "_ d"]]


class Closest(NamedTuple):
    """The synthetic images, closest first, for `medjax.report.gallery.pairs`: what is beside each, by heading, and its
    class."""

    columns: dict[str, UInt8[np.ndarray, "m s s c"]]
    names: list[str]


def blocks(
    view: View, images: Shaped[np.ndarray, "n h w c"], rows: Int[np.ndarray, " m"]
) -> Iterator[Float[np.ndarray, "_ d"]]:
    """What ``view`` makes of these rows of the images, `WAITING` at a time: of a whole training set it would take the
    memory of several copies."""
    for first in range(0, len(rows), WAITING):
        yield view(images[rows[first : first + WAITING]])


def nearest(
    rows: Float[np.ndarray, "m d"], among: Blocks
) -> tuple[Float[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """The distance of each row to the nearest of the others, and which that is. The first of equals is meant."""
    least, place, first = np.full(len(rows), np.inf), np.zeros(len(rows), int), 0
    own = (rows.astype(np.float64) ** 2).sum(1)
    for block in among:  # in double precision a block at a time
        others = block.astype(np.float64)
        squares = own[:, None] + (others**2).sum(1)[None] - 2 * rows @ others.T
        near = squares.argmin(1)
        found = squares[np.arange(len(rows)), near]
        place = np.where(found < least, first + near, place)
        least = np.minimum(found, least)
        first += len(block)
    return np.sqrt(np.maximum(least, 0)), place


def as_pixels(images: Float[np.ndarray, "n s s c"]) -> Float[np.ndarray, "n d"]:
    """Each image at mean 0 and length 1: the 8-bit images have less contrast than the set."""
    rows = np.asarray(images, np.float32).reshape(len(images), -1)
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def closer(synthetic: np.ndarray, train: Blocks, held_out: Blocks) -> dict[str, Any]:
    """How many synthetic images are nearer to training than to as many images that were held out; by chance half."""
    ours, theirs = nearest(synthetic, train)[0], nearest(synthetic, held_out)[0]
    count, total = int((ours < theirs).sum()), len(synthetic)
    return {"nearer_to_training": count, "of": total, "share": count / total} | {
        "interval": clopper_pearson(count, total)
    }


def starts(session: Session) -> Int[np.ndarray, " m"]:
    """The training images that each (decoded) image of this run began with, where it began with real ones."""
    labels, packing = session.train.labels, session.train.packing
    numbers = jnp.arange(len(labels), dtype=jnp.float32).reshape(-1, 1, 1, 1)
    places = Dataset(numbers, labels)
    ipc, k, held = session.settings.ipc, session.classes, packing.held
    chosen = random_images(session.key("init"), places, held * ipc, k)[0]
    # In the order in which `packed_images` puts them, and decoding gives them back.
    return np.asarray(chosen, int).reshape(k, held, ipc).swapaxes(0, 1).reshape(-1)


def find_copies(
    session: Session, shared: SharedSet, from_real: bool
) -> tuple[dict[str, Any], Closest]:
    """What is said of copies, and the closest pairs. from_real: whether the run began with random real images."""
    raw, pre, rng = session.raw, session.pre, np.random.default_rng([session.settings.run.seed, 2])
    others = [np.concatenate(a) for a in zip(raw.val[:2], raw.test[:2], strict=True)]
    count = min(len(others[1]), len(raw.train.labels))
    rows = [rng.permutation(len(labels))[:count] for labels in (raw.train.labels, others[1])]
    held = pick(RawSplit(*others), rows[1])
    made, train = np.asarray(share.as_shared(shared).images), np.asarray(session.train.images)
    # Of an untrained network: it has seen no image, where an expert has seen those of training, which alone could bring
    # them closer.
    weights = session.model.init(jax.random.fold_in(session.key("final"), 1))

    def pixels(images: np.ndarray) -> np.ndarray:
        return as_pixels(preprocess.invert(pre, images))

    def features(images: np.ndarray) -> np.ndarray:
        return embed(session.model, *weights, jnp.asarray(images))

    def held_out(view: View) -> Blocks:
        return blocks(
            lambda images: view(preprocess.apply(pre, images)), held.images, np.arange(count)
        )

    found: dict[str, Any] = {"images": len(made), "real_images_of_each_kind": count}
    found["pixels"] = closer(pixels(made), blocks(pixels, train, rows[0]), held_out(pixels))
    if not session.model.separable:
        # What a batch norm makes of an image depends on its batch, and those of training are in the order of the file.
        found["features_left_out"] = "batch statistics"
    elif session.model.features is not None:
        found["features"] = closer(
            features(made), blocks(features, train, rows[0]), held_out(features)
        )
    distance, near = nearest(pixels(made), blocks(pixels, train, np.arange(len(train))))
    if from_real:
        same = int((near == starts(session)).sum())
        found["start_is_nearest"] = {
            "count": same,
            "of": len(made),
            "share": same / len(made),
            "interval": clopper_pearson(same, len(made)),
        }
    order = np.argsort(distance, kind="stable")
    far = nearest(pixels(made), held_out(pixels))[1]
    columns = {
        "synthetic": made[order],
        "training": train[near[order]],
        "held out": preprocess.apply(pre, held.images[far[order]]),
    }
    shown = {name: preprocess.to_uint8(pre, images) for name, images in columns.items()}
    labels = np.tile(np.asarray(shared.synthetic.labels), shared.pack**2)
    return found, Closest(shown, [shared.class_names[label] for label in labels[order]])
