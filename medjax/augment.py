"""Differentiable siamese augmentation, DSA (Zhao & Bilen 2021), strategy color_crop_cutout_flip_scale_rotate.

Each call draws one of the six families, and its parameters once per image or (``siamese``) once for all images. The
public code branches on the family. Under `vmap` a branch would run all its arms, so here the family only selects
parameters: every call is one pixel-wise colour map, one bilinear warp and one mask, in which the families not drawn
have the parameters of the identity.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from medjax.config import option
from medjax.errors import UserError
from medjax.types import PyTree

FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate")
SCALE, ROTATE, CROP, CUTOUT = 1.2, 15.0, 0.125, 0.5
BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5
ALL = "_".join(FAMILIES)


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of the images while a set is distilled."""

    augment: str = option(ALL, "families of DSA while distilling, joined by _; none: as they are")

    def __post_init__(self) -> None:
        """Raises UserError for an unknown family."""
        self.chosen  # noqa: B018

    @property
    def chosen(self) -> "DSA | None":
        """The families that are named; None: no augmentation."""
        return strategy(self.augment, "augment")


class Augmentation:
    """Random changes of images, in two parts, so that a loop's numbers can be drawn before it. Hashable: programs hold
    it."""

    def draw(self, key: Array, images: int, siamese: bool = False) -> PyTree:
        """The random numbers for so many images, leading axis [n]; equal for all where ``siamese``."""
        raise NotImplementedError

    def apply(self, images: Float[Array, "n h w c"], drawn: PyTree) -> Float[Array, "n h w c"]:
        """The images changed as ``drawn`` says; differentiable in the images."""
        raise NotImplementedError

    def __call__(
        self, key: Array, images: Float[Array, "n h w c"], *, siamese: bool = False
    ) -> Float[Array, "n h w c"]:
        """Both parts. With ``siamese`` all images share one draw: two calls with the same key treat real and synthetic
        images alike."""
        return self.apply(images, self.draw(key, len(images), siamese))


class Drawn(NamedTuple):
    """What `DSA` draws for each image: the family, the same for all of a call, and numbers u uniform on [0, 1)."""

    family: Int[Array, " n"]
    u: Float[Array, "n 3"]


@dataclasses.dataclass(frozen=True)
class DSA(Augmentation):
    """One random family of ``families``; images of any value range. Pixels from outside the image are zero."""

    families: tuple[str, ...] = FAMILIES

    def draw(self, key: Array, images: int, siamese: bool = False) -> Drawn:
        family_key, draw_key = jax.random.split(key)
        family = jax.random.randint(family_key, (), 0, len(self.families))
        u = jax.random.uniform(draw_key, (1 if siamese else images, 3))
        return Drawn(jnp.broadcast_to(family, (images,)), jnp.broadcast_to(u, (images, 3)))

    def apply(self, images: Float[Array, "n h w c"], drawn: Drawn) -> Float[Array, "n h w c"]:
        h, w = images.shape[1:3]
        u = drawn.u

        def chosen(name: str, value: Array, identity: float) -> Array:
            if name not in self.families:
                return jnp.full(len(images), identity)
            return jnp.where(drawn.family == self.families.index(name), value, identity)

        images = color(
            images,
            brightness=chosen("color", (u[:, 0] - 0.5) * BRIGHTNESS, 0.0),
            saturation=chosen("color", u[:, 1] * SATURATION, 1.0),
            contrast=chosen("color", u[:, 2] + CONTRAST, 1.0),
        )
        zoom = 1 / SCALE + u * (SCALE - 1 / SCALE)
        mirrored = jnp.where(u[:, 0] < 0.5, -1.0, 1.0)
        reach_x, reach_y = int(w * CROP + 0.5), int(h * CROP + 0.5)
        images = warp(
            images,
            scale_x=chosen("scale", zoom[:, 0], 1.0) * chosen("flip", mirrored, 1.0),
            scale_y=chosen("scale", zoom[:, 1], 1.0),
            degrees=chosen("rotate", (2 * u[:, 0] - 1) * ROTATE, 0.0),
            shift_x=chosen("crop", uniform_integer(u[:, 0], -reach_x, reach_x), 0.0),
            shift_y=chosen("crop", uniform_integer(u[:, 1], -reach_y, reach_y), 0.0),
        )
        size = int(h * CUTOUT + 0.5)
        x, y = uniform_integer(u[:, 0], 0, w), uniform_integer(u[:, 1], 0, h)
        # A hole that was not drawn lies outside of the image.
        x, y = chosen("cutout", x, -float(size)), chosen("cutout", y, -float(size))
        return images * cutout_mask(h, w, size, x, y)


#: With all families.
augment = DSA()


def strategy(words: str, flag: str) -> DSA | None:
    """The augmentation with the families that ``words`` names ("flip_rotate"); None for "none". Raises UserError,
    naming the flag, for a family that does not exist."""
    named = () if words == "none" else words.split("_")
    if unknown := [name for name in named if name not in FAMILIES]:
        raise UserError(
            f"--{flag}={words}: {unknown[0]!r} is no augmentation: join some of {ALL}, or give none"
        )
    families = tuple(name for name in FAMILIES if name in named)
    return DSA(families) if families else None


def uniform_integer(u: Float[Array, " n"], low: int, high: int) -> Float[Array, " n"]:
    """Integers (as floats) uniform on low..high, both included, from u uniform on [0, 1)."""
    return jnp.minimum(jnp.floor(u * (high - low + 1)), high - low) + low


def color(
    images: Float[Array, "n h w c"],
    brightness: Float[Array, " n"],
    saturation: Float[Array, " n"],
    contrast: Float[Array, " n"],
) -> Float[Array, "n h w c"]:
    """Adds brightness, then scales the distance to the pixel's channel mean by saturation, then the distance to the
    image's mean by contrast."""
    b, s, c = (v.reshape(-1, 1, 1, 1) for v in (brightness, saturation, contrast))
    images = images + b
    grey = images.mean(-1, keepdims=True)
    images = grey + (images - grey) * s
    mean = images.mean((1, 2, 3), keepdims=True)
    return mean + (images - mean) * c


def cutout_mask(
    h: int, w: int, size: int, x: Float[Array, " n"], y: Float[Array, " n"]
) -> Float[Array, "n h w 1"]:
    """0 in a square of ``size`` px whose centre is column x, row y; 1 elsewhere."""

    def inside(length: int, centre: Array) -> Array:
        start = centre.reshape(-1, 1) - size // 2
        position = jnp.arange(length, dtype=jnp.float32).reshape(1, -1)
        return (position >= start) & (position < start + size)

    hole = inside(h, y)[:, :, None] & inside(w, x)[:, None, :]
    return 1.0 - hole[..., None].astype(jnp.float32)


def warp(
    images: Float[Array, "n h w c"],
    scale_x: Float[Array, " n"],
    scale_y: Float[Array, " n"],
    degrees: Float[Array, " n"],
    shift_x: Float[Array, " n"],
    shift_y: Float[Array, " n"],
) -> Float[Array, "n h w c"]:
    """Bilinear sampling at ``rotation(scale * grid) + shift``: PyTorch's affine_grid and grid_sample, align_corners.

    scale: factor on the sampling grid (above 1 the image shrinks, -1 mirrors it). degrees: rotation of the grid. shift:
    in pixels; output (i, j) reads input (i + shift_y, j + shift_x). Pixels outside the image are zero. The identity is
    exact.
    """
    n, h, w, c = images.shape
    half_x, half_y = (w - 1) / 2, (h - 1) / 2
    # Centred pixel coordinates are exact half integers, so that identity, mirror and shift have no rounding error.
    x = (jnp.arange(w, dtype=jnp.float32) - half_x).reshape(1, 1, w) * scale_x.reshape(n, 1, 1)
    y = (jnp.arange(h, dtype=jnp.float32) - half_y).reshape(1, h, 1) * scale_y.reshape(n, 1, 1)
    angle = jnp.deg2rad(degrees).reshape(n, 1, 1)
    cos, sin, aspect = jnp.cos(angle), jnp.sin(angle), half_x / half_y
    source_x = cos * x - sin * aspect * y + half_x + shift_x.reshape(n, 1, 1)
    source_y = sin / aspect * x + cos * y + half_y + shift_y.reshape(n, 1, 1)
    return bilinear(images, source_x, source_y)


def bilinear(
    images: Float[Array, "n h w c"], x: Float[Array, "n a b"], y: Float[Array, "n a b"]
) -> Float[Array, "n a b c"]:
    """Images read at columns x and rows y (in pixels), zero outside; differentiable in ``images``."""
    n, h, w, c = images.shape
    flat = images.reshape(n, h * w, c)
    left, top = jnp.floor(x), jnp.floor(y)

    def corner(column: Array, row: Array) -> Array:
        weight = (1 - jnp.abs(x - column)) * (1 - jnp.abs(y - row))
        within = (column >= 0) & (column <= w - 1) & (row >= 0) & (row <= h - 1)
        weight = jnp.where(within, weight, 0.0)
        index = jnp.clip(row, 0, h - 1) * w + jnp.clip(column, 0, w - 1)
        places = index.astype(jnp.int32).reshape(n, -1, 1)
        pixels = jnp.take_along_axis(flat, places, axis=1, mode="clip")
        return pixels.reshape(*x.shape, c) * weight[..., None]

    return (
        corner(left, top)
        + corner(left + 1, top)
        + corner(left, top + 1)
        + corner(left + 1, top + 1)
    )


def cutmix(
    key: Array,
    images: Float[Array, "n h w c"],
    labels: Int[Array, " n"] | Float[Array, "n k"],
    classes: int,
) -> tuple[Float[Array, "n h w c"], Float[Array, "n k"]]:
    """CutMix (Yun et al. 2019) as IDC and its successors train on a set: in every second call one box, whose share of
    the area is uniform, is filled from the images in another order; the share of each class follows the area that
    remains within the image. labels: classes, or shares of them."""
    whether, order, area, centre = jax.random.split(key, 4)
    n, h, w, _ = images.shape
    target = labels if labels.ndim == 2 else jax.nn.one_hot(labels, classes)
    side = jnp.sqrt(jax.random.uniform(area)) * jnp.array([h, w]) / 2
    middle = jax.random.uniform(centre, (2,)) * jnp.array([h, w])
    low, high = jnp.round(middle - side), jnp.round(middle + side)
    rows, columns = jnp.arange(h).reshape(-1, 1), jnp.arange(w).reshape(1, -1)
    inside = (rows >= low[0]) & (rows < high[0]) & (columns >= low[1]) & (columns < high[1])
    inside &= jax.random.bernoulli(whether)
    other, share = jax.random.permutation(order, n), inside.mean()
    mixed = jnp.where(inside[None, :, :, None], images[other], images)
    return mixed, (1 - share) * target + share * target[other]
