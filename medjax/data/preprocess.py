"""uint8 images -> model space and back: resize, then ZCA whitening, normalisation per channel, or a fixed range.

The map is fitted on the training images alone and then applied to val, test and, later, to the data of whoever uses a
distilled set.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from medjax import packing
from medjax.config import option
from medjax.errors import UserError
from medjax.packing import Packing
from medjax.types import Dataset, RawSplit, Synthetic

#: ZCA's regulariser (added to every eigenvalue), and the largest dimension of its matrices.
ZCA_EPS, ZCA_LIMIT = 0.1, 12_000
#: Of the covariance: the map and its inverse.
POWERS = (-0.5, 0.5)
#: Fixed ranges, the same for every data set: (mean, standard deviation) of intensities in [0, 1].
FIXED = {"none": (0.0, 1.0), "half": (0.5, 0.5)}
KINDS = ("zca", "normalise", *FIXED)
#: The usual side of images, and the smallest, in pixels.
SIDE, SMALLEST = 32, 4
#: Images that are processed at once.
BLOCK = 2_000
#: Contrasts at which a distilled image may be shared, and the largest relative change in model space allowed.
CONTRASTS, ERROR = tuple(2.0 ** (-k / 4) for k in range(21)), 0.05
#: Images in model space.
Images: TypeAlias = Float[np.ndarray | Array, "n s s c"]


@dataclasses.dataclass(frozen=True)
class PreprocessConfig:
    """From uint8 images to model space."""

    size: int = option(
        SIDE,
        f"side that images are resized to, in pixels ({SMALLEST} or more); 0: {SIDE}, and {SIDE - 4} for grey ones",
        low=0,
    )
    whiten: str = option(
        "zca",
        "ZCA whitening; normalise: per channel, by the training images; half: to [-1, 1]; none: [0, 1]",
        choices=KINDS,
    )

    def __post_init__(self) -> None:
        """Raises UserError for images that are too small."""
        if 0 < self.size < SMALLEST:
            raise UserError(f"--size={self.size} is too small: the smallest value is {SMALLEST}")

    def check(self, channels: int) -> None:
        """Raises UserError where ZCA's d x d matrices would be too large for images of so many channels."""
        d = self.size**2 * channels
        if self.whiten == "zca" and d > ZCA_LIMIT:
            raise UserError(
                f"ZCA of {self.size} px images with {channels} channels needs {d} x {d} matrices (limit {ZCA_LIMIT}): "
                f"use --whiten=normalise, or a --size of at most {int((ZCA_LIMIT / channels) ** 0.5)}"
            )


def side_of(channels: int) -> int:
    """The side in pixels that ``size`` = 0 stands for. The ConvNet adds 4 to grey images, as the public MTT code does
    for those of MNIST, so it works on 32 px either way. On the CPU grey images of 32 px take 1.8 times as long as those
    of 28: the tiles of 4 px (medjax/models/winograd.py) cover 16 and 8 px exactly, 18 and 9 badly."""
    return SIDE - 4 if channels == 1 else SIDE


class Preprocessor(NamedTuple):
    """A fitted map. ``kind`` "zca": x -> (x - mean) @ forward with mean [d], forward and inverse [d, d] (symmetric) for
    flattened images, d = size * size * c. Other kinds: (x - mean) * forward per channel, all [c]; "normalise" has the
    mean and the standard deviation of the training images, "none" and "half" those of `FIXED`."""

    kind: str
    size: int
    mean: Float[np.ndarray, " d"]
    forward: Float[np.ndarray, "..."]
    inverse: Float[np.ndarray, "..."]


def resize(images: UInt8[np.ndarray, "n h w c"], size: int) -> Float[np.ndarray, "n s s c"]:
    """uint8 -> float32 in [0, 1], bilinear with half-pixel centres; antialiased where an image shrinks. In NumPy, image
    by image, so that the bits of one depend neither on the others, as differential privacy asks, nor on the device."""
    n, h, w, c = images.shape
    if (h, w) == (size, size):
        return images.astype(np.float32) / np.float32(255)
    down, across = _weights(size, h), _weights(size, w).T
    made = np.empty((n, size, size, c), np.float32)
    for first in range(0, n, BLOCK):
        planes = np.moveaxis(images[first : first + BLOCK], 3, 1).astype(np.float32, order="C")
        planes /= np.float32(255)
        made[first : first + BLOCK] = np.moveaxis(down @ planes @ across, 1, 3)
    return made


def _weights(size: int, side: int) -> Float[np.ndarray, "size side"]:
    """What each pixel of a line has in each of the resized line: those of jax.image.resize."""
    return np.asarray(jax.image.resize(np.eye(side, dtype=np.float32), (size, side), "bilinear"))


def fit(config: PreprocessConfig, images: UInt8[np.ndarray, "n h w c"]) -> Preprocessor:
    """The map for these training images. The size is one in pixels (`medjax.pipeline.resolve.sized`). ZCA: W = U
    diag((s + 0.1)^-1/2) U^T from the covariance U diag(s) U^T with n - 1; its inverse has the power +1/2. Raises
    UserError as ``config.check`` does."""
    c, size = images.shape[-1], config.size
    assert size, "size = 0 is left to the images: `sized` settles it"
    if config.whiten in FIXED:
        mean, std = (np.full(c, value) for value in FIXED[config.whiten])
        return Preprocessor(config.whiten, size, *(_f32(a) for a in (mean, 1 / std, std)))
    d = size * size * c
    # A block at a time, because the resized floats of all images would need too much memory.
    blocks = np.split(images, range(BLOCK, len(images), BLOCK))
    if config.whiten == "normalise":
        places = len(images) * size * size
        sums = [resize(block, size).sum((0, 1, 2), dtype=np.float64) for block in blocks]
        mean = sum(sums) / places
        squares = sum(((resize(block, size) - mean) ** 2).sum((0, 1, 2)) for block in blocks)
        std = np.maximum(np.sqrt(squares / places), 1e-3)
        return Preprocessor("normalise", size, *(_f32(a) for a in (mean, 1 / std, std)))
    config.check(c)
    sums = [resize(block, size).reshape(-1, d).sum(0, dtype=np.float64) for block in blocks]
    mean = _f32(sum(sums) / len(images))
    centred = (resize(block, size).reshape(-1, d) - mean for block in blocks)
    powers = _powers_of_few if len(images) < d else _powers_of_many
    # Exactly symmetric, so that `medjax.share` can store one half.
    maps = (_f32((a + a.T) / 2) for a in powers(centred, len(images), d))
    return Preprocessor("zca", size, mean, *maps)


def _powers_of_many(centred: Iterable[np.ndarray], n: int, d: int) -> Iterator[np.ndarray]:
    """(C + 0.1)^-1/2 and its inverse, [d, d], for the covariance C of n centred images, which come in blocks [_, d]."""
    scatter = np.zeros((d, d))
    for block in centred:
        scatter += block.T @ block
    values, vectors = np.linalg.eigh(scatter / (n - 1))
    values = np.maximum(values, 0) + ZCA_EPS
    for power in POWERS:
        yield (vectors * values**power) @ vectors.T


def _powers_of_few(centred: Iterable[np.ndarray], n: int, d: int) -> Iterator[np.ndarray]:
    """The same where n < d. For images X [n, d], C = X^T X / (n - 1) and K = X X^T / (n - 1) have the same eigenvalues
    but for zeros, and f(C) = f(0) + X^T g(K) X / (n - 1) with g(s) = (f(s) - f(0)) / s: K is smaller than C."""
    x = np.concatenate(list(centred)).astype(np.float64)
    values, vectors = np.linalg.eigh(x @ x.T / (n - 1))
    values = np.maximum(values, 1e-9)  # so that g is its limit at 0
    for power in POWERS:
        g = ((values + ZCA_EPS) ** power - ZCA_EPS**power) / values
        yield x.T @ ((vectors * g) @ vectors.T / (n - 1) @ x) + ZCA_EPS**power * np.eye(d)


def apply(pre: Preprocessor, images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n s s c"]:
    """uint8 images of any size -> float32 model space."""
    made = np.empty((len(images), pre.size, pre.size, images.shape[-1]), np.float32)
    # In place: a list of blocks would take the memory twice.
    for first in range(0, len(images), BLOCK):
        block = images[first : first + BLOCK]
        made[first : first + BLOCK] = forward(pre, resize(block, pre.size))
    return made


def forward(pre: Preprocessor, x: Float[np.ndarray, "n s s c"]) -> Float[np.ndarray, "n s s c"]:
    """Intensities in [0, 1] at the model's size -> model space."""
    if pre.kind == "zca":
        return ((x.reshape(len(x), -1) - pre.mean) @ pre.forward).reshape(x.shape)
    return (x - pre.mean) * pre.forward


def invert(pre: Preprocessor, images: Images) -> Float[np.ndarray, "n s s c"]:
    """Model space -> float32 intensities, nominally in [0, 1] (not clipped). The resize is not undone."""
    x = np.asarray(images, np.float32)
    if pre.kind == "zca":
        return (x.reshape(len(x), -1) @ pre.inverse + pre.mean).reshape(x.shape)
    return x * pre.inverse + pre.mean


def to_uint8(pre: Preprocessor, images: Images) -> UInt8[np.ndarray, "n s s c"]:
    """Model space -> 8-bit images to look at and to share: inverted, clipped, rounded."""
    return np.rint(np.clip(invert(pre, images), 0, 1) * 255).astype(np.uint8)


def packing_of(pre: Preprocessor, factor: int, pixels: bool = False) -> Packing:
    """How stored images hold factor x factor others in this model space, on the device; pixels: kept as pixels."""
    if factor == 1 and not pixels:
        return Packing()
    whole = pre.kind == "zca"
    mean = pre.mean.reshape((1, pre.size, pre.size, -1) if whole else (1, 1, 1, -1))
    maps = (a if whole else a.reshape(1, 1, 1, -1) for a in (pre.forward, pre.inverse))
    return Packing(factor, pixels, *map(jnp.asarray, (mean, *maps)))


def decoded(pre: Preprocessor, stored: Synthetic, factor: int) -> Synthetic:
    """A stored set -> the set that networks see: each image as the factor x factor images that it holds, tile-major
    (`medjax.packing.decode`), in model space. By NumPy alone."""
    if factor == 1:
        return stored
    images = _seen(pre, stored.images, factor)
    labels = np.tile(np.asarray(stored.labels), factor**2)
    soft = stored.soft
    if soft is not None:
        soft = jnp.asarray(np.tile(np.asarray(soft), (factor**2, 1)))
    return Synthetic(jnp.asarray(images), jnp.asarray(labels), stored.step_size, soft)


def _seen(pre: Preprocessor, images: Images, factor: int) -> Float[np.ndarray, "_n s s c"]:
    """Stored images -> the images that they hold, in model space."""
    if factor == 1:
        return np.asarray(images)
    return forward(pre, packing.decode(invert(pre, images), factor))


def into_range(pre: Preprocessor, images: Images, factor: int = 1) -> Images:
    """Distilled images at a contrast that 8-bit pixels can represent; model space -> model space.

    Distilled images exceed the range of a pixel, and clipping them costs ten points of accuracy or more in a network
    trained on them. A factor on an image in model space (its contrast around the training mean) hardly affects a
    network with instance norm. Each image therefore gets the highest of ``CONTRASTS`` at which clipping and rounding
    change it by at most ``ERROR``, or the one at which they change it least. An image in range, such as every real
    image, is not changed. Of an image that holds factor x factor others, it is theirs that counts.
    """
    images = np.asarray(images, np.float32)
    seen, centre = _seen(pre, images, factor), _centre(pre, factor)
    size = np.maximum(_squares(seen, len(images)), 1e-12)
    best, chosen = np.full(len(images), np.inf), np.ones(len(images), np.float32)
    for contrast in map(np.float32, CONTRASTS):
        pixels = to_uint8(pre, centre + contrast * (images - centre))
        shown = _seen(pre, forward(pre, pixels / np.float32(255)), factor)
        errors = np.sqrt(_squares(shown / contrast - seen, len(images)) / size)
        better = (best > ERROR) & (errors < best)
        best, chosen[better] = np.where(better, errors, best), contrast
    return centre + (images - centre) * chosen.reshape(-1, 1, 1, 1)


def _centre(pre: Preprocessor, factor: int) -> Float[np.ndarray, "1 s s c"] | np.float32:
    """A stored image without contrast: it holds the training mean, factor x factor times."""
    if factor == 1 or pre.kind != "zca":
        return np.float32(0)
    mean = pre.mean.reshape(pre.size, pre.size, -1)
    return forward(pre, packing.filled(mean, factor)[None])


def _squares(seen: Float[np.ndarray, "n s s c"], stored: int) -> Float[np.ndarray, " m"]:
    """The sum of squares of each stored image, over all that it holds."""
    return (seen**2).sum((1, 2, 3)).reshape(-1, stored).sum(0)


def _f32(a: Any) -> np.ndarray:
    return np.asarray(a, np.float32)


def to_device(pre: Preprocessor, split: RawSplit) -> Dataset:
    """A split in model space, on the device."""
    return Dataset(jnp.asarray(apply(pre, split.images)), jnp.asarray(split.labels, jnp.int32))
