"""Whether the images of a set stand apart from the real ones: from those that they began as, and from all training
images."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from medjax.data import preprocess
from medjax.data.archive import read_arrays
from medjax.errors import UserError
from medjax.share import SharedSet
from medjax.types import RawDataset

#: Levels of 255 by which images must differ on average from the real ones that they began as. (Those of the rows in
#: docs/results.md differ by 16 and more.)
MOVED = 2.0
#: Levels by which an image may differ from a training image at the least: more than a copy does that was rounded, less
#: than dark images of two patients do at 14 px.
COPY = 0.75
#: Training images that are compared at once.
BLOCK = 1000


class Compared(NamedTuple):
    """Correlations of pixels with the most similar training image, by median and largest: of the images of a set (the
    tiles of a packed one), and of as many test images."""

    median: float
    largest: float
    test_median: float
    test_largest: float

    @property
    def words(self) -> str:
        """A sentence."""
        return (
            f"The correlation of an image with the most similar training image is {self.median:.2f} in the median"
            f" and {self.largest:.2f} at most, that of a test image {self.test_median:.2f} and {self.test_largest:.2f};"
            " 1 is the same picture."
        )


def check_moved(folder: Path, shared: SharedSet) -> None:
    """UserError where the images are still those that they began as: real ones, or those of ``init_set``, which can be
    real. The run's folder keeps the first of each class, as it began, in 8 bits."""
    try:
        begun = read_arrays(folder / "snapshots" / "00000000.npz")["images"]
    except (UserError, KeyError) as error:
        raise UserError(
            f"{folder} has no snapshots/00000000.npz, by which is seen that no image is one it began as: give the"
            " folder as the run left it"
        ) from error
    labels = np.asarray(shared.synthetic.labels)
    first = shared.images_uint8[np.searchsorted(labels, np.arange(len(shared.class_names)))]
    if begun.shape == first.shape and np.abs(first.astype(int) - begun.astype(int)).mean() < MOVED:
        raise UserError(
            f"{folder}: the images have hardly moved from those that they began as: distil longer, or with a"
            " larger --lr_img"
        )


def compare(folder: Path, shared: SharedSet, raw: RawDataset) -> Compared:
    """How like the images, or the tiles of packed ones, are to training images. UserError where one is a training
    image, but for rounding (`COPY`)."""
    ours, seen = _tiles(shared), _seen(shared)
    chosen = np.linspace(0, len(raw.test.images) - 1, min(len(ours), len(raw.test.images)))
    test = _as_tiles(raw.test.images[np.rint(chosen).astype(int)], shared)
    ours, test = (x[:, :seen, :seen].reshape(len(x), -1) for x in (ours, test))
    both = _direction(np.concatenate([ours, test]))
    most = np.full(len(both), -1.0)
    for first in range(0, len(raw.train.images), BLOCK):
        theirs = _as_tiles(raw.train.images[first : first + BLOCK], shared)
        theirs = theirs[:, :seen, :seen].reshape(len(theirs), -1)
        near = ((theirs**2).sum(1) - 2 * ours @ theirs.T).argmin(1)
        if (np.abs(ours - theirs[near]).mean(1) < COPY).any():
            raise UserError(
                f"{folder}: an image of the set is a training image of {raw.name}: distil longer, or with a larger"
                " --lr_img"
            )
        most = np.maximum(most, (both @ _direction(theirs).T).max(1))
    parts = np.split(most, [len(ours)])
    return Compared(*(float(f(part)) for part in parts for f in (np.median, np.max)))


def _side(shared: SharedSet) -> int:
    """Of a tile."""
    return -(-shared.images_uint8.shape[2] // shared.pack)


def _seen(shared: SharedSet) -> int:
    """What is compared of a tile: as much as is left of the last ones, which may be cut."""
    return shared.images_uint8.shape[2] - (shared.pack - 1) * _side(shared)


def _tiles(shared: SharedSet) -> Float[np.ndarray, "t s s c"]:
    """The images of a set, or the tiles of packed ones, in levels of 255."""
    size, channels = shared.images_uint8.shape[2:]
    side, pack = _side(shared), shared.pack
    room = pack * side - size
    stored = np.pad(shared.images_uint8, ((0, 0), (0, room), (0, room), (0, 0)))
    tiles = stored.reshape(-1, pack, side, pack, side, channels).transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(-1, side, side, channels).astype(np.float32)


def _as_tiles(
    images: UInt8[np.ndarray, "n h w c"], shared: SharedSet
) -> Float[np.ndarray, "n s s c"]:
    """Real images as a set shows them, in levels of 255."""
    made = preprocess.resize(images, shared.images_uint8.shape[2])
    if shared.pack > 1:
        made = preprocess.resize(np.rint(made * 255).astype(np.uint8), _side(shared))
    return 255 * made


def _direction(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows whose products are correlations; 0 for one without contrast."""
    centred = rows - rows.mean(1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
