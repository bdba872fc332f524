"""The values that the parts of medjax exchange.

Shape legend, used in every signature: ``n`` images of ``h`` rows, ``w`` columns and ``c`` channels; ``m`` synthetic
images; ``k`` classes; ``e`` experts; ``t`` epochs; ``p`` parameters; ``b`` expert segments.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Num, UInt8

from medjax.packing import Packing

#: A pytree of arrays (parameters, an optimiser's state, ...).
PyTree = Any


class Dataset(NamedTuple):
    """Labelled images in model space: preprocessed, ready for a network. A pytree, so it can live on the device.

    images: float32 [n, h, w, c], whitened or normalised.
    labels: int32 [n], in [0, k).
    packing: of a training split, how the images that are distilled from it hold several. These images hold one each.
    """

    images: Float[Array, "n h w c"]
    labels: Int[Array, " n"]
    packing: Packing = Packing()


class RawSplit(NamedTuple):
    """Labelled images as they are on disk; on the host.

    images: uint8 [n, h, w, c], c = 1 (grey) or 3 (RGB).
    labels: int32 [n], in [0, k).
    groups: int32 [n], a number for each patient, the same in all splits; None where it is not known.
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, " n"]
    groups: Int[np.ndarray, " n"] | None = None


class Size(NamedTuple):
    """Of a data set. images: of train, val and test. pixels: of an image as it comes."""

    classes: int
    channels: int
    images: tuple[int, int, int]
    pixels: int

    @property
    def raw(self) -> int:
        """Bytes of all images as they come."""
        return sum(self.images) * self.pixels * self.channels


class RawDataset(NamedTuple):
    """A whole data set on the host: what `medjax.data.sources.load` returns.

    name: short name for folders and tables ("phantom", "pbc_blood8").
    class_names: k names in label order.
    train, val, test: the three splits.
    fingerprint: first 16 hex digits of a SHA-256 over images, labels and groups; it identifies the data of a result.
    notes: lines that a user should read ("no val split: ...").
    unguarded: why a guarantee under differential privacy cannot be given for training images of these, in sentences.
    """

    name: str
    class_names: tuple[str, ...]
    train: RawSplit
    val: RawSplit
    test: RawSplit
    fingerprint: str
    notes: tuple[str, ...] = ()
    unguarded: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        """How much it holds."""
        _, height, width, channels = self.train.images.shape
        train, val, test = (len(split.labels) for split in (self.train, self.val, self.test))
        return Size(len(self.class_names), channels, (train, val, test), height * width)


class Synthetic(NamedTuple):
    """A distilled set. With the preprocessing (`medjax.share`) it is all that training a network needs. A pytree. Where
    images are packed it holds the stored ones, or, after `medjax.data.preprocess.decoded`, those that networks see.

    images: float32 [m, h, w, c] in model space.
    labels: int32 [m].
    step_size: float32 scalar, the SGD step size that the set was distilled for (MTT learns it).
    soft: float32 [m, k], the share of each class in each image, where networks train on these in place of the labels.
    """

    images: Float[Array, "m h w c"]
    labels: Int[Array, " m"]
    step_size: Float[Array, ""]
    soft: Float[Array, "m k"] | None = None

    @property
    def training(self) -> Dataset:
        """What networks train on."""
        targets: Any = self.labels if self.soft is None else self.soft
        return Dataset(self.images, targets)


class Trajectories(NamedTuple):
    """A host reader of expert trajectories.

    read: (expert, epochs [j]) -> float32 [j, p], the flattened parameters of one expert at these epochs; epoch 0 is
        the initialisation.
    experts: how many experts there are.
    epochs: the last epoch of each; ``epochs + 1`` snapshots.
    """

    read: Callable[[int, np.ndarray], Num[np.ndarray, "j p"]]
    experts: int
    epochs: int
