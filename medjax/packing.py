"""Packing: a stored image holds f x f smaller ones (IDC, Kim et al. 2022).

`decode` cuts each stored image into f x f tiles and brings every tile back to the full size; `pack` makes a stored
image of f x f whole ones. Both work on pixels in [0, 1], because a tile of a whitened image is not a whitened image:
`Packing` goes from model space to pixels, decodes and whitens again. All of it is affine, so that every method
differentiates through it. Networks see decoded images alone, in distillation and in evaluation.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from medjax.config import option
from medjax.errors import UserError

#: What a side that f does not divide is padded with, at the bottom right.
GREY = 0.5


@dataclasses.dataclass(frozen=True)
class PackConfig:
    """Smaller images in each stored one."""

    pack: int = option(
        1,
        "f: each stored image holds f x f smaller ones; 1: it is one; 0: val chooses 1 or 2",
        low=0,
    )

    @property
    def held(self) -> int:
        """Images that a stored one holds; one as long as nothing is chosen."""
        return max(1, self.pack) ** 2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Packing:
    """How a method keeps its images; a pytree, whose maps live on the device.

    factor: 1: nothing is packed. pixels: they are kept as pixels in [0, 1], not in model space.
    mean: [1, s, s, c], or [1, 1, 1, c] of a preprocessing per channel. forward, inverse: ZCA's [d, d], or [1, 1, 1, c].
    `medjax.data.preprocess.packing_of` makes it.
    """

    factor: int = dataclasses.field(default=1, metadata={"static": True})
    pixels: bool = dataclasses.field(default=False, metadata={"static": True})
    mean: Any = None
    forward: Any = None
    inverse: Any = None

    @property
    def held(self) -> int:
        """Images that a stored one holds."""
        return self.factor**2

    @property
    def nothing(self) -> bool:
        """Whether the images are kept as networks see them."""
        return self.factor == 1 and not self.pixels

    def decode(self, kept: Float[Array, "m s s c"]) -> Float[Array, "n s s c"]:
        """The images that networks see, in model space, n = held * m, in the order of `decode`."""
        if self.nothing:
            return kept
        pixels = kept if self.pixels else self._pixels(kept)
        return self._images(decode(pixels, self.factor))

    def pack(self, images: Float[Array, "n s s c"]) -> Float[Array, "m s s c"]:
        """Images of model space, in the order of `decode` -> those that hold them, as they are kept."""
        if self.nothing:
            return images
        pixels = pack(self._pixels(images), self.factor)
        return pixels if self.pixels else self._images(pixels)

    def keep(self, stored: Float[Array, "m s s c"]) -> Float[Array, "m s s c"]:
        """Stored images of model space, as a method keeps them."""
        return self._pixels(stored) if self.pixels else stored

    def stored(self, kept: Float[Array, "m s s c"]) -> Float[Array, "m s s c"]:
        """The stored images in model space, of those that a method keeps."""
        return self._images(kept) if self.pixels else kept

    def clip(self, kept: Float[Array, "m s s c"]) -> Float[Array, "m s s c"]:
        """Pixels brought back to [0, 1]; other images as they are."""
        return jnp.clip(kept, 0, 1) if self.pixels else kept

    def labels(self, labels: Num[Array, "m ..."]) -> Num[Array, "n ..."]:
        """The labels of decoded images, or their shares of each class."""
        return labels if self.factor == 1 else jnp.concatenate([labels] * self.held)

    def _pixels(self, images: Array) -> Array:
        return _times(images, self.inverse) + self.mean

    def _images(self, pixels: Array) -> Array:
        return _times(pixels - self.mean, self.forward)


def decode(images: Float[np.ndarray | Array, "m s s c"], factor: int) -> Any:
    """Pixels of stored images -> those of the images that they hold, [factor * factor * m, s, s, c].

    A stored image is cut into factor x factor tiles of side ceil(s / factor), padded with mid grey at the bottom right
    first where they need more room; each is enlarged to s x s, bilinear with half-pixel centres. The order is
    tile-major: the first tile (top left) of all images, then the second (to its right) of all, and so on. NumPy alone
    where the images are of NumPy.
    """
    if factor == 1:
        return images
    s, c = images.shape[2:]
    one_axis = _enlargements(s, factor).astype(images.dtype)
    if isinstance(images, np.ndarray):
        product = functools.partial(np.einsum, optimize=True)
    else:
        product = functools.partial(jnp.einsum, precision="highest")
    # Around mid grey padding is zero, and what it adds need not be computed.
    tiles = product("aip,bjq,mpqc->abmijc", one_axis, one_axis, images - GREY)
    return tiles.reshape(-1, s, s, c) + GREY


def _enlargements(s: int, factor: int) -> Float[np.ndarray, "f s s"]:
    """Along one axis: place i of enlarged tile t = sum over p of [t, i, p] * place p of the stored image."""
    side = -(-s // factor)
    places = np.clip((np.arange(s) + 0.5) * side / s - 0.5, 0, side - 1)
    weights = np.maximum(0, 1 - np.abs(places.reshape(-1, 1) - np.arange(side)))
    return np.kron(np.eye(factor).reshape(factor, 1, factor), weights[None])[..., :s]


def pack(images: Float[Array, "n s s c"], factor: int) -> Float[Array, "m s s c"]:
    """Pixels of images, in the order of `decode` -> those of stored images: each is shrunk (antialiased) into its tile,
    and cut where the last tiles reach over the edge."""
    if factor == 1:
        return images
    n, s, _, c = images.shape
    side = -(-s // factor)
    small = jax.image.resize(images, (n, side, side, c), "bilinear")
    tiles = small.reshape(factor, factor, -1, side, side, c).transpose(2, 0, 3, 1, 4, 5)
    return tiles.reshape(-1, factor * side, factor * side, c)[:, :s, :s]


def filled(image: Float[np.ndarray, "s s c"], factor: int) -> Float[np.ndarray, "s s c"]:
    """Pixels of the stored image that holds this one, factor x factor times: least squares of what it decodes to."""
    s = image.shape[0]
    solve = np.linalg.pinv(_enlargements(s, factor).reshape(-1, s))
    held = np.tile(image - GREY, (factor, factor, 1))
    found = np.einsum("pa,qb,abc->pqc", solve, solve, held, optimize=True) + GREY
    return found.astype(image.dtype)


def fits(factor: int, size: int) -> bool:
    """Whether every tile of an image of side ``size`` has a pixel of its own."""
    return (factor - 1) * -(-size // factor) < size


def check(factor: int, size: int) -> None:
    """UserError for tiles that lie outside the image. A factor of 0 is not chosen yet."""
    if factor and not fits(factor, size):
        largest = max(f for f in range(1, min(factor, size + 1)) if fits(f, size))
        raise UserError(
            f"--pack={factor} leaves tiles of a {size} px image without a pixel: give --pack={largest}, or a"
            " larger --size"
        )


def _times(images: Float[Array, "n s s c"], by: Array) -> Float[Array, "n s s c"]:
    """ZCA's product with flattened images, or a factor per channel."""
    if by.ndim == 4:
        return images * by
    flat = images.reshape(len(images), -1)
    return jnp.matmul(flat, by, precision="highest").reshape(images.shape)
